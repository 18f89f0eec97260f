"""``tickbridge handover``: lets the process that stands by for a connector go on in the writer's place."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bridge.cli.reading import add_redis_options, asked, redis_and_keys

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from bridge.redis.handover import HandedOver

__all__ = ["add_parser"]

_PATIENCE = 15.0


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "handover",
        help="let the standby of a connector take over",
        description="Asks the process that writes a connector's streams to let its standby go on, and waits until it does. "
        "The process that has written then stands by. Exits with 1 if there is no writer, or no standby that is ready.",
    )
    parser.add_argument("name", metavar="NAME", help="the connector's name")
    add_redis_options(parser)
    parser.set_defaults(func=handover)


def handover(options: argparse.Namespace) -> int:
    """Hand a connector over.

    Raises:
        HandoverError: nobody writes, or nobody could go on at once.
        ConfigError: a mistake in the config or the arguments.
        RedisUnavailableError: Redis does not answer, or refuses this client or a key.
    """
    from bridge.redis.handover import hand_over

    topology, keys = redis_and_keys(options)

    async def work(client: Redis) -> HandedOver:
        return await hand_over(client, keys, options.name, _PATIENCE)

    done = asked(topology, work)
    print(f"{options.name}: from {done.before} to {done.after}, {done.seconds:.1f} s after it was asked for")
    return 0
