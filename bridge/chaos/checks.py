"""The entries of a stream compared with what the exchange did; each check returns what is wrong, in words."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter

from msgspec import Struct

from bridge.chaos.alignment import align
from bridge.chaos.truth import Happened, TrueBook
from bridge.publish.pending import REDIS_LOST

__all__ = [
    "FILLS",
    "LOSSES",
    "TRADES",
    "Kind",
    "Late",
    "Row",
    "check_book",
    "check_events",
    "check_numbers",
    "levels",
    "with_holes",
]

Row = tuple[str, dict[str, str]]
"""The ID of an entry, and its fields."""
Levels = list[tuple[Decimal, Decimal]]
_SETTLING = 2.0
"""Seconds after a stream's `live` from which on it must have everything, even if it has nothing yet."""
_OVERLAP = 15.0
"""Seconds by which a connection may be behind the one that it replaces: as long as a process may have been paused."""
Sides = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]
RESET = "reset"
_DOWN = frozenset({"down", "stale", "stop"})
"""Those after which anything may be missing until the next ``live``."""
LOSSES = frozenset({"down", "stale", "gap", "lost", "stop", RESET})
"""The control entries that say that something may be missing, and ``reset``: the stream itself begins again."""
_HOLE = "numbers that Redis has lost are missing"
"""The reason of what `with_holes` puts there."""
_RESET_KEY: tuple[object, ...] = (RESET,)


def levels(text: str) -> Levels:
    """The prices and sizes of ``7994.50:1.134 7994.20:0.5``."""
    return [(Decimal(price), Decimal(size)) for price, _, size in (level.partition(":") for level in text.split())]


class Late:
    """How long a book that the stream called valid was behind the exchange's."""

    def __init__(self, excused: Iterable[tuple[float, float]]) -> None:
        self.most = 0.0
        self._excused = list(excused)

    def note(self, since: float, until: float) -> None:
        """The exchange's book had moved on at ``since``, the stream said so, or that it is invalid, at ``until``."""
        if not any(begin <= until and since <= end for begin, end in self._excused):
            self.most = max(self.most, until - since)


class _Follower:
    """A book of a stream beside the exchange's own: where they differ, as of one of the exchange's numbers.

    Only prices that changed on either side are compared again, so the whole books are compared throughout.
    """

    def __init__(self, true: TrueBook) -> None:
        self._true = true
        self.number = true.first - 1
        self.sides: Sides | None = None
        self._differing: set[tuple[int, Decimal]] = set()

    def snapshot(self, sides: Sides, number: int | None) -> bool:
        """Take a whole book; returns whether the exchange had it (``number``: at that number).

        Without a number, it may be one from shortly before: when one connection replaces another, the new one may be
        behind, and nobody can know.
        """
        self.sides = sides
        self.number = self._true.shortly_before(self.number, _OVERLAP) if number is None else number
        theirs = self._true.at(self.number)
        self._differing = {
            (side, price)
            for side, (mine, true) in enumerate(zip(sides, theirs, strict=True))
            for price in mine.keys() | true.keys()
            if mine.get(price) != true.get(price)
        }
        return self._equal(number)

    def delta(self, changes: Sequence[Levels], number: int | None) -> bool:
        """Take changes; returns whether the exchange then had the same book."""
        assert self.sides is not None
        if number is not None and number <= self.number:
            return False
        touched = set()
        for side, (mine, changed) in enumerate(zip(self.sides, changes, strict=True)):
            for price, size in changed:
                touched.add((side, price))
                if size:
                    mine[price] = size
                else:
                    mine.pop(price, None)
        self._compare(touched)
        return self._equal(number)

    def at_the_end(self) -> bool:
        """Whether it is the exchange's last book."""
        return self._equal(self._true.last)

    def _equal(self, number: int | None) -> bool:
        """Go on to this number, or to the first at which nothing differs."""
        before = self.number
        while self.number < self._true.last and (self._differing if number is None else self.number < number):
            self.number += 1
            bids, asks = self._true.touched(self.number - 1, self.number)
            self._compare({(0, price) for price in bids} | {(1, price) for price in asks})
        if not self._differing:
            return True
        if number is None:
            self.number = before
        self.sides = None
        return False

    def _compare(self, touched: set[tuple[int, Decimal]]) -> None:
        assert self.sides is not None
        theirs = self._true.at(self.number)
        for side, price in touched:
            if self.sides[side].get(price) == theirs[side].get(price):
                self._differing.discard((side, price))
            else:
                self._differing.add((side, price))


