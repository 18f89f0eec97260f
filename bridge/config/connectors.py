"""Connectors, what they may be according to the exchanges, and their proxies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, ValidatorFunctionWrapHandler, field_validator

from bridge.config.certificates import CertificateFile
from bridge.config.units import Duration, Limit, parse_limit
from bridge.config.values import (
    Count,
    Mistake,
    Name,
    Pairs,
    ProxyUrl,
    RestUrl,
    Section,
    ShardValue,
    SocketUrl,
    is_pattern,
    raise_mistake,
    raise_mistakes,
)
from bridge.errors import ConfigError, Problem
from bridge.model import CONNECTOR_CHANNELS, PRIVATE_CHANNELS, PUBLIC_CHANNELS, SERVICE_CHANNELS, Channel
from bridge.proxies import Proxies, Proxy, Route
from bridge.suggestions import did_you_mean

__all__ = [
    "ConnectorSettings",
    "ExchangeName",
    "Registry",
    "exchange_names",
    "exchange_type",
    "options_model",
    "private_channels",
    "proxies_of",
    "public_channels",
    "registry",
    "routes_of",
]


class Registry(Protocol):
    """The part of ``bridge.exchanges`` that is used here."""

    def all_names(self) -> tuple[str, ...]: ...

    def families(self) -> Mapping[str, str]: ...

    def exchange_type(self, name: str, /) -> Any: ...


def registry() -> Registry:
    """The exchanges there are; imported late, because their option models use this package's units."""
    from bridge import exchanges  # noqa: PLC0415

    return exchanges


def exchange_names() -> tuple[str, ...]:
    """All exchanges that the config takes, sorted."""
    return tuple(sorted(registry().all_names()))


def exchange_type(exchange: str) -> Any:
    """The class of a registered exchange."""
    return registry().exchange_type(exchange)


def public_channels(exchange: str) -> tuple[Channel, ...]:
    """The public channels that a registered exchange offers, in the model's order."""
    offered = exchange_type(exchange).channels
    return tuple(channel for channel in PUBLIC_CHANNELS if channel in offered)


def offered_channels(exchange: str) -> tuple[Channel, ...]:
    """The public channels that a connector of a registered exchange can publish: its own, and what is made of them."""
    own = public_channels(exchange)
    derived = {Channel.BOOK10} if Channel.BOOK in own else set()
    return tuple(channel for channel in PUBLIC_CHANNELS if channel in own or channel in derived)


def private_channels(exchange: str) -> frozenset[Channel]:
    """The private channels that come with an account at a registered exchange; empty where it has none."""
    return frozenset(exchange_type(exchange).private_channels)


def options_model(exchange: str) -> type[BaseModel]:
    """The model of a registered exchange's own ``options:``."""
    model: type[BaseModel] = exchange_type(exchange).Options
    return model


def _known_exchange(value: str) -> str:
    names = exchange_names()
    if value not in names:
        raise_mistake(f"no exchange {value!r}", did_you_mean(value, names))
    return value


ExchangeName = Annotated[str, AfterValidator(_known_exchange)]
"""One of the registered exchanges."""


