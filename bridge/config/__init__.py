"""Configuration: one YAML file, the environment over it, and every mistake found at once."""

from __future__ import annotations

from bridge.config.accounts import Account
from bridge.config.connectors import ConnectorSettings
from bridge.config.load import load_settings
from bridge.config.settings import (
    BufferSettings,
    HeartbeatSettings,
    HttpSettings,
    Limits,
    LogSettings,
    RedisSettings,
    Retention,
    Settings,
)
from bridge.config.units import ByteSize, Duration, parse_duration, parse_size

__all__ = [
    "Account",
    "BufferSettings",
    "ByteSize",
    "ConnectorSettings",
    "Duration",
    "HeartbeatSettings",
    "HttpSettings",
    "Limits",
    "LogSettings",
    "RedisSettings",
    "Retention",
    "Settings",
    "load_settings",
    "parse_duration",
    "parse_size",
]
