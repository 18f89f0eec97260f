"""A small exchange of the tests' own over real WebSockets, and a receiver with real topics behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from random import Random
from types import TracebackType
from typing import Any, ClassVar, Self

import structlog
from structlog.testing import LogCapture
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from bridge.connector.connections import Connections
from bridge.exchange_errors import ExchangeError, FrameError
from bridge.exchanges.api import (
    ConnectionPlan,
    Exchange,
    Flow,
    Output,
    Pause,
    Profile,
    Reconnect,
    Replace,
    Send,
    Session,
    Subscription,
    Target,
)
from bridge.feed.context import FeedContext
from bridge.feed.flow import FlowControl
from bridge.feed.policies import Pacer
from bridge.feed.rest import RestClient
from bridge.feed.supervisor import FeedSupervisor
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Event, Quote, Trade
from bridge.sequencer import topic_type
from tests.unit.core import ListSink, stream

PAIR = "BTC-EUR"
TRADES, BOOK, QUOTES = (Subscription(c, PAIR) for c in (Channel.TRADES, Channel.BOOK, Channel.QUOTES))


class Venue:
    """The server's side: says what it is told to, to everybody who is connected."""

    def __init__(self) -> None:
        self.peers: set[ServerConnection] = set()
        self.opened = 0
        self.received: list[str] = []
        self.greeting: list[dict[str, Any]] = []
        """Sent to each connection at its beginning."""
        self.hang_up = 0
        """So many connections are closed at once."""
        self.refusals: list[tuple[int, dict[str, str]]] = []
        """Answers to the next connection attempts instead of 101."""
        self.port = 0
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def __aenter__(self) -> Self:
        self._server = await serve(self._serve, "127.0.0.1", 0, process_request=self._request, close_timeout=0.5)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._server is not None
        for peer in self.peers:
            peer.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    def say(self, **message: Any) -> None:
        for peer in self.peers:
            if peer.state is not State.OPEN:
                continue
            peer.protocol.send_text(json.dumps(message).encode())
            peer.send_data()

    def cut(self) -> None:
        for peer in self.peers:
            peer.transport.abort()

    def _request(self, peer: ServerConnection, request: Any) -> Any:
        if not self.refusals:
            return None
        status, headers = self.refusals.pop(0)
        response = peer.respond(HTTPStatus(status), "not now\n")
        response.headers.update(headers)
        return response

    async def _serve(self, peer: ServerConnection) -> None:
        self.opened += 1
        if self.hang_up:
            self.hang_up -= 1
            return
        try:
            for message in self.greeting:
                await peer.send(json.dumps(message))
            self.peers.add(peer)
            async for text in peer:
                self.received.append(str(text))
        except ConnectionClosed:
            return
        finally:
            self.peers.discard(peer)


