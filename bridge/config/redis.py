"""Where Redis is, as the configuration says it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from bridge.config.problems import raise_mistake
from bridge.config.section import Section
from bridge.config.units import Duration
from bridge.config.values import ReadableFile, Secret, SecretFromFile
from bridge.redis.topology import Topology
from bridge.redis.url import RedisUrl, RedisUrlError, safe_url

__all__ = ["RedisSettings", "check_redis_url"]

_DEFAULT_REDIS = "redis://127.0.0.1:6379/0"


class RedisSettings(Section):
    """Where Redis is. ``url`` may hold a password; ``plain_url`` is for connecting, ``address`` for showing."""

    url: Secret | None = None
    """``redis://``, ``rediss://`` (TLS), ``unix://``, ``redis+sentinel://`` or ``redis+cluster://``; may hold user and password."""
    url_file: SecretFromFile | None = None
    """A file with the URL, in place of ``url``."""
    ca_file: ReadableFile | None = None
    """PEM of a further authority, for ``rediss://``."""
    cert_file: ReadableFile | None = None
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
        return None if value is None else SecretStr(check_redis_url(value.get_secret_value()))

    @field_validator("url_file")
    @classmethod
    def _check_url_file(cls, value: SecretFromFile | None, info: ValidationInfo) -> SecretFromFile | None:
        if value is not None:
            if info.data.get("url") is not None:
                raise_mistake("is given together with url; give only one of them")
            check_redis_url(value.content.get_secret_value())
        return value

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _check_tls(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and {"url", "url_file"} <= info.data.keys():
            url = _redis_url(info.data["url"], info.data["url_file"])
            if not url.startswith("rediss"):
                raise_mistake("makes sense only with a rediss:// URL")
        return value

    @field_validator("key_file")
    @classmethod
    def _check_pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "cert_file" in info.data and (value is None) != (info.data["cert_file"] is None):
            raise_mistake("a client's certificate and its key belong together", "give both cert_file and key_file")
        return value

    @property
    def plain_url(self) -> str:
        """The URL with its password: for connecting only."""
        return _redis_url(self.url, self.url_file)

    @property
    def address(self) -> str:
        """The URL without user, password and query: for logs and messages."""
        return safe_url(self.plain_url)

    @property
    def topology(self) -> Topology:
        """What there is to connect to."""
        files = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        return Topology(self.plain_url, **{name: str(path) if path else None for name, path in files.items()})


def _redis_url(url: SecretStr | None, url_file: SecretFromFile | None) -> str:
    if url_file is not None:
        return url_file.content.get_secret_value().strip()
    return url.get_secret_value() if url is not None else _DEFAULT_REDIS


def check_redis_url(url: str) -> str:
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
