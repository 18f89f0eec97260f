"""A client: its subscriptions, what it asks for, and the next array that it is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import msgspec
from msgspec import Struct

from bridge.keys import StreamKey
from bridge.model import BOOKS
from bridge.printable import printable
from consumers.items import split_id
from consumers.web.cohort import Spec
from consumers.web.depth import DepthSubscription
from consumers.web.feed import Feed
from consumers.web.hub import Hub, RefusedStreamError
from consumers.web.records import Batch, notice_json
from consumers.web.subscription import CONFLATED, Subscription, Wish, wants_conflation
from consumers.web.tokens import Access, NoAccessError, TokenError, Tokens

__all__ = ["IDLE", "Client", "ForbiddenError", "RequestError"]

_ARRAY = 64 * 1024
"""Bytes of an array, unless a single entry is larger."""
IDLE = 20.0
"""Seconds after which a client is sent something although there is nothing."""
_MOST_NOTICES = 100
_MOST_MISTAKES = 20
_MOST_DEPTH = 1_000
_MOST_TYPES = 20
_LONGEST_QUOTED = 100
_WORDS = ("now", "start", "snapshot")


class RequestError(ValueError):
    """A client asks for what is not possible; the message says what, and what would be."""


class MalformedError(RequestError):
    """What came is no request at all; a client that goes on like this is disconnected."""


class ForbiddenError(RequestError):
    """The token does not allow it."""


class _Request(Struct, forbid_unknown_fields=True):
    """What a client sends on a WebSocket."""

    op: str
    stream: str = ""
    token: str = ""
    after: str = "now"
    types: list[str] | None = None
    conflate: bool | None = None
    depth: int | None = None


_decoder = msgspec.json.Decoder(_Request)


class Client:
    """One connection. `handle` takes what it sends; `next_array` gives what it is sent, as it takes it.

    ``access`` is what its token allows; ``None``: it has still to send its token. ``push`` sends a frame at once, if
    all that was sent before has been taken; without it, the client is never in a cohort.
    """

    def __init__(
        self,
        hub: Hub,
        tokens: Tokens,
        access: Access | None,
        *,
        most_streams: int,
        push: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.access = access
        self.ended = False
        """Whether the gateway ends."""
        self.mistakes = 0
        self._hub = hub
        self._tokens = tokens
        self._most_streams = most_streams
        self._subscriptions: dict[str, Subscription | DepthSubscription] = {}
        self._notices: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._more = False
        self._turn = 0
        self._push = push
        self._spec: Spec | None = None
        """Of the cohort that it is in."""
        hub.clients.add(self)

    @property
    def hopeless(self) -> bool:
        """Whether it has sent so much nonsense that the connection should be closed."""
        return self.mistakes >= _MOST_MISTAKES

    @property
    def streams(self) -> int:
        """How many streams it watches."""
        return len(self._subscriptions)

    @property
    def positions(self) -> list[str]:
        """The ID after which each subscription goes on, in the order of the subscriptions."""
        return [subscription.position for subscription in self._subscriptions.values()]

    def wake(self) -> None:
        """There may be something to send."""
        self._news.set()

    def tell(self, notice: bytes) -> None:
        """Send a notice with the next array."""
        self.leave()
        self._notices.append(notice)
        if len(self._notices) >= _MOST_NOTICES:
            self._room.clear()
        self._news.set()

    def end(self) -> None:
        """The gateway ends."""
        self.ended = True
        self._news.set()

    def close(self) -> None:
        """Give back everything; the connection is gone."""
        self._hub.clients.discard(self)
        for key in list(self._subscriptions):
            self._drop(key)

    # --- what it sends ------------------------------------------------------------------------------------------------

    async def handle(self, text: str) -> None:
        """Take a message of the client; what is wrong with it is answered. Waits while the client takes no answers."""
        await self._room.wait()
        stream = ""
        try:
            request = _parse(text)
            stream = request.stream
            await self._answer(request)
        except RequestError as error:
            self.mistakes += isinstance(error, MalformedError)
            self.tell(notice_json(printable(stream, _LONGEST_QUOTED), "error", message=error))

    async def _answer(self, request: _Request) -> None:
        if request.op == "token":
            self._identify(request.token)
        elif request.op == "subscribe":
            wish = Wish(request.after, frozenset(request.types) if request.types is not None else None)
            await self.subscribe(request.stream, wish, request.conflate, request.depth)
        elif request.op == "unsubscribe":
            if request.stream not in self._subscriptions:
                raise RequestError("there is no subscription to this stream")
            self._drop(request.stream)
            self.tell(notice_json(request.stream, "unsubscribed"))
        else:
            op = printable(request.op, _LONGEST_QUOTED)
            raise MalformedError(f"no op {op!r}; there are token, subscribe and unsubscribe")

    def _identify(self, token: str) -> None:
        try:
            self.access = self._tokens.access(token)
        except TokenError as error:
            raise RequestError(str(error)) from None

    async def subscribe(self, key: str, wish: Wish, conflate: bool | None, depth: int | None) -> None:
        """Subscribe to a stream.

        Raises:
            RequestError: that is not possible.
        """
        stream = self._hub.keys.parse(key)
        if stream is None or self._hub.exchange not in (None, stream.exchange):
            raise RequestError(f"{printable(key, _LONGEST_QUOTED)!r} is not the key of a stream")
        if self.access is None:
            raise RequestError('send a token first: {"op":"token","token":"…"}')
        try:
            self.access.check(stream)
        except NoAccessError as error:
            raise ForbiddenError(str(error)) from None
        if key in self._subscriptions:
            raise RequestError("there is a subscription to this stream already; unsubscribe first")
        if len(self._subscriptions) >= self._most_streams:
            raise RequestError(f"a client may have {self._most_streams} subscriptions, and has them")
        wish = _checked(stream, wish, conflate, depth)
        try:
            feed = await self._hub.open(key, stream, self)
        except RefusedStreamError as error:
            self.tell(notice_json(key, "unreadable", message=error))
            words = f"Redis refuses to read this stream ({error}); subscribe again once that is put right"
            raise RequestError(words) from None
        self.leave()
        kind = Subscription if wish.depth is None else DepthSubscription
        self._subscriptions[key] = kind(self._hub, feed, wish)
        self._more = True
        self.wake()

    def _drop(self, key: str) -> None:
        self.leave()
        subscription = self._subscriptions.pop(key)
        subscription.closed = True
        self._hub.close(subscription.feed, self)

    # --- in a cohort --------------------------------------------------------------------------------------------------

    @property
    def in_cohort(self) -> bool:
        """Whether it is sent what comes next together with others."""
        return self._spec is not None

    def _join(self) -> None:
        """Join the cohort of the clients with the same subscriptions, if this one has taken everything that there is."""
        if self._push is None or self._spec is not None:
            return
        wanted = [subscription.wanted for subscription in self._subscriptions.values()]
        spec = frozenset(one for one in wanted if one is not None)
        if not spec or len(spec) < len(wanted):
            return
        feeds = self._feeds
        self._hub.unwatch(feeds, self)
        self._hub.cohorts.join(self, spec, feeds)
        self._spec = spec

    def leave(self) -> None:
        """Leave the cohort, if it is in one, and go on alone from there."""
        spec, self._spec = self._spec, None
        if spec is not None:
            feeds = self._feeds
            self._hub.cohorts.leave(self, spec, feeds)
            self._hub.watch(feeds, self)
            for subscription in self._subscriptions.values():
                subscription.skip_sent()

    def push(self, frame: bytes) -> bool:
        """Send a frame at once; ``False`` if that is not possible."""
        return self._push is not None and not self.ended and self._push(frame)

    @property
    def _feeds(self) -> list[Feed]:
        return [subscription.feed for subscription in self._subscriptions.values()]

    # --- what it is sent ----------------------------------------------------------------------------------------------

    async def next_array(self) -> bytes:
        """The next array as JSON; waits until there is something, and returns nothing if that takes very long.

        Nothing is lost if this is cancelled before it returns and the connection is closed then.
        """
        deadline = self._hub.now() + IDLE
        while True:
            await self._wait(deadline)
            self._news.clear()
            batch = Batch(_ARRAY)
            while self._notices and not batch.full:
                batch.add(self._notices.popleft())
            self._room.set()
            await self._gather(batch)
            self._more = batch.more or batch.full
            if batch.parts or self.ended or self._hub.now() >= deadline:
                return batch.json()

    async def _wait(self, deadline: float) -> None:
        """Wait until there may be something to send, or until the deadline."""
        if self._more or self._news.is_set():
            return
        self._join()
        due = [subscription.wake_at for subscription in self._subscriptions.values()]
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min([deadline, *(at for at in due if at is not None)])):
                await self._news.wait()

    async def _gather(self, batch: Batch) -> None:
        """Let the subscriptions add what they have, a different one first each time."""
        self.leave()
        subscriptions = list(self._subscriptions.values())
        if not subscriptions:
            return
        self._turn = (self._turn + 1) % len(subscriptions)
        for subscription in subscriptions[self._turn :] + subscriptions[: self._turn]:
            if batch.full:
                break
            if not subscription.closed:
                await subscription.take(batch)


def _parse(text: str) -> _Request:
    """Parse a message.

    Raises:
        MalformedError: it is not one.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MalformedError(f"not a request: {printable(str(error), _LONGEST_QUOTED * 2)}") from None


