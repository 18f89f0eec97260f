"""Candles out of the items of one stream of trades, without Redis: the same items give the same candles.

A trade belongs to the bar of its ``ts`` (of its ``recv`` where the exchange gives no time). A bar is closed when a trade
comes that is later than its end by ``grace``, or when `Bars.advance` says that nothing earlier can come any more.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

from msgspec import Struct

from bridge.model import Control, ControlEvent, Trade
from consumers.items import Entry, Hole, Item, Reset, Stored, Trimmed, Undecodable, Unknown, split_id

__all__ = ["Bars", "ClosedBar", "Interval", "Resume"]

_NS = 1_000_000_000
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_INTERVAL = re.compile(r"([0-9]{1,9})([smhd])").fullmatch
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?").fullmatch
_LONGEST_NUMBER = 128
_EXACT = Context(prec=5_000, traps=[Inexact, InvalidOperation, Overflow])
"""Sums and products of any numbers that an entry may have are exact in so many digits; else this raises."""
_MARGIN = 1 * _NS
"""Added to the estimated end of an interruption, since the exchange's clock is known only as well as the latency."""
_FUTURE = 86_400 * _NS
"""A trade that is later than its receipt by more than this has a wrong time."""
_BEGIN = (0, 0)

Position = tuple[int, int]
"""An entry's ID as numbers."""


class Interval(Struct, frozen=True):
    """The length of a bar: its ``name``, as in the key (``1m``), and the same in nanoseconds."""

    name: str
    ns: int

    @classmethod
    def parse(cls, text: str) -> Interval:
        """The interval of ``1s``, ``5m``, ``4h`` or ``1d``; ``60s`` is ``1m``.

        Raises:
            ValueError: it is not an interval.
        """
        match = _INTERVAL(text.strip().lower())
        seconds = int(match[1]) * _UNITS[match[2]] if match else 0
        if not 0 < seconds <= 366 * _UNITS["d"]:
            raise ValueError(
                f"{text!r} is not an interval; write a number and s, m, h or d: 1s, 5m, 1h, 1d (at most 366d)"
            )
        unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _UNITS[unit] == 0)
        return cls(f"{seconds // _UNITS[unit]}{unit}", seconds * _NS)


class ClosedBar(Struct, frozen=True):
    """A closed bar, as it is written: the ID of its entry, and its fields."""

    id: str
    fields: dict[str, str]


class Resume(Struct, frozen=True):
    """Where a stream of candles ends.

    ``number`` is that of the last bar, ``upto`` the last trades entry that was read when it was closed, ``after`` the
    last one that no later bar needs; ``contracts``: the candles have this field.
    """

    number: int
    after: str
    upto: str
    contracts: bool = False

    @classmethod
    def of(cls, interval: Interval, entry_id: str, fields: dict[str, str]) -> Resume:
        """From the last entry of a stream of candles.

        Raises:
            ValueError: it is not a candle of this interval.
        """
        ms, number = split_id(entry_id)
        try:
            after, upto = fields["after"], fields["upto"]
            split_id(after), split_id(upto)
        except KeyError as error:
            raise ValueError(f"entry {entry_id} has no field {error}") from None
        if fields.get("type") != "candle" or ms != _end_ms(interval, number):
            raise ValueError(f"entry {entry_id} is not a candle of {interval.name}")
        return cls(number, after, upto, "contracts" in fields)


class _Bar:
    """The trades of one bar. ``before`` is the entry before its first one."""

    __slots__ = (
        *("before", "close", "contracts", "count", "first", "high", "highest", "last", "low", "lowest", "open"),
        *("ts", "value", "volume"),
    )

    def __init__(self, before: Position, entry_id: str, trade: Trade, price: Decimal) -> None:
        self.before = before
        self.first = entry_id
        self.open = self.high = self.low = trade.price
        self.highest = self.lowest = price
        self.count = 0
        self.volume: Decimal | None = Decimal(0)
        self.value: Decimal | None = Decimal(0)
        self.contracts: Decimal | None = Decimal(0)

    def add(self, entry_id: str, trade: Trade, price: Decimal, size: Decimal | None, contracts: Decimal | None) -> None:
        if price > self.highest:
            self.highest, self.high = price, trade.price
        if price < self.lowest:
            self.lowest, self.low = price, trade.price
        self.close = trade.price
        self.last = entry_id
        self.ts = trade.ts
        self.count += 1
        self.volume = None if size is None or self.volume is None else _EXACT.add(self.volume, size)
        value = None if size is None else _EXACT.multiply(price, size)
        self.value = None if value is None or self.value is None else _EXACT.add(self.value, value)
        known = contracts is not None and self.contracts is not None
        self.contracts = _EXACT.add(self.contracts, contracts) if known else None  # type: ignore[arg-type]


