"""The schema of the configuration, with every default. All models are frozen; unknown keys are errors.

Times are float seconds, sizes bytes. Secrets are ``SecretStr``: printing a settings object shows none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.config import catalogue
from bridge.config.http import HttpSettings
from bridge.config.problems import Mistake, raise_mistake, raise_mistakes
from bridge.config.redis import RedisSettings
from bridge.config.section import Section
from bridge.config.sharding import ShardValue
from bridge.config.units import ByteSize, Duration, Limit, parse_limit
from bridge.config.values import (
    Count,
    Name,
    Namespace,
    Pair,
    ProxyUrl,
    ReadableFile,
    RestUrl,
    Secret,
    SecretFromFile,
    SocketUrl,
)
from bridge.model import PRIVATE_CHANNELS, Channel
from bridge.proxies import Proxy
from bridge.redis.url import passwords_of
from bridge.suggestions import did_you_mean

__all__ = [
    "Account",
    "BufferSettings",
    "ConnectorSettings",
    "HeartbeatSettings",
    "HttpSettings",
    "Limits",
    "LogSettings",
    "RedisSettings",
    "Retention",
    "Settings",
]

_HOUR, _DAY = 3600.0, 86400.0


class Account(Section):
    """An account at an exchange; ``key`` and ``secret`` are its API key and secret, wherever they stand."""

    exchange: str
    """The exchange it is an account of."""
    api_key: Secret | None = None
    """The API key; or ``api_key_file``."""
    api_key_file: SecretFromFile | None = Field(default=None, validate_default=True)
    """A file with the API key, in place of ``api_key``."""
    api_secret: Secret | None = None
    """The API secret (for Limitlex an EC private key in PEM); better in a file: ``api_secret_file``."""
    api_secret_file: SecretFromFile | None = Field(default=None, validate_default=True)
    """A file with the API secret, in place of ``api_secret``."""
    subaccounts: bool = False
    """Also the messages of its sub-accounts."""

    @field_validator("exchange")
    @classmethod
    def _check_exchange(cls, value: str) -> str:
        return _known_exchange(value)

    @field_validator("api_key_file")
    @classmethod
    def _check_key(cls, value: SecretFromFile | None, info: ValidationInfo) -> SecretFromFile | None:
        if "api_key" in info.data and (value is None) == (info.data["api_key"] is None):
            raise_mistake("give exactly one of api_key and api_key_file")
        return value

    @field_validator("api_secret_file")
    @classmethod
    def _check_secret(cls, value: SecretFromFile | None, info: ValidationInfo) -> SecretFromFile | None:
        if "api_secret" in info.data and (value is None) == (info.data["api_secret"] is None):
            raise_mistake("give exactly one of api_secret and api_secret_file")
        return value

    @property
    def key(self) -> str:
        """The API key in plain text."""
        if self.api_key_file is not None:
            return self.api_key_file.content.get_secret_value()
        assert self.api_key is not None
        return self.api_key.get_secret_value()

    @property
    def secret(self) -> str:
        """The API secret in plain text; a PEM key keeps its lines."""
        if self.api_secret_file is not None:
            return self.api_secret_file.content.get_secret_value()
        assert self.api_secret is not None
        return self.api_secret.get_secret_value()


class ConnectorSettings(Section):
    """One connector: the pairs and public channels of one exchange, and the private ones of ``account`` if named.

    ``proxy`` is a proxy's URL, empty for none, ``None`` for what the environment says (`bridge.config.proxy`).
    ``options`` is an instance of the exchange's own ``Options``. ``silence`` overrides the exchange's silence limits:
    seconds, or ``None`` for no limit; a channel that is not in it keeps the exchange's. ``ping_interval`` and
    ``dead_after`` (seconds without any frame) override the exchange's too. ``latency_limit`` (``None``: none) is held
    against the median of the last ``latency_window``.
    """

    name: Name
    """Unique; letters, digits, ``_``, ``.``, ``-``."""
    exchange: str
    """The exchange to connect to."""
    pairs: tuple[Pair, ...]
    """The pairs to read: ``[BTC-EUR, ETH-EUR]``."""
    shard: ShardValue | None = None
    """``2/3``: of the pairs, the second of three shards."""
    channels: tuple[Channel, ...] = Field(default_factory=lambda data: catalogue.public_channels(data["exchange"]))
    """Public channels (default: all that the exchange offers); ``[]`` for an account alone."""
    account: str | None = None
    """An account of ``accounts``: its private channels too."""
    url: SocketUrl | None = None
    """The base of the WebSocket's address (default: the exchange's); ``ws://`` only on loopback."""
    rest_url: RestUrl | None = None
    """The base of the REST address (default: the exchange's); ``http://`` only on loopback."""
    ca_file: ReadableFile | None = None
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
    transport: Literal["auto", "websockets", "picows"] = "auto"
    """The WebSocket client; ``auto`` takes picows if it is installed."""
    latency_limit: Limit = 2.0
    """Latency of a channel above which ``latency_high`` is logged, or ``off``."""
    latency_window: Duration = Field(default=60.0, ge=1.0)
    """Over how long latency is measured; at least 1s."""

    @field_validator("exchange")
    @classmethod
    def _check_exchange(cls, value: str) -> str:
        return _known_exchange(value)

    @field_validator("pairs", mode="wrap")
    @classmethod
    def _check_pairs(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        # Not by pydantic's min_length: it counts the valid items, and would call a list of wrong ones empty.
        if value in ([], ()):
            raise_mistake("should not be empty")
        pairs = handler(value)
        raise_mistakes(_repeats(pairs))
        return pairs

    @property
    def own_pairs(self) -> tuple[str, ...]:
        """The pairs that this connector reads: all, or its shard's; there may be none."""
        return self.shard.picks(self.pairs) if self.shard else self.pairs

    @field_validator("channels", mode="before")
    @classmethod
    def _check_channels(cls, value: Any, info: ValidationInfo) -> Any:
        exchange = info.data.get("exchange")
        if isinstance(value, list | tuple) and exchange is not None:
            offered = [str(channel) for channel in catalogue.public_channels(exchange)]
            raise_mistakes(_wrong_channels(value, offered, exchange))
            raise_mistakes(_repeats(value))
        return value

    @field_validator("options", mode="plain")
    @classmethod
    def _check_options(cls, value: Any, info: ValidationInfo) -> Any:
        exchange = info.data.get("exchange")
        if exchange is None:
            return value  # nobody to ask; the exchange itself is already a mistake
        model = catalogue.options_model(exchange)
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
            if channel not in list(Channel):
                mistakes.append(
                    ((channel,), "unknown channel", did_you_mean(str(channel), [str(known) for known in Channel]))
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


class Limits(Section):
    """How much of a stream is kept: entries, and seconds; both apply."""

    max_entries: Count
    """Entries that are kept per stream."""
    max_age: Duration = Field(gt=0)
    """Age of the oldest entry that is kept."""


class Retention(Section):
    """The limits of each channel's streams; ``of`` finds those of one channel."""

    trades: Limits = Limits(max_entries=1_000_000, max_age=_DAY)
    """How much is kept of each stream of public trades; both limits apply."""
    book: Limits = Limits(max_entries=200_000, max_age=_HOUR)
    """How much is kept of each stream of order books; both limits apply."""
    quotes: Limits = Limits(max_entries=200_000, max_age=_HOUR)
    """How much is kept of each stream of best bid and ask; both limits apply."""
    ticker: Limits = Limits(max_entries=100_000, max_age=_DAY)
    """How much is kept of each stream of rolling statistics; both limits apply."""
    orders: Limits = Limits(max_entries=1_000_000, max_age=30 * _DAY)
    """How much is kept of each stream of an account's orders; both limits apply."""
    fills: Limits = Limits(max_entries=1_000_000, max_age=30 * _DAY)
    """How much is kept of each stream of an account's executions; both limits apply."""
    balances: Limits = Limits(max_entries=200_000, max_age=30 * _DAY)
    """How much is kept of each stream of an account's wallets; both limits apply."""
    positions: Limits = Limits(max_entries=200_000, max_age=30 * _DAY)
    """How much is kept of each stream of an account's positions; both limits apply."""

    @field_validator("*", mode="before")
    @classmethod
    def _fill_up(cls, value: Any, info: ValidationInfo) -> Any:
        """Giving one of the two limits leaves the other at its default."""
        if isinstance(value, Mapping) and info.field_name is not None:
            default: Limits = cls.model_fields[info.field_name].default
            return {**default.model_dump(), **value}
        return value

    def of(self, channel: Channel) -> Limits:
        limits: Limits = getattr(self, channel.value)
        return limits


class BufferSettings(Section):
    """What waits while Redis is away: at most so many bytes, and nothing older than ``max_age`` seconds."""

    max_bytes: ByteSize = Field(default=64 * 1024**2, ge=64 * 1024)
    """What may wait for Redis, per connector; beyond, the oldest market data is dropped first."""
    max_age: Duration = Field(default=300.0, gt=0)
    """Older entries that wait are dropped."""


class HeartbeatSettings(Section):
    """How often a connector says that it lives, and after how many silent seconds it counts as dead."""

    interval: Duration = Field(default=1.0, gt=0)
    """How often the heartbeat is written."""
    ttl: Duration = Field(default=5.0, gt=0)
    """Without one for so long, a connector counts as dead; longer than the interval."""

    @field_validator("ttl")
    @classmethod
    def _check_ttl(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("interval", 0):
            raise_mistake("should be longer than interval, or a live connector looks dead")
        return value


class LogSettings(Section):
    """``auto`` writes JSON lines when stderr is no terminal, and readable lines on one."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""
    format: Literal["auto", "json", "console"] = "auto"
    """``json`` lines, ``console`` lines, or ``auto``: ``console`` on a terminal."""


class Settings(BaseSettings):
    """The whole configuration. Construct it by ``load_settings``, which adds the file, the environment, cross-checks."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    redis: RedisSettings = RedisSettings()
    """Where Redis is."""
    namespace: Namespace = ""
    """Put before every key, with a ``:``."""
    connectors: tuple[ConnectorSettings, ...] = ()
    """The connectors: one process may run one or many."""
    accounts: Mapping[Name, Account] = Field(default_factory=dict)
    """Accounts by name."""
    retention: Retention = Retention()
    """How much of each stream is kept, per channel."""
    buffer: BufferSettings = BufferSettings()
    """What waits while Redis is unreachable."""
    heartbeat: HeartbeatSettings = HeartbeatSettings()
    """The heartbeat of each connector in Redis."""
    http: HttpSettings = HttpSettings()
    """Metrics, health and status over HTTP."""
    shutdown_timeout: Duration = Field(default=10.0, gt=0)
    """For an orderly end."""
    log: LogSettings = LogSettings()
    """The log, on stderr."""
    loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    """The event loop; ``auto`` takes uvloop if it is installed."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values come from the arguments alone: ``load_settings`` runs the source that layers file and environment."""
        _ = settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    def secrets(self) -> tuple[str, ...]:
        """Every secret in plain text: for the log's redaction, and nothing else."""
        found = passwords_of(self.redis.plain_url)
        for connector in self.connectors:
            if connector.proxy is not None and (url := connector.proxy.get_secret_value()):
                found += Proxy.of(url).secrets
        for account in self.accounts.values():
            found += [account.key, account.secret]
        return tuple(secret for secret in found if secret)


def _known_exchange(value: str) -> str:
    names = catalogue.exchange_names()
    if value not in names:
        raise_mistake(f"no exchange {value!r}", did_you_mean(value, names))
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
        elif value in list(Channel):
            mistakes.append(((index,), f"{exchange} has no {value}", f"it offers: {', '.join(offered)}"))
        else:
            mistakes.append(((index,), f"no channel {value!r}", did_you_mean(str(value), offered)))
    return mistakes
