"""What commands share that read a Redis once, or watch it: where it is, and which streams."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from bridge.cli import values
from bridge.cli.common import add_config_option
from bridge.keys import Keys, checked_namespace

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from bridge.overview.choice import Choice
    from bridge.overview.look import Overview
    from bridge.overview.rows import StreamRow
    from bridge.redis.topology import Topology

__all__ = [
    "add_choice_options",
    "add_redis_options",
    "asked",
    "choice_of",
    "expect_some",
    "redis_and_keys",
    "with_overview",
]

T = TypeVar("T")

_TIMEOUT = 10.0
"""Seconds that Redis may take for an answer."""


def add_redis_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--redis``, ``--config`` and ``--namespace``."""
    parser.add_argument("--redis", metavar="URL", help="Redis URL, as redis.url in a config (default: the config's)")
    add_config_option(parser, required=False)
    parser.add_argument("--namespace", type=checked_namespace, help="prefix of all keys (default: the config's)")


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose streams."""
    parser.add_argument(
        "patterns",
        nargs="*",
        metavar="PATTERN",
        default=[],
        help="only streams whose key contains this text or matches this pattern, such as '*:trades'",
    )
    for name, metavar, words in (
        ("exchange", "NAME", "of these exchanges"),
        ("pair", "PAIR", "of these pairs or accounts"),
        ("channel", "CHANNEL", "of these channels"),
    ):
        parser.add_argument(
            f"--{name}",
            metavar=metavar,
            action="append",
            type=values.some_words,
            default=[],
            help=f"only streams {words}, names or patterns: {metavar},{metavar} …",
        )
    parser.add_argument("--not-live", action="store_true", help="only streams that are not live")


def choice_of(options: argparse.Namespace) -> Choice:
    """The choice that these options make."""
    from bridge.overview.choice import Choice

    exchanges, pairs, channels = (
        tuple(name for names in given for name in names) for given in (options.exchange, options.pair, options.channel)
    )
    return Choice(exchanges, pairs, channels, tuple(options.patterns))


def redis_and_keys(options: argparse.Namespace) -> tuple[Topology, Keys]:
    """The server and the keys that these options name.

    Raises:
        ConfigError: a mistake in the config, or in the URL.
    """
    from bridge.config.load import load_settings
    from bridge.errors import ConfigError, Problem
    from bridge.redaction import register_secrets
    from bridge.redis.topology import RedisUrlError, Topology

    # Logs are left alone: they would be written over a view.
    settings = load_settings(options.config)
    register_secrets(settings.secrets())
    try:
        topology = Topology(options.redis) if options.redis else settings.redis.topology
    except RedisUrlError as error:
        raise ConfigError([Problem("--redis", error.mistake, error.hint)], "arguments") from None
    return topology, Keys(settings.namespace if options.namespace is None else options.namespace)


def with_overview(topology: Topology, keys: Keys, work: Callable[[Overview], Awaitable[T]]) -> T:
    """Look at this Redis, do some further work, and disconnect; prints notes about what could not be read.

    Raises:
        RedisUnavailableError: Redis does not answer, or refuses this client or a key.
    """
    from bridge.overview.look import Overview
    from bridge.tail.output import note

    async def main(redis: Redis) -> tuple[Overview, T]:
        overview = Overview(redis, keys)
        await overview.look()
        return overview, await work(overview)

    overview, found = asked(topology, main)
    for words in overview.notes:
        note(words)
    return found


def asked(topology: Topology, work: Callable[[Redis], Awaitable[T]]) -> T:
    """Connect to this Redis, do some work, and disconnect.

    Raises:
        RedisUnavailableError: Redis does not answer, or refuses this client or a key.
    """
    from bridge.process.loops import run_async
    from bridge.redis.errors import explained
    from consumers.connection import make_client

    async def main() -> T:
        redis = make_client(topology, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT / 2)
        try:
            with explained(topology.address):
                return await work(redis)
        finally:
            await redis.aclose()

    return run_async(main())


def expect_some(overview: Overview, choice: Choice, keys: Keys) -> list[StreamRow]:
    """The chosen streams; if there are none, a message says why."""
    from bridge.tail.output import note

    rows = list(overview.streams.values())
    chosen = choice.of(rows)
    if not rows:
        place = (
            f"namespace {keys.namespace!r}"
            if keys.namespace
            else "this Redis; is it the right one, and the right namespace?"
        )
        note(f"no streams: no connector has written to {place}")
    elif not chosen:
        hint = choice.hint(rows)
        note(f"none of the {len(rows)} streams matches" + (f" ({hint})" if hint else ""))
    return chosen