class _Interruption:
    """Trades may be missing from ``begin`` to ``end`` (ns of the exchange's time).

    Without a beginning it began before all that is known. Without an end it lasts, ``pending`` until the next trade,
    otherwise until ``live``. ``before`` is the entry before the one that reports it.
    """

    __slots__ = ("before", "begin", "end", "kind", "pending")

    def __init__(self, kind: str, before: Position, begin: int | None) -> None:
        self.kind = kind
        self.before = before
        self.begin = begin
        self.end: int | None = None
        self.pending = False

    def overlaps(self, start: int, end: int) -> bool:
        return (self.begin is None or self.begin < end) and self.reaches(start)

    def reaches(self, start: int) -> bool:
        return self.end is None or self.end >= start


class Bars:
    """The bars of one interval. ``grace`` is in nanoseconds; ``keep`` is how many candles the stream keeps.

    Every interval has its candle, also without trades, from that of the first trade on. Of a long time without trades,
    only the last ``keep`` are made: the others would be trimmed at once.
    """

    def __init__(self, interval: Interval, *, grace: int, keep: int, resume: Resume | None = None) -> None:
        self.interval = interval
        self.late = 0
        """Trades since the last candle that came after theirs was closed."""
        self._grace = grace
        self._keep = keep
        self._next: int | None = None if resume is None else resume.number + 1
        self._started = resume is not None
        self._contracts = resume is not None and resume.contracts
        self._skipped, self._known = (
            (_BEGIN, _BEGIN) if resume is None else (split_id(resume.after), split_id(resume.upto))
        )
        self._bars: dict[int, _Bar] = {}
        self._interruptions: list[_Interruption] = []
        self._watermark: int | None = None
        """The latest time of a trade."""
        self._newest: tuple[int, int, int] | None = None
        """Of the newest trade: its time, its receipt, and the milliseconds of its entry (in ns)."""
        self._position: Position = self._skipped
        if self._skipped == _BEGIN:
            self._interrupt("start", pending=True)

    def take(self, item: Item) -> list[ClosedBar]:
        """Take the next item of the stream; returns the candles that it closes."""
        match item:
            case Hole(id=entry_id) | Trimmed(oldest=entry_id):
                if split_id(entry_id) > self._skipped:
                    self._interrupt(type(item).__name__.lower(), pending=True)
            case Reset():
                self._skipped = self._known = _BEGIN
                self._interrupt("reset", pending=True)
            case _ if isinstance(item, Stored):
                position = split_id(item.id)
                if position > self._skipped:
                    self._check_first(position)
                    closed = self._take_entry(item, position)
                    self._position = position
                    return closed
                self.remember(item)
                self._position = position
        return []

    def remember(self, item: Item) -> None:
        """Learn from a trade that was taken before how the exchange's time and that of receipt differ."""
        if isinstance(item, Entry) and isinstance(item.event, Trade):
            trade = item.event
            time = trade.recv if trade.ts is None else trade.ts
            if time <= trade.recv + _FUTURE:
                self._newest = (time, trade.recv, item.ms * 1_000_000)

    def advance(self, ms: int) -> list[ClosedBar]:
        """Close what ended before this moment (Redis' clock, ms): all entries that were received until then are taken."""
        if self._newest is None:
            return []
        event, _, at = self._newest
        return self._close(event + ms * 1_000_000 - at - self._grace)

    # --- entries ---------------------------------------------------------------------------------------------------

    def _check_first(self, position: Position) -> None:
        """The first entry after a restart must follow the last one before it.

        A reader that started elsewhere, because of another interval, reports nothing.
        """
        resumed = self._position == self._skipped != _BEGIN
        if resumed and position[1] != self._position[1] + 1 and not self._interruptions:
            self._interrupt("trimmed", pending=True)

    def _take_entry(self, item: Entry | Undecodable | Unknown, position: Position) -> list[ClosedBar]:
        match item:
            case Entry(event=Trade() as trade):
                return self._trade(item.id, position, trade)
            case Entry(event=Control() as control):
                self._control(control)
            case Undecodable():
                self._interrupt("undecodable", pending=True)
            case Unknown(is_control=True):
                self._interrupt("unknown", pending=True)
        return []

    def _trade(self, entry_id: str, position: Position, trade: Trade) -> list[ClosedBar]:
        time = trade.recv if trade.ts is None else trade.ts
        try:
            price, size = _number(trade.price), _number(trade.size)
            contracts = None if trade.contracts is None else _number(trade.contracts)
        except ValueError:
            price = size = contracts = None
        if price is None or time > trade.recv + _FUTURE:
            self._interrupt("undecodable", pending=True)
            return []
        self._newest = (time, trade.recv, position[0] * 1_000_000)
        self._contracts = self._contracts or trade.contracts is not None
        for one in self._interruptions:
            if one.pending:
                one.pending, one.end = False, max(time, one.begin or time)
        number = time // self.interval.ns
        if self._next is None or (number < self._next and not self._started and self._is_open(number)):
            self._next = number  # until the first candle is made, it may be an earlier one
        if number < self._next:
            self.late += position > self._known
        else:
            bar = self._bars.get(number)
            if bar is None:
                bar = self._bars[number] = _Bar(self._position, entry_id, trade, price)
            bar.add(entry_id, trade, price, size, contracts)
        if self._watermark is None or time > self._watermark:
            self._watermark = time
        self._position = position
        return self._close(self._watermark - self._grace)

    def _is_open(self, number: int) -> bool:
        """Whether no trade so far is later than the end of this bar by ``grace``."""
        return self._watermark is None or (number + 1) * self.interval.ns > self._watermark - self._grace

    def _control(self, control: Control) -> None:
        match control.event:
            case ControlEvent.LIVE:
                for one in self._interruptions:
                    if one.end is None and not one.pending:
                        self._end(one, control.recv)
            case ControlEvent.GAP | ControlEvent.LOST:
                self._end(self._interrupt(str(control.event)), control.recv)
            case _:
                self._interrupt(str(control.event))

    def _interrupt(self, kind: str, *, pending: bool = False) -> _Interruption:
        same = (one for one in self._interruptions if one.kind == kind and one.begin == self._watermark)
        one = next(same, None)
        if one is None:  # otherwise it is the same one again, which lasts longer
            one = _Interruption(kind, self._position, self._watermark)
            self._interruptions.append(one)
        one.end, one.pending = None, pending
        return one

    def _end(self, one: _Interruption, recv: int) -> None:
        """It ends with what was received then; before the first trade, the exchange's time of that is unknown."""
        if self._newest is None:
            one.pending = True
        else:
            event, received, _ = self._newest
            one.end = max(event + recv - received + _MARGIN, one.begin or 0)

    # --- candles ---------------------------------------------------------------------------------------------------

    def _close(self, until: int) -> list[ClosedBar]:
        """The candles of all bars that end at or before this time of the exchange."""
        ns, number = self.interval.ns, self._next
        last = until // ns
        if number is None or number >= last:
            return []
        if last - number > self._keep:
            number = last - self._keep
            self._bars = {of: bar for of, bar in self._bars.items() if of >= number}
        closed = []
        while number < last:
            closed.append(self._candle(number))
            number += 1
            self._next = number
        return closed

    def _candle(self, number: int) -> ClosedBar:
        start, end = number * self.interval.ns, (number + 1) * self.interval.ns
        bar = self._bars.pop(number, None)
        reasons = {one.kind for one in self._interruptions if one.overlaps(start, end)}
        self._started = True
        self._interruptions = [one for one in self._interruptions if one.reaches(end)]
        before = [bar.before for bar in self._bars.values()] + [one.before for one in self._interruptions]
        after = min(before, default=self._position)
        fields = {
            "type": "candle",
            "ts": "" if bar is None or bar.ts is None else str(bar.ts),
            "recv": "" if self._newest is None else str(self._newest[1]),
            "open_ts": str(start),
            "close_ts": str(end),
            "open": bar.open if bar else "",
            "high": bar.high if bar else "",
            "low": bar.low if bar else "",
            "close": bar.close if bar else "",
            "volume": _text(bar.volume) if bar else "0",
            "value": _text(bar.value) if bar else "0",
            "count": str(bar.count if bar else 0),
            "late": str(self.late),
            "first": bar.first if bar else "",
            "last": bar.last if bar else "",
            "state": "incomplete" if reasons else "complete",
            "reason": " ".join(sorted(reasons)),
            "after": "{}-{}".format(*after),
            "upto": "{}-{}".format(*self._position),
        }
        if self._contracts:
            fields["contracts"] = _text(bar.contracts) if bar else "0"
        self.late = 0
        return ClosedBar(f"{_end_ms(self.interval, number)}-{number}", fields)


def _end_ms(interval: Interval, number: int) -> int:
    return (number + 1) * interval.ns // 1_000_000


def _number(text: str) -> Decimal | None:
    """The number, exactly; ``None`` if it is empty, that is, unknown.

    Raises:
        ValueError: it is not a number of at least zero, or is too long.
    """
    if not text:
        return None
    if len(text) > _LONGEST_NUMBER or not _NUMBER(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    return Decimal(text)


def _text(number: Decimal | None) -> str:
    return "" if number is None else format(number, "f")
