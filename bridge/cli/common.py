"""What the commands that take a config share."""

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
    "load_with_origins",
    "select_connectors",
]

DEFAULT_CONFIG = Path("tickbridge.yaml")
"""The config of the present directory."""


def default_config() -> Path | None:
    """The config that is used where none is named: of ``TICKBRIDGE_CONFIG``, else ``./tickbridge.yaml`` if it is there."""
    named = os.environ.get("TICKBRIDGE_CONFIG")
    if named:
        return Path(named)
    # A broken link counts: better to say that it leads nowhere than to run without it.
    return DEFAULT_CONFIG if os.path.lexists(DEFAULT_CONFIG) else None


def add_config_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """``--config FILE``, with `default_config`; not ``required``: without any, ``options.config`` is ``None``."""
    default = default_config()
    words = "the YAML file (default: that of variable TICKBRIDGE_CONFIG, or ./tickbridge.yaml"
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=default,
        required=required and default is None,
        help=f"{words})" if required else f"{words}, or none)",
    )


def load(path: Path | None) -> Settings:
    """The settings, with the logs set up as they say and their secrets known to the redaction.

    Raises:
        ConfigError: all mistakes at once.
    """
    return load_with_origins(path).settings


def load_with_origins(path: Path | None) -> Loaded:
    """The same, with where each setting comes from.

    Raises:
        ConfigError: all mistakes at once.
    """
    from bridge.config.load import load_with_origins as load_config
    from bridge.process.logs import configure_logging
    from bridge.proxies import environment_secrets
    from bridge.redaction import register_secrets

    loaded = load_config(path)
    register_secrets([*loaded.settings.secrets(), *environment_secrets(os.environ)])
    configure_logging(loaded.settings.log.level, loaded.settings.log.format)
    return loaded


def select_connectors(settings: Settings, names: Sequence[str]) -> list[ConnectorSettings]:
    """The connectors of these names, in the config's order; all, if no name is given.

    Raises:
        ConfigError: the config has no connectors, or none of such a name.
    """
    from bridge.errors import ConfigError, Problem
    from bridge.suggestions import did_you_mean

    known = [connector.name for connector in settings.connectors]
    if not known:
        raise ConfigError(
            [
                Problem(
                    "connectors",
                    "there are none; nothing to do",
                    "add one under 'connectors:', or let 'tickbridge init' write a config",
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
