"""The session of an account whose messages are events, of whose parts each is for one stream; its state is on REST."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Output, Session, Subscription
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.login import refused_by_rest
from bridge.exchanges.toolkit.accounts.private import PrivateState, Step
from bridge.exchanges.toolkit.values.fields import NESTED, Row, decode_rows, fields_of
from bridge.exchanges.toolkit.values.numbers import id_or_empty
from bridge.exchanges.toolkit.values.row_lists import Read
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, WRONG, Damage, readable
from bridge.model import Channel, Event, Position

__all__ = ["EventSession", "Part", "nested_rows"]

Part = tuple[Channel, Callable[[], Event]]
"""What of a message is for the stream of one channel; raises one of `WRONG` where it can't be understood."""


class EventSession(Session):
    """One connection of an account. It is ``ready`` once REST has taken the key.

    Args:
        url: where the connection goes.
        exchange: its name, for errors.
        account: the subject of the streams.
        channels: those that this connection feeds.
        memory: what the account's sessions know.
    """

    ready = False
    names: ClassVar[Mapping[str, str]] = {}
    """Fields by REST → the same over a connection, where they differ."""

    def __init__(
        self, url: str, exchange: str, account: str, channels: Sequence[Channel], memory: AccountMemory
    ) -> None:
        super().__init__(url)
        self._exchange = exchange
        self._name = account
        self._memory = memory
        self._streams = [Subscription(channel, account) for channel in channels]
        self._state = PrivateState(self, exchange, account, memory, steps=self._steps, failed=refused_by_rest)

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        frame = readable(frame)
        try:
            fields_of(frame)
            [row] = decode_rows(frame)
        except UNREADABLE as error:
            raise FrameError(self._exchange, frame, f"{type(error).__name__}: {error}") from None
        return self._message(row, frame, recv)

    def tick(self, now: int) -> Sequence[Output]:
        return self._state.tick(now)

    def rejected(self, recv: int) -> Sequence[Output]:
        """What was in the frame is fetched by REST."""
        self._state.want(recv)
        return self.gaps(self._streams, recv)

    @abstractmethod
    def _message(self, row: Row, frame: bytes, recv: int) -> Sequence[Output]:
        """What a message says, whose fields are ``row``."""

    @abstractmethod
    def _steps(self) -> Sequence[Step]:
        """What is asked by REST after each connect, and where something was missed."""

    def _begin(self, now: int) -> list[Output]:
        """The exchange tells what happens from now on: the streams are live, and the state is fetched."""
        return [*self.lively(self._streams, now), *self._state.begin(now)]

    def _each(self, frame: bytes, recv: int, parts: Sequence[Part]) -> list[Output]:
        """The parts of a message, one by one: those that can't be understood are a ``gap`` of their streams, and fetched."""
        damage = Damage(self._exchange, frame)
        out: list[Output] = []
        for channel, read in parts:
            try:
                out += self._state.news([read()])
            except WRONG as error:
                damage.row(error, [Subscription(channel, self._name)], len(out))
        if damage:
            self._state.want(recv)
        return damage.settle(self, out, recv)

    def _restate(
        self,
        channel: Channel,
        rows: Sequence[Row],
        read: Callable[[Row, int], Event],
        now: int,
        name: str = "",
        *,
        covers: Callable[[Event], bool] | None = None,
    ) -> list[Output]:
        """Hand on what REST says; the field ``name`` of a row names its order or currency (`PrivateState.restate`)."""
        reader = self._reader(read, now)
        return self._state.restate(channel, rows, reader, now, covers, name=lambda row: id_or_empty(row.get(name, "")))

    def _restate_fills(
        self, rows: Sequence[Row], read: Callable[[Row, int], Event], now: int, *, whole: bool, time: str
    ) -> list[Output]:
        """Hand on fills, in the order of this field; a ``gap`` where they are not all that there were."""
        out = self._state.restate_fills(rows, self._reader(read, now), now, time=time, whole=whole)
        if whole:
            self._memory.complete(now)
        return out

    def _reader(self, read: Callable[[Row, int], Event], now: int) -> Read:
        """Reads a row by REST, whose fields get the names that they have over a connection; a position of nothing is none."""

        def take(row: Row) -> list[Event]:
            event = read({self.names.get(field, field): value for field, value in row.items()}, now)
            return [] if isinstance(event, Position) and not event.side else [event]

        return take


def nested_rows(row: Row, name: str) -> list[Row]:
    """The rows of an object or a list that stands in a row; none where it isn't there.

    What stands there in their place is a row without fields.
    """
    if name not in row:
        return []
    inside = row[name]
    return decode_rows(inside[len(NESTED) :].encode()) if inside.startswith(NESTED) else [{}]
