"""What the commands of the consumers share: the options of a consumer, with defaults from a config."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from bridge import __version__
from bridge.cli.common import add_config_option
from bridge.cli.parser import Parser as CommandParser
from bridge.redis.topology import Topology
from consumers.monitor import HttpAddress
from consumers.service import Parser as ServiceParser
from consumers.service import note

if TYPE_CHECKING:
    from bridge.config.load import Loaded

__all__ = ["add_consumer"]

_FILES = ("ca_file", "cert_file", "key_file")


class Consumer(Protocol):
    """The module of a consumer."""

    DESCRIPTION: str
    HTTP_PORT: int

    def add_options(self, parser: ServiceParser, /) -> None: ...

    def start(self, parser: ServiceParser, args: argparse.Namespace, /) -> int: ...


class _Parser(CommandParser, ServiceParser):
    """The options of the service; they are ``None`` unless given, since the config has the rest."""

    def __init__(self, name: str, consumer: Consumer) -> None:
        super().__init__(prog=f"tickbridge {name}", description=consumer.DESCRIPTION, http_port=consumer.HTTP_PORT)
        add_config_option(self, required=False)
        self.add_argument("--version", action="version", version=f"tickbridge {__version__}")
        consumer.add_options(self)


def add_consumer(subparsers: Any, name: str, consumer: Consumer) -> None:
    """Add the command of a consumer to the command line."""
    parser = _Parser(name, consumer)
    parser.set_defaults(func=partial(_run, parser, consumer))
    # Not made by argparse, which uses one class for all parsers.
    subparsers.choices[name] = parser


def _run(parser: _Parser, consumer: Consumer, options: argparse.Namespace) -> int:
    """Run the consumer until it ends; returns the exit code.

    Raises:
        ConfigError: a mistake in the config.
    """
    from bridge.config.load import load_with_origins
    from bridge.redaction import register_secrets

    loaded = load_with_origins(options.config)
    register_secrets(loaded.settings.secrets())
    for file, mode in loaded.exposed():
        note(f"{file} has a secret, and other users of this machine can read it (mode {mode})")
    _complete(parser, options, loaded)
    return consumer.start(parser, options)


def _complete(parser: _Parser, options: argparse.Namespace, loaded: Loaded) -> None:
    """Take what the options leave out from the config."""
    settings = loaded.settings
    given = {name: getattr(options, f"redis_{name}") for name in _FILES}
    if options.redis is None and not any(given.values()):
        options.redis = settings.redis.topology
    else:
        configured = {name: getattr(settings.redis, name) for name in _FILES}
        for name in _FILES:
            setattr(options, f"redis_{name}", given[name] or (str(configured[name]) if configured[name] else None))
        options.redis = options.redis or settings.redis.plain_url
        parser.settle(options)
    assert isinstance(options.redis, Topology)
    if options.namespace is None:
        options.namespace = settings.namespace
    if options.http is None:
        # The port in the file is for connectors. A consumer uses its own default port, unless HTTP is off.
        asked = bool(loaded.variable(("http", "port")))
        port = settings.http.port if asked or settings.http.port is None else parser.http_port
        options.http = HttpAddress(settings.http.host, port, explicit=asked)
    names = {"hosts": settings.http.hosts, "old_names": settings.http.old_metric_names}
    options.http = options.http._replace(**names)
