"""The settings with every default. All sections are frozen; unknown keys are errors.

Times are float seconds, sizes bytes. Secrets are ``SecretStr``: printing a settings object shows none.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.config.accounts import AnyAccount
from bridge.config.certificates import CertificateFile, check_client_key
from bridge.config.connectors import ConnectorSettings
from bridge.config.units import ByteSize, Duration
from bridge.config.values import (
    Count,
    HostName,
    Name,
    Namespace,
    Port,
    ReadableFile,
    Secret,
    SecretPath,
    Section,
    ShareLimits,
    raise_mistake,
)
from bridge.model import Channel
from bridge.proxies import Proxy
from bridge.redis.topology import Topology
from bridge.redis.url import RedisUrl, RedisUrlError, passwords_of, safe_url

__all__ = [
    "PREFIX",
    "BufferSettings",
    "HeartbeatSettings",
    "HttpSettings",
    "Limits",
    "LogSettings",
    "RedisSettings",
    "Retention",
    "Settings",
]

PREFIX = "TICKBRIDGE_"
"""Of all variables that are settings."""
_HOUR, _DAY = 3600.0, 86400.0
_DEFAULT_REDIS = "redis://127.0.0.1:6379/0"

_sources: ContextVar[tuple[PydanticBaseSettingsSource, ...]] = ContextVar("sources", default=())


class RedisSettings(Section):
    """Where Redis is. ``url`` may hold a password; ``plain_url`` is for connecting, ``address`` for showing."""

    url: Secret | None = None
    """``redis://``, ``rediss://`` (TLS), ``unix://``, ``redis+sentinel://`` or ``redis+cluster://``; may hold user and password."""
    url_file: SecretPath | None = None
    """A file with the URL, in place of ``url``."""
    ca_file: CertificateFile | None = None
    """PEM of a further authority, for ``rediss://``."""
    cert_file: CertificateFile | None = None
    """PEM of the client's own certificate, for ``rediss://``."""
    key_file: ReadableFile | None = Field(default=None, validate_default=True)
    """PEM of the certificate's key."""
    connect_timeout: Duration = Field(default=5.0, gt=0)
    """For connecting; at the start also how long Redis is waited for."""
    reply_timeout: Duration = Field(default=10.0, gt=0)
    """Without a reply for so long, the connection is replaced."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(_check_redis_url(value.get_secret_value()))

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _check_tls(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        known = {"url", "url_file"} <= info.data.keys()
        # Of a file that can't be read, nobody knows which URL it holds.
        known = known and (info.data["url"] is not None or info.data["url_file"] is None)
        if value is not None and known and not _plain(info.data["url"]).startswith("rediss"):
            raise_mistake("makes sense only with a rediss:// URL")
        return value

    @field_validator("key_file")
    @classmethod
    def _check_pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "cert_file" in info.data and (value is None) != (info.data["cert_file"] is None):
            raise_mistake("a client's certificate and its key belong together", "give both cert_file and key_file")
        certificate = info.data.get("cert_file")
        if value is not None and certificate is not None:
            check_client_key(value, certificate)
        return value

    @property
    def plain_url(self) -> str:
        """The URL with its password: for connecting only."""
        return _plain(self.url)

    @property
    def address(self) -> str:
        """The URL without user, password and query: for logs and messages."""
        return safe_url(self.plain_url)

    @property
    def topology(self) -> Topology:
        """What there is to connect to."""
        files = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        return Topology(self.plain_url, **{name: str(path) if path else None for name, path in files.items()})


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
    book10: Limits = Limits(max_entries=200_000, max_age=_HOUR)
    """How much is kept of each stream of the ten best levels of books; both limits apply."""
    quotes: Limits = Limits(max_entries=200_000, max_age=_HOUR)
    """How much is kept of each stream of best bid and ask; both limits apply."""
    ticker: Limits = Limits(max_entries=100_000, max_age=_DAY)
    """How much is kept of each stream of rolling statistics; both limits apply."""
    funding: Limits = Limits(max_entries=100_000, max_age=30 * _DAY)
    """How much is kept of each stream of funding rates; both limits apply."""
    mark: Limits = Limits(max_entries=200_000, max_age=_HOUR)
    """How much is kept of each stream of mark and index prices; both limits apply."""
    interest: Limits = Limits(max_entries=100_000, max_age=_DAY)
    """How much is kept of each stream of open interest; both limits apply."""
    liquidations: Limits = Limits(max_entries=100_000, max_age=30 * _DAY)
    """How much is kept of each stream of liquidations; both limits apply."""
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


class HttpSettings(Section):
    """Metrics, health and status over HTTP; ``port`` is ``None`` where they are off, and 0 for any free one."""

    host: str = "127.0.0.1"
    """Where metrics and health are served: one address, ``0.0.0.0`` or ``::`` for all."""
    port: Port = 9108
    """``0``: any free one, which the log names; ``off``: nothing is served."""
    hosts: tuple[HostName, ...] = ()
    """Further names under which the pages are reached, such as ``metrics.example.com``, ``*.example.com``, or ``*`` for any."""
    old_metric_names: bool = True
    """Whether metrics also have the names of the earlier 0.1.0 (``bridge_``, ``consumer_``, ``gateway_``)."""
    pair_labels: bool = False
    """Whether metrics have labels for pairs and connections."""

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        if not value or value != value.strip() or any(sign in value for sign in "/ []@"):
            raise_mistake("should be an address or a host name, such as 127.0.0.1, 0.0.0.0 or ::1")
        return value

    @property
    def explicit(self) -> bool:
        """Whether the port was asked for: then not getting it is an error."""
        return "port" in self.model_fields_set


class LogSettings(Section):
    """``auto`` writes JSON lines when stderr is no terminal, and readable lines on one."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""
    format: Literal["auto", "json", "console"] = "auto"
    """``json`` lines, ``console`` lines, or ``auto``: ``console`` on a terminal."""


