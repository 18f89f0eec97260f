"""What the commands that take a config share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.config import ConnectorSettings, Settings

__all__ = ["add_config_option", "load", "select_connectors"]


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """``--config FILE``; the variable ``TICKBRIDGE_CONFIG`` serves where it is not given."""
    default = os.environ.get("TICKBRIDGE_CONFIG") or None
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=Path(default) if default else None,
        required=default is None,
        help="the YAML file (or variable TICKBRIDGE_CONFIG)",
    )


def load(path: Path | None) -> Settings:
    """The settings, with the logs set up as they say and their secrets known to the redaction.

    Raises:
        ConfigError: all mistakes at once.
    """
    from bridge.config import load_settings
    from bridge.logs import configure_logging
    from bridge.proxies import environment_secrets
    from bridge.redaction import register_secrets

    settings = load_settings(path)
    register_secrets([*settings.secrets(), *environment_secrets(os.environ)])
    configure_logging(settings.log.level, settings.log.format)
    return settings


def select_connectors(settings: Settings, names: Sequence[str]) -> list[ConnectorSettings]:
    """The connectors of these names, in the config's order; all, if no name is given.

    Raises:
        ConfigError: the config has no connectors, or none of such a name.
    """
    from bridge.config.problems import did_you_mean
    from bridge.errors import ConfigError, Problem

    known = [connector.name for connector in settings.connectors]
    if not known:
        raise ConfigError([Problem("connectors", "there are none; nothing to do", "add one under 'connectors:'")])
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if unknown:
        raise ConfigError(
            [Problem("--connector", f"no connector {name!r}", did_you_mean(name, known)) for name in unknown],
            source="arguments",
        )
    return [connector for connector in settings.connectors if not names or connector.name in names]