def check_book(rows: Iterable[Row], true: TrueBook, late: Late | None = None) -> tuple[Counter[str], list[str]]:
    """Every book that a stream calls valid is one that the exchange had, in the exchange's order.

    Where entries have the exchange's number (``xseq``), it is the book of that number. After a wrong one, and after a
    ``lost``, deltas are passed over until the next snapshot.

    Returns:
        How many entries of each kind there were, and what is wrong.
    """
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    number: int | None = None
    mine = _Follower(true)
    passing = False
    for ident, fields in rows:
        kind = fields["type"]
        counts[fields["event"] if kind == "control" else kind] += 1
        if late is not None and mine.sides is not None and mine.number < true.last:
            late.note(true.time(mine.number + 1), int(fields["recv"]) / 1e9)
        if kind == "control":
            # What waited when Redis lost entries comes after the `lost`, where readers pass over it.
            mine.sides, passing = None, fields["event"] in ("lost", RESET)
            continue
        number = int(fields["xseq"]) if fields["xseq"] else None
        bids, asks = levels(fields["bids"]), levels(fields["asks"])
        if passing and kind != "snapshot":
            continue
        passing = True
        if number is not None and not true.first <= number <= true.last:
            wrong.append(f"{ident}: the exchange never had number {number}")
            mine.sides = None
        elif kind == "delta" and mine.sides is None:
            wrong.append(f"{ident}: a delta without a snapshot before it")
        elif (
            mine.snapshot((dict(bids), dict(asks)), number) if kind == "snapshot" else mine.delta((bids, asks), number)
        ):
            passing = False
        else:
            said = "not a book of the exchange's" if number is None else f"not the book of number {number}"
            wrong.append(f"{ident}: {said}")
            mine.sides = None
    numbered = number is not None
    last = None if mine.sides is None else mine.number
    if last is None or not (mine.number == true.last if numbered else mine.at_the_end()):
        wrong.append(f"at the end: number {last}, the exchange has {true.last}")
    return counts, wrong


class Kind(Struct, frozen=True):
    """What identifies an event of a stream: its ``name`` (empty without one), and its ``content``.

    ``several``: whether its events may come over several connections, so that a stream that is `down` has some.
    """

    noun: str
    name: Callable[[Mapping[str, str]], str]
    content: Callable[[Mapping[str, str]], tuple[object, ...]]
    several: bool = False


def _priced(fields: Mapping[str, str]) -> tuple[object, ...]:
    return fields["side"], Decimal(fields["price"]), Decimal(fields["size"])


TRADES = Kind("trade", itemgetter("id"), _priced)
FILLS = Kind("fill", itemgetter("fill_id"), _priced, several=True)


def check_events(
    rows: Iterable[Row], kind: Kind, true: Mapping[str, Happened], unnoticed: Container[str] = ()
) -> tuple[Counter[str], list[str]]:
    """Each event once; none missing unless a control entry between its neighbours says so, or nobody can know.

    Where the kind has ``several`` connections, and the stream is `down`, any may be missing until `live`.

    ``true`` are the exchange's events by name, in order. Events without a name are recognised by second and content: of two
    that are alike, one may have been taken for a repeat of the other.

    Returns:
        How many entries of each kind there were, and what is wrong.
    """
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    order = {name: place for place, name in enumerate(true)}
    places: dict[int, int] = {}
    breaks: list[int] = []
    in_doubt: set[int] = set()
    is_down = False
    here: set[str] = set()
    named = _named(rows, kind, true)
    alike = _alike(true) if any(not kind.name(fields) for _, fields, _ in named if fields["type"] != "control") else {}
    begun = None
    for place, (ident, fields, name) in enumerate(named):
        if fields["type"] == "control":
            counts[fields["event"]] += 1
            if fields["event"] == RESET:
                here.clear()  # what is in the stream that Redis has lost is no part of the one that begins
            is_down = fields["event"] in _DOWN or (is_down and fields["event"] != "live")
            if fields["event"] in LOSSES:
                breaks.append(place)
            elif begun is None:
                begun = int(fields["recv"]) / 1e9
            continue
        counts[kind.noun] += 1
        if name not in order or true[name].content != kind.content(fields):
            wrong.append(
                f"{ident}: {kind.noun} {name or kind.content(fields)} is not the exchange's, or is there twice"
            )
            continue
        if name in here:
            wrong.append(f"{ident}: {kind.noun} {name} is there twice")
        here.add(name)
        places.setdefault(order[name], place)
        if is_down and kind.several:
            in_doubt.add(place)
    seen = sorted(places)
    for number, (name, event) in enumerate(true.items()):
        early = number < seen[0] if seen else begun is None or event.time < begun + _SETTLING
        if early or number in places:
            continue
        at = bisect_left(seen, number)
        around = (
            [places[seen[i]] if 0 <= i < len(seen) else len(named) for i in (at - 1, at)] if seen else [0, len(named)]
        )
        declared = min(around) in in_doubt or bisect_left(breaks, min(around)) < bisect_left(breaks, max(around))
        unknowable = name in unnoticed or any(order[twin] in places for twin in alike.get(name, ()))
        counts["declared missing" if declared else "unnoticed" if unknowable else "missing"] += 1
        if not declared and not unknowable:
            wrong.append(f"{kind.noun} {name} is missing, and nothing says so")
    return counts, wrong