def _checked(stream: StreamKey, wish: Wish, conflate: bool | None, depth: int | None) -> Wish:
    """What a client asks for, complete.

    Raises:
        RequestError: it is not possible for this stream.
    """
    channel, after = stream.channel, wish.after
    if after not in _WORDS:
        try:
            split_id(after)
        except ValueError:
            shown = printable(after, _LONGEST_QUOTED)
            raise RequestError(f"after is {', '.join(_WORDS)} or an entry ID (ms-seq), not {shown!r}") from None
    if after == "snapshot" and channel not in CONFLATED:
        raise RequestError(f"a stream of {channel} has no state to begin with; use now, start or an entry ID")
    if wish.types is not None and not 0 < len(wish.types) <= _MOST_TYPES:
        raise RequestError(f"types are 1 to {_MOST_TYPES} types of entries; leave them out for all")
    if depth is not None:
        if channel not in BOOKS:
            raise RequestError("depth is for books")
        if not 1 <= depth <= _MOST_DEPTH:
            raise RequestError(f"depth is 1 to {_MOST_DEPTH}, not {depth}")
        if after not in ("now", "snapshot"):
            raise RequestError("with depth, after is now or snapshot")
    try:
        return Wish(after, wish.types, wants_conflation(channel, conflate), depth)
    except ValueError as error:
        raise RequestError(str(error)) from None
