"""The open WebSockets of a simulated exchange: which of them gets which message, and faults on the way.

A message is framed once, and the same bytes go to every socket: servers don't mask (RFC 6455, 5.1), and nothing is
compressed. What waits in a socket's write buffer is bounded; a client that falls too far behind is cut.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Self

from msgspec import Struct
from websockets.frames import Frame, Opcode

from bridge.simulator.faults import Fault
from bridge.simulator.journal import Journal

__all__ = ["Hub", "Message", "Socket", "message"]

_PING = Frame(Opcode.PING, b"").serialize(mask=False)


class Message(Struct, frozen=True, gc=False):
    """A message to send: the exchange's word for its type, its pair if any, its JSON text, and its frame."""

    type: str
    pair: str
    payload: bytes
    frame: bytes

    @classmethod
    def framed(cls, type: str, pair: str, payload: bytes) -> Self:  # noqa: A002 - the exchanges' own word
        """The message with its frame; the payload is not validated as text."""
        return cls(type, pair, payload, Frame(Opcode.TEXT, payload).serialize(mask=False))


def message(type: str, pair: str, text: str) -> Message:  # noqa: A002 - as above
    """A message framed for sending."""
    return Message.framed(type, pair, text.encode())


class _Filter:
    """An active message fault of one socket."""

    __slots__ = ("fault", "held", "late", "left", "over", "since", "timer")

    def __init__(self, fault: Fault) -> None:
        self.late: deque[tuple[float, Message]] = deque()
        """What a ``delay`` holds back, and until when (by the loop's clock)."""
        self.since = 0.0
        self.over = False
        """Whether the ``delay`` has ended, and only what it holds back is left."""
        self.timer: asyncio.TimerHandle | None = None
        self.fault = fault
        self.left = fault.count
        self.held: Message | None = None