class FakeSession(Session):
    """Understands the venue."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.resyncs: list[str] = []

    def open(self, now: int) -> Flow[Target]:
        return Target(self._url, self._url)
        yield

    def connected(self, now: int) -> list[Output]:
        return [Send("hello")]

    def receive(self, frame: bytes, recv: int) -> list[Output]:
        try:
            m = json.loads(frame)
        except ValueError:
            raise FrameError("fake", frame, "no JSON") from None
        match m["k"]:
            case "trade":
                return [Trade(PAIR, m.get("ts"), recv, m.get("id", ""), "buy", "1", m.get("size", "1"))]
            case "book":
                return [BookSnapshot(PAIR, None, recv, "", m["bids"], [])]
            case "delta":
                return [BookDelta(PAIR, None, recv, "", m["bids"], [])]
            case "quote":
                return [Quote(PAIR, None, recv, m["bid"], "", "9", "")]
            case "gap" | "refuse":
                gap = Control(PAIR, None, recv, Channel.TRADES, ControlEvent.GAP, "hole", 1)
                return [gap] if m["k"] == "gap" else self.dead([TRADES], recv, "not served")
            case "bug":
                raise ZeroDivisionError
        end = recv + int(m["for"] * 1e9) if "for" in m else None
        orders: dict[str, Output] = {
            "replace": Replace("asked to"),
            "reconnect": Reconnect("told to"),
            "pause": Pause("maintenance", end, m.get("pairs")),
        }
        return [orders[m["k"]]] if m["k"] in orders else []

    def rejected(self, recv: int) -> list[Output]:
        return [self.control(TRADES, ControlEvent.GAP, recv, "rejected")]

    def resync(self, subject: str, now: int, reason: str) -> list[Output]:
        self.resyncs.append(subject)
        return [Replace(reason)]


class FakeExchange(Exchange):
    """One connection for one pair."""

    name = "fake"
    url = ""
    rest_url = ""
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES})
    pace = 0.0
    silence: ClassVar[Any] = {}
    subscribed: tuple[Subscription, ...] = (TRADES,)
    rotate: float | None = None

    def plan(self) -> list[ConnectionPlan]:
        url = self.profile.url or ""
        return [ConnectionPlan("market", self.subscribed, lambda: FakeSession(url), self.rotate)]


class Desk:
    """A receiver: topics, their entries, and what else was said."""

    def __init__(self, subscribed: tuple[Subscription, ...]) -> None:
        self.sinks = {wish: ListSink() for wish in subscribed}
        self.topics: dict[Subscription, Any] = {
            wish: topic_type(wish.channel)(stream(wish.channel), self.sinks[wish], self.resync) for wish in subscribed
        }
        self.rejects: list[bytes] = []
        self.unknowns: list[str] = []
        self.faults: list[ExchangeError] = []
        self.supervisor: FeedSupervisor

    def resync(self, subject: str, reason: str) -> None:
        self.supervisor.resync(subject, reason)

    def event(self, event: Event) -> None:
        topic = self.topics.get(Subscription(event.channel, event.subject))
        if topic and isinstance(event, Control):
            topic.control(event)
        elif topic:
            topic.accept(event)

    def opened(self, streams: Any, since: int) -> None:
        for wish in streams:
            self.topics[wish].reopened(since)

    def down(self, streams: Any, reason: str) -> None:
        for wish in streams:
            self.topics[wish].down(time.time_ns(), reason)

    def stale(self, wish: Subscription, reason: str) -> bool:
        news = self.topics[wish].live
        self.topics[wish].stale(time.time_ns(), reason)
        return bool(news)

    def last(self, wish: Subscription) -> int:
        return int(self.topics[wish].last) if wish in self.topics else 0

    def restated(self, state: Any) -> None:
        raise NotImplementedError

    def rejected(self, connection: str, error: FrameError, recv: int) -> None:
        self.rejects.append(error.raw)

    def unknown(self, kind: str) -> None:
        self.unknowns.append(kind)

    def fault(self, error: ExchangeError) -> None:
        self.faults.append(error)


class Feed:
    """A supervised feed from a venue."""

    def __init__(
        self, venue: Venue, desk: Desk, supervisor: FeedSupervisor, flow: FlowControl, logs: LogCapture
    ) -> None:
        self.venue = venue
        self.desk = desk
        self.supervisor = supervisor
        self.flow = flow
        self._logs = logs

    def said(self, wish: Subscription = TRADES) -> list[str]:
        return self.desk.sinks[wish].said()

    def data(self, wish: Subscription = TRADES) -> list[Any]:
        return self.desk.sinks[wish].data

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self._logs.entries if entry["event"] == event]


@contextlib.asynccontextmanager
async def feed(venue: Venue, library: str, **settings: Any) -> AsyncIterator[Feed]:
    """A supervised feed from the venue; settings are attributes of the exchange."""
    kind = type("Tuned", (FakeExchange,), settings)
    exchange = kind(Profile((PAIR,), kind.channels, url=venue.url))
    desk = Desk(kind.subscribed)
    logs = LogCapture()
    log = structlog.wrap_logger(None, processors=[logs])
    async with RestClient("fake", "http://127.0.0.1:1", None, 1.0, None) as rest:
        context = FeedContext(
            exchange=exchange,
            receiver=desk,
            rest=rest,
            pacer=Pacer(exchange.pace, time.monotonic),
            log=log,
            library=library,
            random=Random(3),
            ping=exchange.ping,
            dead=exchange.dead,
        )
        desk.supervisor = FeedSupervisor(exchange.plan()[0], context)
        task = asyncio.create_task(desk.supervisor.run(), name="supervisor")
        try:
            yield Feed(venue, desk, desk.supervisor, context.flow, logs)
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def connected(exchange: Exchange, *streams: Subscription) -> AsyncIterator[tuple[Connections, Desk, LogCapture]]:
    """All connections of an exchange, as a connector runs them, until the end of the block; they must not end before."""
    desk, logs = Desk(streams), LogCapture()
    desk.supervisors = []
    async with RestClient("fake", "http://127.0.0.1:1", None, 1.0, None) as rest:
        context = FeedContext(
            exchange=exchange,
            receiver=desk,
            rest=rest,
            pacer=Pacer(0, time.monotonic),
            log=structlog.wrap_logger(None, processors=[logs]),
            library="websockets",
        )
        connections = Connections(context, desk)
        task = asyncio.create_task(connections.run())
        try:
            yield connections, desk, logs
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
