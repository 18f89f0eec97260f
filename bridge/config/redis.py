"""Where Redis is, as the configuration says it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from bridge.config.problems import raise_mistake
from bridge.config.section import Section
from bridge.config.units import Duration
from bridge.config.values import ReadableFile, Secret, SecretFromFile, split_url

__all__ = ["RedisSettings", "check_redis_url", "printable_redis_url", "redis_password"]

_DEFAULT_REDIS = "redis://127.0.0.1:6379/0"
_REDIS_SCHEMES = ("redis", "rediss", "unix")


class RedisSettings(Section):
    """Where Redis is. ``url`` may hold a password; ``plain_url`` is for connecting, ``address`` for showing."""

    url: Secret | None = None
    url_file: SecretFromFile | None = None
    ca_file: ReadableFile | None = None
    connect_timeout: Duration = Field(default=5.0, gt=0)
    reply_timeout: Duration = Field(default=10.0, gt=0)

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(check_redis_url(value.get_secret_value()))

    @field_validator("url_file")
    @classmethod
    def _check_url_file(cls, value: SecretFromFile | None, info: ValidationInfo) -> SecretFromFile | None:
        if value is not None:
            if info.data.get("url") is not None:
                raise_mistake("stands beside url; give one of them")
            check_redis_url(value.content.get_secret_value())
        return value

    @field_validator("ca_file")
    @classmethod
    def _check_ca_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and {"url", "url_file"} <= info.data.keys():
            url = _redis_url(info.data["url"], info.data["url_file"])
            if not url.startswith("rediss://"):
                raise_mistake("makes sense only with a rediss:// URL")
        return value

    @property
    def plain_url(self) -> str:
        """The URL with its password: for connecting only."""
        return _redis_url(self.url, self.url_file)

    @property
    def address(self) -> str:
        """The URL without user, password and query: for logs and messages."""
        return printable_redis_url(self.plain_url)


def _redis_url(url: SecretStr | None, url_file: SecretFromFile | None) -> str:
    if url_file is not None:
        return url_file.content.get_secret_value().strip()
    return url.get_secret_value() if url is not None else _DEFAULT_REDIS


def check_redis_url(url: str) -> str:
    """The URL as it is, if redis-py will understand it.

    Raises:
        PydanticCustomError: what is wrong with it, without quoting any of it.
    """
    text = url.strip()
    scheme, separator, _ = text.partition("://")
    if not separator or scheme not in _REDIS_SCHEMES:
        raise_mistake("should start with redis://, rediss:// (TLS) or unix://")
    split = split_url(text)
    if split.fragment or text.endswith("#"):
        raise_mistake("should hold no '#'", "a password's special characters must be percent-encoded: '#' is %23")
    if scheme == "unix":
        if not split.path.startswith("/") or split.netloc.rpartition("@")[2]:
            raise_mistake("should name a socket: unix:///run/redis.sock?db=0")
        return text
    if not split.hostname:
        raise_mistake("should name a host: redis://127.0.0.1:6379/0")
    if split.path not in ("", "/") and not split.path[1:].isdigit():
        raise_mistake("should end in a database number: redis://127.0.0.1:6379/0")
    return text


def printable_redis_url(url: str) -> str:
    """The URL without user, password and query."""
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2]
    return f"{split.scheme}://{host}{split.path}"


def redis_password(url: str) -> str | None:
    """The password in a Redis URL, percent-decoded; ``None`` if there is none."""
    split = urlsplit(url)
    if split.password:
        return unquote(split.password)
    match = re.search(r"(?:^|&)password=([^&]*)", split.query)
    return unquote(match.group(1)) if match else None