class ConnectorSettings(Section):
    """One connector: the pairs and public channels of one exchange, and the private ones of ``account`` if named.

    ``proxy`` is a proxy's URL, empty for none, ``None`` for what the environment says (`proxies_of`).
    ``options`` is an instance of the exchange's own ``Options``. ``silence`` overrides the exchange's silence limits:
    seconds, or ``None`` for no limit; a channel that is not in it keeps the exchange's. ``ping_interval`` and
    ``dead_after`` (seconds without any frame) override the exchange's too. ``latency_limit`` (``None``: none) is held
    against the median of the last ``latency_window``.
    """

    name: Name
    """Unique; letters, digits, ``_``, ``.``, ``-``."""
    exchange: ExchangeName
    """The exchange to connect to."""
    pairs: Pairs
    """The pairs to read: ``[BTC-EUR, ETH-EUR]``; patterns, ``["*-USDT"]``, or ``all`` with ``max_pairs``."""
    max_pairs: Count | None = Field(default=None, validate_default=True)
    """The most pairs that patterns may come to; needed with patterns."""
    refresh_pairs: Duration = Field(default=600.0, ge=10.0)
    """How often the exchange's list is read for pairs that match a pattern; at least 10s."""
    missing_pairs: Literal["warn", "error"] = "warn"
    """A pair that the exchange doesn't list: ``warn`` (its streams are ``down``), or ``error`` (no start)."""
    shard: ShardValue | None = None
    """``2/3``: of the pairs, the second of three shards."""
    channels: tuple[Channel, ...] = Field(default_factory=lambda data: public_channels(data["exchange"]))
    """Public channels (default: all of the exchange's own); ``[]`` for an account alone."""
    account: str | None = None
    """An account of ``accounts``: its private channels too."""
    url: SocketUrl | None = None
    """The base of the WebSocket's address (default: the exchange's); ``ws://`` only on loopback."""
    rest_url: RestUrl | None = None
    """The base of the REST address (default: the exchange's); ``http://`` only on loopback."""
    ca_file: CertificateFile | None = None
    """PEM of a further authority for both addresses."""
    proxy: ProxyUrl | None = None
    """Through which both go, or ``none`` (default: as ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` say)."""
    options: BaseModel = Field(default={}, validate_default=True)
    """The exchange's own settings."""
    silence: Mapping[Channel, Limit] = Field(default_factory=dict)
    """Channel → how long it may be quiet before it is ``stale``, or ``off`` (default: the exchange's)."""
    ping_interval: Duration | None = Field(default=None, gt=0)
    """Between protocol pings (default: the exchange's)."""
    dead_after: Duration | None = Field(default=None, gt=0)
    """Without any frame, pongs included, for so long, a connection is dead (default: the exchange's)."""
    standby: bool = False
    """Whether a second process with this name waits, connected, until the first is gone, and goes on in its place."""
    transport: Literal["auto", "websockets", "picows"] = "auto"
    """The WebSocket client; ``auto`` takes picows if it is installed."""
    latency_limit: Limit = 2.0
    """Latency of a channel above which ``latency_high`` is logged, or ``off``."""
    latency_window: Duration = Field(default=60.0, ge=1.0)
    """Over how long latency is measured; at least 1s."""

    @field_validator("pairs", mode="wrap")
    @classmethod
    def _check_pairs(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        # Not by pydantic's min_length: it counts the valid items, and would call a list of wrong ones empty.
        if value in ([], ()):
            raise_mistake("should not be empty")
        if isinstance(value, str) and value.lower() == "all":
            value = [value]
        pairs = handler(value)
        raise_mistakes(_repeats(pairs))
        return pairs

    @field_validator("max_pairs")
    @classmethod
    def _check_max_pairs(cls, value: int | None, info: ValidationInfo) -> int | None:
        patterns = [pair for pair in info.data.get("pairs", ()) if is_pattern(pair)]
        if patterns and value is None:
            raise_mistake(
                f"is needed with patterns ({', '.join(patterns)}): how many pairs there may be at most",
                f"'tickbridge pairs {info.data.get('exchange', 'EXCHANGE')} PATTERN' shows how many there are now",
            )
        if value is not None and not patterns and "pairs" in info.data:
            raise_mistake("limits what patterns come to, and pairs has none", "leave it out, or give pairs a pattern")
        return value

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns among ``pairs``; which pairs they come to, only the exchange's list says."""
        return tuple(pair for pair in self.pairs if is_pattern(pair))

    @property
    def named_pairs(self) -> tuple[str, ...]:
        """The pairs that are given by name, of all shards."""
        return tuple(pair for pair in self.pairs if not is_pattern(pair))

    @property
    def own_pairs(self) -> tuple[str, ...]:
        """Of the pairs that are given by name, those that this connector reads: all, or its shard's; maybe none."""
        return self.shard.picks(self.named_pairs) if self.shard else self.named_pairs

    @field_validator("channels", mode="before")
    @classmethod
    def _check_channels(cls, value: Any, info: ValidationInfo) -> Any:
        exchange = info.data.get("exchange")
        if isinstance(value, list | tuple) and exchange is not None:
            offered = [str(channel) for channel in offered_channels(exchange)]
            raise_mistakes(_wrong_channels(value, offered, exchange))
            raise_mistakes(_repeats(value))
        return value

    @field_validator("options", mode="plain")
    @classmethod
    def _check_options(cls, value: Any, info: ValidationInfo) -> Any:
        exchange = info.data.get("exchange")
        if exchange is None:
            return value  # nobody to ask; the exchange itself is already a mistake
        model = options_model(exchange)
        # An exception of pydantic's own inside a validator keeps the place of each of its lines.
        return value if isinstance(value, model) else model.model_validate(value)

    @field_validator("silence", mode="before")
    @classmethod
    def _check_silence(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        mistakes: list[Mistake] = []
        limits: dict[str, float | None] = {}
        for channel, limit in value.items():
            if channel not in CONNECTOR_CHANNELS:
                mistakes.append(
                    (
                        (channel,),
                        "unknown channel",
                        did_you_mean(str(channel), [str(known) for known in CONNECTOR_CHANNELS]),
                    )
                )
                continue
            try:
                limits[channel] = parse_limit(limit)
            except ValueError as error:
                mistakes.append(((channel,), str(error), ""))
        raise_mistakes(mistakes)
        return limits

    @field_validator("dead_after")
    @classmethod
    def _check_dead_after(cls, value: float | None, info: ValidationInfo) -> float | None:
        ping = info.data.get("ping_interval")
        if value is not None and ping is not None and value <= ping:
            raise_mistake("should be longer than ping_interval, or a quiet connection looks dead")
        return value


def _repeats(values: list[Any] | tuple[Any, ...]) -> list[Mistake]:
    return [
        ((index,), f"{value!s} is given twice", "") for index, value in enumerate(values) if value in values[:index]
    ]


def _wrong_channels(values: list[Any] | tuple[Any, ...], offered: list[str], exchange: str) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for index, value in enumerate(values):
        if value in offered:
            continue
        if value in PRIVATE_CHANNELS:
            mistakes.append(((index,), f"{value} is a private channel", "private channels come with account:"))
        elif value in SERVICE_CHANNELS:
            mistakes.append(((index,), f"no connector writes {value}", f"run: tickbridge {value}"))
        elif value in list(Channel):
            mistakes.append(((index,), f"{exchange} has no {value}", f"it offers: {', '.join(offered)}"))
        else:
            mistakes.append(((index,), f"no channel {value!r}", did_you_mean(str(value), offered)))
    return mistakes


def proxies_of(connector: ConnectorSettings, environment: Mapping[str, str] = os.environ) -> Proxies:
    """The proxies that a connector's addresses are reached through."""
    if connector.proxy is None:
        return Proxies(environment)
    text = connector.proxy.get_secret_value()
    return Proxies({}, Proxy.of(text, f"connectors.{connector.name}.proxy")) if text else Proxies.none()


def routes_of(
    connector: ConnectorSettings, urls: Sequence[str], environment: Mapping[str, str] = os.environ
) -> list[Route]:
    """The way to each of these URLs.

    Raises:
        ConfigError: a variable of the environment holds no proxy's URL.
    """
    proxies = proxies_of(connector, environment)
    try:
        return [proxies.route(url) for url in urls]
    except ValueError as error:
        variable, _, message = str(error).partition(": ")
        raise ConfigError([Problem(variable, message)], "environment") from None
