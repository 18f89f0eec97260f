"""What commands with a config share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.config import ConnectorSettings, Settings
    from bridge.config.load import Loaded

__all__ = [
    "DEFAULT_CONFIG",
    "add_config_option",
    "default_config",
    "load",
    "load_again",
    "load_with_origins",
    "select_connectors",
]

DEFAULT_CONFIG = Path("tickbridge.yaml")
"""The config in the current directory."""


def default_config() -> Path | None:
    """The default config: that of ``TICKBRIDGE_CONFIG``, or ``./tickbridge.yaml`` if it exists."""
    named = os.environ.get("TICKBRIDGE_CONFIG")
    if named:
        return Path(named)
    # A broken link counts: an error is better than running without the config.
    return DEFAULT_CONFIG if os.path.lexists(DEFAULT_CONFIG) else None


def add_config_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--config FILE``, with `default_config`. If not ``required``, ``options.config`` may be ``None``."""
    default = default_config()
    words = "config file (default: $TICKBRIDGE_CONFIG, or ./tickbridge.yaml"
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=default,
        required=required and default is None,
        help=f"{words})" if required else f"{words}, or none)",
    )


def load(path: Path | None) -> Settings:
    """Load the settings, configure the logs, and register the secrets for redaction.

    Raises:
        ConfigError: all mistakes at once.
    """
    return load_with_origins(path).settings


def load_again(path: Path | None) -> Settings:
    """Like `load`, for a process that runs: its logs stay as they are.

    Raises:
        ConfigError: all mistakes at once, or there are no connectors.
    """
    settings = _loaded(path).settings
    select_connectors(settings, ())
    return settings


def load_with_origins(path: Path | None) -> Loaded:
    """Like `load`, with the origin of each setting.

    Raises:
        ConfigError: all mistakes at once.
    """
    import structlog

    from bridge.process.logs import configure_logging

    loaded = _loaded(path)
    configure_logging(loaded.settings.log.level, loaded.settings.log.format)
    for file, mode in loaded.exposed():
        hint = f"other users of this machine can read it; chmod {mode[:-1]}0 keeps it to its owner and group"
        structlog.get_logger().warning("secret_exposed", path=str(file), mode=mode, hint=hint)
    return loaded


def _loaded(path: Path | None) -> Loaded:
    from bridge.config.load import load_with_origins as load_config
    from bridge.proxies import environment_secrets
    from bridge.redaction import register_secrets

    loaded = load_config(path)
    register_secrets([*loaded.settings.secrets(), *environment_secrets(os.environ)])
    return loaded


def select_connectors(settings: Settings, names: Sequence[str]) -> list[ConnectorSettings]:
    """The connectors with these names, in the order of the config; all of them if no name is given.

    Raises:
        ConfigError: the config has no connectors, or none with such a name.
    """
    from bridge.errors import ConfigError, Problem
    from bridge.suggestions import did_you_mean

    known = [connector.name for connector in settings.connectors]
    if not known:
        raise ConfigError(
            [
                Problem(
                    "connectors",
                    "the config has none, so there is nothing to do",
                    "add one under 'connectors:', or write a config with 'tickbridge init'",
                )
            ]
        )
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if unknown:
        raise ConfigError(
            [Problem("--connector", f"no connector {name!r}", did_you_mean(name, known)) for name in unknown],
            source="arguments",
        )
    return [connector for connector in settings.connectors if not names or connector.name in names]
