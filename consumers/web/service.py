"""The gateway as a service: its options, its parts, and how they run together."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from argparse import Namespace
from collections.abc import Callable, Iterable
from importlib import import_module

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bridge.keys import Keys
from consumers.monitor import Monitor
from consumers.reader import Reader
from consumers.service import Parser, note, serve
from consumers.web.activity import Activity
from consumers.web.assets import Assets
from consumers.web.client import Client
from consumers.web.guard import Guard
from consumers.web.hub import Hub, WatchingReader
from consumers.web.pages import Pages
from consumers.web.simulators import Simulators, local_address, simulator_address
from consumers.web.sockets import Sockets
from consumers.web.tokens import Tokens, TokensFileError

__all__ = ["DESCRIPTION", "HTTP_PORT", "add_options", "start"]

HTTP_PORT = 9112
"""Default port of the gateway, with its metrics and health checks."""
DESCRIPTION = "Serves the streams to browsers: WebSocket, server-sent events, JSON, and a page that shows them."

_PROCESSES = "TICKBRIDGE_WEB_PROCESSES"
"""Where the demo lets its processes be killed. Not an option: the address has a secret in it."""
_MIB = 1024 * 1024
_COUNT = 200
_BLOCK = 0.1
"""Seconds until a stream that a client asks for is read, at most."""


class GatewayMetrics:
    """The metrics that only the gateway has."""

    def __init__(self, hub: Hub, sockets: Sockets) -> None:
        self._hub = hub
        self._sockets = sockets

    async def snapshot(self) -> Callable[[], Iterable[Metric]]:
        """Gauges of what is there now, counters of what was done."""
        found = list(self._families())
        return lambda: found

    def _families(self) -> Iterable[Metric]:
        hub, sockets = self._hub, self._sockets
        watching = sum(client.streams for client in hub.clients if isinstance(client, Client))
        yield GaugeMetricFamily("tickbridge_gateway_clients", "Clients that are connected.", len(hub.clients))
        yield GaugeMetricFamily("tickbridge_gateway_subscriptions", "Their subscriptions.", watching)
        yield GaugeMetricFamily("tickbridge_gateway_feeds", "Streams that are read for clients.", len(hub.feeds))
        yield CounterMetricFamily("tickbridge_gateway_sent_bytes", "Bytes of entries and notices sent.", sockets.sent)
        words = "Times that a slow client was given the newest state in place of entries."
        yield CounterMetricFamily("tickbridge_gateway_conflated", words, hub.conflated)
        words = "Entries read from Redis for single clients."
        yield CounterMetricFamily("tickbridge_gateway_reread_entries", words, hub.reread)
        words = "Clients that were disconnected because they took nothing."
        yield CounterMetricFamily("tickbridge_gateway_stuck_clients", words, sockets.stuck)


async def run(args: Namespace, tokens: Tokens) -> None:
    """Run the gateway until it is cancelled."""
    keys = Keys(args.namespace)
    options = {"namespace": args.namespace, "raw": True}
    guard = Guard(tokens, args.host, args.http.host)
    async with (
        WatchingReader(args.redis, count=_COUNT, block=_BLOCK, **options) as watching,
        Reader(args.redis, **options) as following,
        Simulators(args.simulator, keys, guard, tokens, args.processes) as simulators,
    ):
        activity = Activity(following, keys, args.exchange)
        hub = Hub(watching, keys, memory=args.memory * _MIB, exchange=args.exchange, overview=activity)
        sockets = Sockets(hub, guard, tokens, most_clients=args.clients, most_streams=args.streams)
        monitor = Monitor("web", following, args.redis, lambda: 0, lambda: watching.trouble)
        limits = {"streams": str(args.streams), "message_bytes": str(64 * 1024)}
        pages = Pages(
            hub,
            activity,
            guard,
            tokens,
            version=monitor.version,
            limits=limits,
            simulators=simulators.exchanges,
        )
        assets = Assets()
        if not assets.complete:
            note("web: the page is not part of this installation; the API works")
        routes = [
            web.get("/ws", sockets.websocket, allow_head=False),
            web.get("/events", sockets.events, allow_head=False),
            *pages.routes(),
            *simulators.routes(),
            *assets.routes(),
        ]
        async with asyncio.TaskGroup() as group:
            serving = monitor.run(
                args.http,
                routes,
                middlewares=[guard.middleware],
                collectors=[GatewayMetrics(hub, sockets)],
                words="page, API, metrics and health at",
            )
            group.create_task(serving, name="http")
            group.create_task(_until_end(hub), name="end of clients")
            for task in (hub.read, hub.sweep):
                group.create_task(task(), name=f"hub {task.__name__}")
            for task in (activity.follow, activity.look, activity.count, activity.measure):
                group.create_task(task(), name=f"activity {task.__name__}")


async def _until_end(hub: Hub) -> None:
    """Let all clients know when the gateway ends."""
    try:
        await asyncio.Event().wait()
    finally:
        hub.end()


def add_options(parser: Parser) -> None:
    """Add the options of this service."""
    parser.add_argument(
        "--tokens",
        metavar="FILE",
        help="TOML file with tokens and what they may read (default: the file that TICKBRIDGE_WEB_TOKENS_FILE names, "
        "or the text in TICKBRIDGE_WEB_TOKENS; without any: public streams, on loopback only)",
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host name under which browsers reach the gateway, besides loopback; may be repeated",
    )
    parser.add_argument(
        "--simulator",
        action="append",
        default=[],
        metavar="EXCHANGE=URL",
        help="a simulated exchange and the address of its control paths, on loopback: the page can inject faults, and "
        "shows the exchange's book beside the stream's; may be repeated",
    )
    parser.add_argument("--clients", type=int, default=500, metavar="N", help="clients at once (default: 500)")
    parser.add_argument("--streams", type=int, default=200, metavar="N", help="subscriptions per client (default: 200)")
    parser.add_argument(
        "--memory", type=int, default=1, metavar="MIB", help="memory for each stream that is watched (default: 1)"
    )


def start(parser: Parser, args: Namespace) -> int:
    """Run with these arguments; returns the exit code."""
    if min(args.clients, args.streams, args.memory) < 1:
        parser.error("--clients, --streams and --memory must be at least 1")
    names = [name for name in args.host if "/" in name or ":" in name or not name.strip()]
    if names:
        parser.error(f"--host {names[0]!r}: give a name without scheme, port and path")
    try:
        args.simulator = dict(map(simulator_address, args.simulator))
    except ValueError as error:
        parser.error(f"--simulator: {error}")
    try:
        processes = os.environ.get(_PROCESSES, "")
        args.processes = local_address(processes) if processes else ""
    except ValueError as error:
        parser.error(f"{_PROCESSES}: {error}")
    if args.http.port is None:
        parser.error("--http off: the gateway is nothing without HTTP")
    try:
        tokens = Tokens.load(*_token_sources(args))
    except TokensFileError as error:
        parser.error(str(error))
    if not tokens.configured and not _is_loopback(args.http.host):
        parser.error(
            f"--http {args.http.host}: without tokens the gateway listens on a loopback address only; "
            "configure tokens (--tokens FILE), or give --http 127.0.0.1:PORT"
        )
    args.http = args.http._replace(explicit=True)
    return serve("web", lambda: run(args, tokens), _fastest_loop())


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop, if it is installed (``tickbridge[fast]``): it sends to many clients at a lower cost."""
    try:
        uvloop = import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _token_sources(args: Namespace) -> tuple[str | None, str | None]:
    """The file with the tokens, or their text; what is given on the command line takes precedence."""
    env = os.environ.get
    path = args.tokens or env("TICKBRIDGE_WEB_TOKENS_FILE")
    return path, None if path else env("TICKBRIDGE_WEB_TOKENS")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