def _alike(true: Mapping[str, Happened]) -> dict[str, list[str]]:
    """Names of events that have the same content within the same second as others: name → all of them."""
    groups: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, event in true.items():
        groups[int(event.time), *event.content].append(name)
    return {name: group for group in groups.values() if len(group) > 1 for name in group}


def _named(rows: Iterable[Row], kind: Kind, true: Mapping[str, Happened]) -> list[tuple[str, dict[str, str], str]]:
    """The entries, each with the name of its event; those without one get that of the event they must be."""
    found = [(ident, fields, "" if fields["type"] == "control" else kind.name(fields)) for ident, fields in rows]
    bare = [place for place, (_, fields, name) in enumerate(found) if fields["type"] != "control" and not name]
    if not bare:
        return found
    mine = [_key(fields, kind) for _, fields, _ in found if fields["type"] != "control" or fields["event"] in LOSSES]
    names = list(true)
    keys = [(int(event.time), *event.content) for event in true.values()]
    places = iter([place for life in _lives(mine) for place in align(life, keys)])
    for at, (ident, fields, _) in enumerate(found):
        if fields["type"] != "control" or fields["event"] in LOSSES:
            place = next(places)
            found[at] = (ident, fields, "" if place is None else names[place])
    return found


def _key(fields: Mapping[str, str], kind: Kind) -> tuple[object, ...] | None:
    if fields["type"] == "control":
        return _RESET_KEY if fields["event"] == RESET else None
    return (int(fields["ts"]) // 10**9, *kind.content(fields))


def _lives(mine: Sequence[tuple[object, ...] | None]) -> Iterator[list[tuple[object, ...] | None]]:
    """The same in parts that begin with a reset: a stream that begins again may repeat what the one before had."""
    starts = [place for place, key in enumerate(mine) if key == _RESET_KEY]
    for start, end in pairwise([0, *starts, len(mine)]):
        yield [None if key == _RESET_KEY else key for key in mine[start:end]]


def with_holes(rows: Iterable[Row]) -> list[Row]:
    """The same, with an entry in the place of numbers that are missing because Redis has lost them.

    Readers may have had those numbers, so they are not given out again. What is remembered is sent again behind them, and then
    comes a `lost` entry that counts them; a reader knows by the numbers, where they are missing.
    """
    found: list[Row] = []
    rows = list(rows)
    declared = sum(int(fields["count"]) for _, fields in rows if fields.get("reason") == REDIS_LOST)
    expected = 1
    for ident, fields in rows:
        number = int(ident.partition("-")[2])
        if fields.get("event") == RESET:
            expected = 0
        else:
            if expected and 0 < number - expected <= declared:
                hole = {"type": "control", "event": "lost", "reason": _HOLE, "count": str(number - expected)}
                found.append((f"{ident.partition('-')[0]}-{number - 1}", {**hole, "ts": "", "recv": fields["recv"]}))
            if fields.get("reason") == REDIS_LOST:
                declared -= int(fields["count"])
            expected = number + 1
        found.append((ident, fields))
    return found


def check_numbers(rows: Iterable[Row]) -> list[str]:
    """Entries are numbered 1, 2, 3 …, and their times never go back; after a ``reset`` they may begin anywhere.

    Where a failover has lost entries that nobody remembers, their numbers are missing (`with_holes`).
    """
    wrong, expected, time = [], 1, 0
    for ident, fields in rows:
        if fields.get("event") == RESET:
            expected, time = 0, 0
            continue
        ms, _, number = ident.partition("-")
        if fields.get("reason") == _HOLE:
            expected = int(number) + 1
            continue
        if expected and int(number) != expected:
            wrong.append(f"{ident}: number {number} where {expected} is due")
        if int(ms) < time:
            wrong.append(f"{ident}: its time is before that of the entry before it")
        expected, time = int(number) + 1, int(ms)
    return wrong