class Socket:
    """One open WebSocket. ``close`` ends it cleanly; ``topics`` are what it subscribed to."""

    def __init__(
        self,
        hub: Hub,
        transport: asyncio.Transport,
        close: Callable[[int], None],
        *,
        topics: Iterable[Hashable],
        pairs: Iterable[str],
        account: str,
    ) -> None:
        self.number = hub.opened
        self.topics = list(topics)
        self.pairs = tuple(pairs)
        self.account = account
        self.close = close
        self.sent = 0
        self.moving = asyncio.Event()
        self.moving.set()
        self._hub = hub
        self._transport = transport
        self._out: list[bytes] = []
        self._filters: list[_Filter] = []
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def buffered(self) -> int:
        """Bytes handed to the socket that its client has not taken yet."""
        return 0 if self._transport.is_closing() else self._transport.get_write_buffer_size()

    @property
    def frozen(self) -> bool:
        """Whether a ``freeze`` is active; ``moving`` is set while there is none."""
        return not self.moving.is_set()

    @property
    def faults(self) -> list[str]:
        """The active faults of this socket."""
        return ["freeze"] * self.frozen + [filter_.fault.fault for filter_ in self._filters]

    def abort(self) -> None:
        """Cut the TCP connection."""
        self._out.clear()
        self._transport.abort()

    def push(self, message: Message) -> None:
        """Send a message, past the faults."""
        if self.frozen:
            self._hub.done["freeze"] += 1
            self._hub.left_out(message, "freeze")
        elif self._filters:
            self._filtered(message)
        else:
            self._emit(message)

    def answer(self, message: Message) -> None:
        """Send what belongs to the connection, not to its data, such as a pong: only a freeze holds it back."""
        if not self.frozen:
            self._emit(message)

    def ping(self) -> None:
        """Send a protocol ping."""
        if not self.frozen:
            self._out.append(_PING)

    def flush(self) -> None:
        """Pass everything to the transport, or abort the connection if its client is too far behind."""
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() + len(data) > self._hub.max_buffer:
            self._hub.overflows += 1
            self.abort()
            return
        self._transport.write(data)

    def release(self) -> None:
        """Send what a ``reorder`` or a ``delay`` still holds back."""
        for filter_ in list(self._filters):
            self._let_go(filter_, float("inf"))
            if filter_.held is not None:
                self._emit(filter_.held)
                filter_.held = None
                self._spend(filter_)

    def freeze(self, duration: float) -> None:
        """Stop sending anything, even pongs, for ``duration`` seconds (0: forever)."""
        self.moving.clear()
        if duration:
            self._timers.append(asyncio.get_running_loop().call_later(duration, self.moving.set))

    def filter(self, fault: Fault) -> None:
        """Start a message fault."""
        filter_ = _Filter(fault)
        filter_.since = asyncio.get_running_loop().time()
        self._filters.append(filter_)
        if fault.duration:
            self._timers.append(asyncio.get_running_loop().call_later(fault.duration, self._end, filter_))

    def clear(self) -> None:
        """End all faults of this socket."""
        self.release()
        self.stop_timers()
        self._filters.clear()
        self.moving.set()

    def stop_timers(self) -> None:
        """Forget when faults were to end."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for filter_ in self._filters:
            if filter_.timer is not None:
                filter_.timer.cancel()

    def _end(self, filter_: _Filter) -> None:
        filter_.over = True
        if filter_ in self._filters and not filter_.late:
            self._filters.remove(filter_)

    def _hold(self, filter_: _Filter, message: Message) -> None:
        """Send a message later, but not before one that came before it."""
        loop = asyncio.get_running_loop()
        now, fault = loop.time(), filter_.fault
        share = min((now - filter_.since) / fault.ramp, 1.0) if fault.ramp else 1.0
        due = now if filter_.over else now + fault.seconds * share
        if filter_.late:
            due = max(due, filter_.late[-1][0])
        else:
            filter_.timer = loop.call_at(due, self._overdue, filter_)
        filter_.late.append((due, message))
        self._hub.done["delay"] += 1

    def _overdue(self, filter_: _Filter) -> None:
        loop = asyncio.get_running_loop()
        self._let_go(filter_, loop.time())
        self.flush()
        if filter_.late:
            filter_.timer = loop.call_at(filter_.late[0][0], self._overdue, filter_)
        elif filter_.over and filter_ in self._filters:
            self._filters.remove(filter_)

    def _let_go(self, filter_: _Filter, until: float) -> None:
        while filter_.late and filter_.late[0][0] <= until:
            _, message = filter_.late.popleft()
            if self.frozen:
                self._hub.done["freeze"] += 1
            else:
                self._emit(message)

    def _spend(self, filter_: _Filter) -> None:
        self._hub.done[filter_.fault.fault] += 1
        filter_.left -= 1
        if not filter_.left:
            self._filters.remove(filter_)

    def _emit(self, message: Message) -> None:
        self._out.append(message.frame)
        self.sent += 1
        self._hub.sent[message.type][message.pair] += 1

    def _filtered(self, message: Message) -> None:
        for filter_ in self._filters:
            if filter_.fault.strikes(message.type, message.pair):
                self._struck(filter_, message)
                return
        self._emit(message)

    def _struck(self, filter_: _Filter, message: Message) -> None:
        kind = filter_.fault.fault
        if kind == "mute":
            self._hub.done["mute"] += 1
            self._hub.left_out(message, kind)
            return
        if kind == "delay":
            self._hold(filter_, message)
            return
        if kind == "reorder":
            if filter_.held is None:
                filter_.held = message
                return
            self._emit(message)
            self._emit(filter_.held)
            filter_.held = None
        elif kind == "duplicate":
            self._emit(message)
            self._emit(message)
        elif kind == "drop":
            self._hub.left_out(message, kind)
        elif kind == "corrupt":
            half = message.payload[: len(message.payload) // 2]
            self._emit(Message.framed("(corrupt)", message.pair, half))
            if filter_.fault.inject:
                self._emit(message)
        elif kind == "unknown":
            self._emit(Message.framed("(unknown)", message.pair, self._hub.unknown))
            self._emit(message)
        self._spend(filter_)


class Hub:
    """All open sockets. ``unknown`` is a message of a type that the exchange doesn't have."""

    def __init__(self, unknown: bytes, max_buffer: int) -> None:
        self.unknown = unknown
        self.max_buffer = max_buffer
        self.sockets: list[Socket] = []
        self.opened = 0
        self.overflows = 0
        self.sent: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.done: Counter[str] = Counter()
        self.journal: Journal | None = None
        self._topics: defaultdict[Hashable, list[Socket]] = defaultdict(list)

    def open(self, transport: asyncio.Transport, close: Callable[[int], None], **what: Any) -> Socket:
        """Add a socket (``topics``, ``pairs``, ``account``: see ``Socket``)."""
        self.opened += 1
        socket = Socket(self, transport, close, **what)
        self.sockets.append(socket)
        for topic in socket.topics:
            self._topics[topic].append(socket)
        return socket

    def forget(self, socket: Socket) -> None:
        """Remove a closed socket."""
        socket.stop_timers()
        self.sockets.remove(socket)
        for topic in socket.topics:
            self._topics[topic].remove(socket)

    def subscribe(self, socket: Socket, topic: Hashable) -> None:
        """Subscribe a socket to a topic."""
        socket.topics.append(topic)
        self._topics[topic].append(socket)

    def unsubscribe(self, socket: Socket, topic: Hashable) -> None:
        """Unsubscribe a socket from a topic."""
        socket.topics.remove(topic)
        self._topics[topic].remove(socket)

    def wanted(self, topic: Hashable) -> bool:
        """Whether any socket has subscribed to a topic."""
        return bool(self._topics.get(topic))

    def publish(self, topic: Hashable, type: str, pair: str, encode: Callable[[], str]) -> None:  # noqa: A002
        """Send a message to all subscribers of ``topic``; ``encode`` is called only if there are any."""
        sockets = self._topics.get(topic)
        if not sockets:
            return
        framed = message(type, pair, encode())
        for socket in sockets:
            socket.push(framed)

    def flush(self) -> None:
        """Pass everything published so far to the sockets."""
        for socket in list(self.sockets):
            socket.flush()

    def settle(self) -> None:
        """As ``flush``, and what a ``reorder`` or a ``delay`` holds back goes too."""
        for socket in list(self.sockets):
            socket.release()
            socket.flush()

    def left_out(self, message: Message, why: str) -> None:
        """Record that a fault kept a message from a client."""
        if self.journal is not None:
            self.journal.left_out(message.type, message.pair, message.payload, why)

    def matching(self, fault: Fault) -> list[Socket]:
        """The open sockets that a fault affects."""
        return [
            socket
            for socket in self.sockets
            if (not fault.pair or fault.pair in socket.pairs)
            and (not fault.sockets or (fault.sockets == "private") == bool(socket.account))
        ]

    def strike(self, fault: Fault) -> int:
        """Inject a socket or message fault; returns the number of affected sockets."""
        sockets = self.matching(fault)
        for socket in sockets:
            if fault.fault == "cut":
                socket.abort()
            elif fault.fault == "close":
                socket.close(fault.code)
            elif fault.fault == "freeze":
                socket.freeze(fault.duration)
            else:
                socket.filter(fault)
        if fault.fault in ("cut", "close"):
            self.done[fault.fault] += len(sockets)
        return len(sockets)

    def clear(self) -> None:
        """End all faults of all sockets."""
        for socket in self.sockets:
            socket.clear()
        self.flush()