class Settings(BaseSettings):
    """The whole configuration. Use ``load_settings``, which reads file and environment and checks the parts together."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    redis: RedisSettings = RedisSettings()
    """Where Redis is."""
    namespace: Namespace = ""
    """Put before every key, with a ``:``."""
    connectors: tuple[ConnectorSettings, ...] = ()
    """The connectors: one process may run one or many."""
    accounts: Mapping[Name, AnyAccount] = Field(default_factory=dict)
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
    share_limits: ShareLimits = True
    """Whether to keep to an exchange's limits (REST requests, attempts to connect, messages) together with the other processes on this Redis; or a name, for the processes behind one client address only."""
    log: LogSettings = LogSettings()
    """The log, on stderr."""
    loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    """The event loop; ``auto`` takes uvloop if it is installed."""

    @classmethod
    def read(cls, *sources: PydanticBaseSettingsSource) -> Self:
        """The settings that these sources give together; what comes from an earlier one counts more.

        Raises:
            ValidationError: something in them is wrong.
        """
        token = _sources.set(sources)
        try:
            return cls()
        finally:
            _sources.reset(token)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Those of `read`; for settings that are made in code, the arguments alone."""
        _ = settings_cls, env_settings, dotenv_settings, file_secret_settings
        return _sources.get() or (init_settings,)

    def secrets(self) -> tuple[str, ...]:
        """Every secret in plain text: for the log's redaction, and nothing else."""
        found = passwords_of(self.redis.plain_url)
        for connector in self.connectors:
            if connector.proxy is not None and (url := connector.proxy.get_secret_value()):
                found += Proxy.of(url).secrets
        for account in self.accounts.values():
            found += account.credentials.values()
        return tuple(secret for secret in found if secret)


def _plain(url: SecretStr | None) -> str:
    return _DEFAULT_REDIS if url is None else url.get_secret_value()


def _check_redis_url(url: str) -> str:
    """The URL as it is, if it leads to a server, to Sentinels or to a Cluster.

    Raises:
        PydanticCustomError: what is wrong with it, without quoting any of it.
    """
    text = url.strip()
    try:
        RedisUrl.of(text)
    except RedisUrlError as error:
        raise_mistake(error.mistake, error.hint)
    return text
