"""One connection over which a codec of CCXT speaks: what it sends and reads, and what becomes of what it refuses."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from inspect import isawaitable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bridge.exchange_errors import ErrorKind, FrameError
from bridge.exchanges.api import (
    Fetch,
    Flow,
    Output,
    Reconnect,
    Reject,
    Replace,
    Said,
    Send,
    Session,
    Subscription,
    Target,
    Warn,
)
from bridge.exchanges.ccxt.calls import Call, Source
from bridge.exchanges.ccxt.digits import decode
from bridge.exchanges.ccxt.driving import Request, Task
from bridge.exchanges.ccxt.errors import is_gap, is_goodbye, no_address, reported
from bridge.exchanges.ccxt.promises import Witness
from bridge.exchanges.ccxt.readers import Reader
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.model import Channel

__all__ = ["CcxtSession", "unpacked"]

_MOST_UNPACKED = 32 * 1024 * 1024
_QUIET = 30 * SECOND
"""After so long without a refusal a stream that may be quiet counts as subscribed: CCXT hides acknowledgements."""
_BOOK_WITHIN = 15 * SECOND
"""After so long without its first snapshot a book counts as not served."""
_AGAIN = 60 * SECOND
"""Before a call that was refused is tried again."""
_GZIP = b"\x1f\x8b"


def unpacked(frame: bytes, options: Mapping[str, Any]) -> bytes:
    """A frame as the exchange has written it, where it packs its frames (``options["ws"]``).

    Raises:
        ValueError: it can't be unpacked, or is too large.
    """
    if options.get("gunzip") and frame[:2] == _GZIP:
        bits = zlib.MAX_WBITS | 16
    elif options.get("inflate") and frame[:1] not in (b"{", b"["):
        bits = -zlib.MAX_WBITS
    else:
        return frame
    try:
        unpacker = zlib.decompressobj(bits)
        found = unpacker.decompress(frame, _MOST_UNPACKED)
    except zlib.error as error:
        raise ValueError(f"it can't be unpacked: {error}") from None
    if not unpacker.eof and unpacker.unconsumed_tail:
        raise ValueError("it is too large when it is unpacked")
    return found


class CcxtSession(Session):
    """Some calls over one connection.

    Args:
        source: what it speaks through.
        calls: what is watched.
        reader: makes events of what the codec brings.
        witness: notices what is missing.
    """

    _secret = False
    """Whether what is sent may hold secrets."""

    def __init__(self, source: Source, calls: Sequence[Call], reader: Reader, witness: Witness | None = None) -> None:
        super().__init__()
        self._source = source
        self._exchange = source.exchange
        self._calls = calls
        self._reader = reader
        self._witness = witness
        self._codec: Any = None
        self._machine: Any = None
        self._wire: Any = None
        self._packing: Mapping[str, Any] = {}
        self._data: dict[str, dict[Call, str]] = {}
        """Hash of what goes on coming → its calls, each with the symbol where it is about one."""
        self._refused: dict[Call, int] = {}
        """Calls that were refused, and when they are to be tried again (ns)."""
        self._waiting: dict[Call, Task] = {}
        """Calls that nothing has come for yet."""
        self._awaited: dict[Call, int] = {}
        """Books that were asked for, a pair each, and when they count as not served (ns)."""
        self._since = 0
        self._pinged = 0
        self._quiet_over = False
        self.ready = False

    # Before there is a connection

    def open(self, now: int) -> Flow[Target]:
        """Start all calls: they say where to connect, some after a token was fetched.

        Raises:
            RestError: no call gets as far as that.
        """
        codec = self._codec = self._source.make(now)
        codec.one_connection = True
        machine = self._machine = codec.machine
        tasks = [self._start(call) for call in self._calls]
        yield from machine.converse(self._source.addresses.request)
        url = next((task.url for task in tasks if task.url), "")
        if not url:
            raise no_address(self._exchange, tasks)
        self._wire = codec.client(url)
        self._packing = codec.options.get("ws", {})
        options = self._packing.get("options", {})
        headers = dict(options.get("headers", {}))
        if cookies := options.get("cookies"):
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return self._source.addresses.target(url, headers)

    def connected(self, now: int) -> Sequence[Output]:
        self._since = self._pinged = now
        self._await_books(self._calls, now)
        return self._settle(now, b"")

    def _start(self, call: Call) -> Task:
        task = self._waiting[call] = self._source.start(self._codec, call)
        return task

    def _ask_again(self, call: Call, now: int) -> None:
        """Make a call once more: what it has waited for is forgotten, and CCXT is not to think that it is subscribed."""
        if before := self._waiting.get(call):
            for name in before.hashes:
                self._wire.futures.pop(name, None)
        self._start(call).insists = True
        self._await_books([call], now)

    def _await_books(self, calls: Sequence[Call], now: int) -> None:
        books = [one for call in calls if call.channel is Channel.BOOK for one in call.each()]
        self._awaited.update(dict.fromkeys(books, now + _BOOK_WITHIN))

    # While it stands

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        self._machine.now = recv
        out: list[Output] = []
        try:
            message = self._decoded(frame)
        except (ValueError, msgspec.MsgspecError) as error:
            raise FrameError(self._exchange, frame, f"{type(error).__name__}: {error}") from None
        if self._witness is not None and (missing := self._witness(message)) is not None:
            out += self.gaps(self._reader.concerned(self._live, missing), recv, "the exchange's count has a hole")
        failure: Exception | None = None
        try:
            more = self._codec.handle_message(self._wire, message)
            if isawaitable(more):
                self._machine.start(more)
            self._machine.run()
        except Exception as error:  # noqa: BLE001 - a handler of CCXT's may raise anything; nothing else may end here
            failure = error
            self._machine.run()
        quiet = not self._machine.sends and not self._codec.rejected
        out += self._settle(recv, frame)
        if failure is not None:
            words = f"{type(failure).__name__}: {failure}"
            out.append(Reject(FrameError(self._exchange, frame, words)))
            out += self.gaps(self._reader.named_in(self._live, frame), recv)
        self.ready = self.ready or quiet
        return out

    def rejected(self, recv: int) -> Sequence[Output]:
        """Whose the frame was can't be told."""
        return self.gaps(sorted(self._live, key=str), recv)

    def tick(self, now: int) -> Sequence[Output]:
        machine = self._machine
        machine.tick(now)
        for call, due in list(self._refused.items()):
            if now >= due:
                del self._refused[call]
                if not self._live.issuperset(self._reader.streams(call)):
                    self._ask_again(call, now)
        machine.run()
        out = [*self._ping(now), *self._settle(now, b"")]
        return [*out, *self._overdue(now)]

    def _overdue(self, now: int) -> list[Output]:
        """CCXT hides acknowledgements: what time has shown of streams that nothing has come for."""
        out: list[Output] = []
        waited = now - self._since
        if waited > _QUIET and not self._quiet_over:
            self._quiet_over = True
            lost = {stream for call in self._refused for stream in self._reader.streams(call)}
            quiet = [stream for stream in self._all() if stream.channel is not Channel.BOOK and stream not in lost]
            out += self.lively(quiet, now)
        for call, due in list(self._awaited.items()):
            if now <= due:
                continue
            del self._awaited[call]
            streams = self._reader.streams(call)
            if call not in self._refused and not self._live.issuperset(streams):
                self._refused[call] = now + _AGAIN
                out += self.dead(streams, now, f"no book within {_BOOK_WITHIN // SECOND} s")
        if waited > _BOOK_WITHIN:
            books = {stream.subject for stream in self._all() if stream.channel is Channel.BOOK}
            self.unserved = books - {stream.subject for stream in self._live if stream.channel is Channel.BOOK}
        return out

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        """Only some of CCXT's modules can give a subscription back: a fresh connection brings a fresh book at all of them."""
        del subject, now
        return [Replace(reason)]

    def _decoded(self, frame: bytes) -> Any:
        plain = unpacked(frame, self._packing)
        if plain[:1] in (b"{", b"[") and len(plain) > 1:
            return decode(plain)
        try:
            return plain.decode()
        except UnicodeDecodeError:
            return plain

    def _ping(self, now: int) -> list[Output]:
        """What the exchange wants to hear from time to time, where it isn't the protocol's own pings."""
        ping = self._codec.streaming.get("ping") or getattr(self._codec, "ping", None)
        every = self._wire.keepAlive
        if not (callable(ping) and every) or now - self._pinged < every * 1_000_000:
            return []
        self._pinged = now
        return [Send(_text(ping(self._wire)))]

    def _all(self) -> list[Subscription]:
        return [stream for call in self._calls for stream in self._reader.streams(call)]

    # What has come of it

    def _settle(self, now: int, frame: bytes) -> list[Output]:
        """Everything that the codec has brought, refused and asked for since the last time."""
        codec, machine = self._codec, self._machine
        out: list[Output] = []
        ended, machine.ended = machine.ended, []
        for task in ended:
            out += self._ended(task, now)
        taken, codec.taken = codec.taken, []
        for found in taken:
            for call, symbol in self._calls_of(found.hashes):
                out += self._reader.read(self, found, call, symbol, now, frame)
        refused, codec.rejected = codec.rejected, []
        for error, name in refused:
            if name is not None or not ended:  # without a name it was for those that have ended
                out += self._rejected(error, name, now)
        sends, machine.sends = machine.sends, []
        for url, message in sends:
            if url == self._wire.url:
                out.append(Send(_text(message), secret=self._secret))
            else:
                out.append(Warn(f"CCXT wants a second connection, to {urlsplit(url).netloc}: it is not served"))
        requests, machine.requests = machine.requests, []
        out += [Fetch(self._converse(*asked), "what CCXT asks for") for asked in requests]
        if self._wire.url in codec.closed:
            out.append(Reconnect("CCXT gives the connection up"))
        return out

    def _calls_of(self, names: Sequence[str]) -> Sequence[tuple[Call, str]]:
        """The calls that something was resolved for, one of each channel: quotes and ticker may be the same message."""
        found: dict[Channel, tuple[Call, str]] = {}
        for name in names:
            for call, symbol in self._data.get(name, {}).items():
                found.setdefault(call.channel, (call, symbol))
        return [*found.values()]

    def _converse(self, task: Task, asked: Request) -> Flow[list[Output]]:
        answer = yield from self._machine.answer(task, asked, self._source.addresses.request)
        del answer
        self._machine.run()
        return self._settle(self._machine.now, b"")

    def _ended(self, task: Task, now: int) -> list[Output]:
        """A call has had its first data, and from now on all that comes like it is data; or it was refused."""
        call = task.owner
        if self._waiting.get(call) is task:
            del self._waiting[call]
        try:
            task.result.result()
        except Exception as error:  # noqa: BLE001 - whatever a module of CCXT's raises
            if not isinstance(call, Call):
                return [Said(reported(self._exchange, error))]
            if call.symbols and not is_gap(error):
                self._listen(call, task.hashes)  # it may be another call that was refused, and this one served
            return self._failed(call, error, now)
        if isinstance(call, Call):
            self._listen(call, task.hashes)
        return []

    def _listen(self, call: Call, names: Sequence[str]) -> None:
        """What is resolved under these names is data of the call's."""
        each = call.symbols if len(call.symbols) == len(names) else ()
        symbols = each or ([call.symbols[0] if len(call.symbols) == 1 else ""] * len(names))
        for name, symbol in zip(names, symbols, strict=True):
            self._data.setdefault(name, {})[call.only(symbol) if symbol else call] = symbol
        self._wire.stand(names)

    def _rejected(self, error: Any, name: str | None, now: int) -> list[Output]:
        """What goes on coming was refused; calls that still wait end by themselves.

        Without a name it isn't known what was refused: what goes on coming was not.
        """
        if is_goodbye(error):
            return []
        if name is None:
            said = Said(reported(self._exchange, error))
            if said.error.kind is ErrorKind.LOGIN_REFUSED:
                return self._login_refused(said)
            streams = sorted(self._live, key=str) if is_gap(error) else []
            return [said, *self.gaps(streams, now, said.error.message)]
        calls = self._data.pop(name, {})
        if calls:
            self._wire.futures.pop(name, None)
            self._wire.subscriptions.pop(name, None)
        return [output for call in calls for output in self._failed(call, error, now)]

    def _failed(self, call: Call, error: Any, now: int) -> list[Output]:
        """A call was refused: it is tried again in a while, each pair for itself; a hole in a book is a ``gap``."""
        streams = self._reader.streams(call)
        said = Said(reported(self._exchange, error, str(call.channel)))
        if is_gap(error):
            return [said, *self.gaps(streams, now, said.error.message)]
        if said.error.kind is ErrorKind.LOGIN_REFUSED:
            return self._login_refused(said)
        if call in self._refused:
            return []
        if len(call.symbols) > 1:
            for one in call.each():
                self._ask_again(one, now)
            self._machine.run()
            return [said]
        self._refused[call] = now + _AGAIN
        return [said, *self.dead(streams, now, said.error.message)]

    def _login_refused(self, said: Said) -> list[Output]:
        return [said, Reconnect(f"the log-in is refused: {said.error.about}", 60.0)]


def _text(message: Any) -> str:
    return message if isinstance(message, str) else msgspec.json.encode(message).decode()
