"""A journal of the true events in a simulated exchange as JSON lines, to compare streams with.

========================================================================= ======================================
``{"k":"book","pair":"BTC-USD","seq":12,"time":1786309548.03,              after the exchange's change ``seq``, these
"bids":[["58000.0","0"]],"asks":[]}``                                      levels have these sizes; ``0``: gone
``{"k":"trade","pair":"BTC-USD","id":7,"side":"buy","price":…,"size":…,    a public trade
"time":…}``
``{"k":"fill","account":"main","id":"…","pair":…,"side":…,"price":…,       an execution of an account's order
"size":…,"time":…}``
``{"k":"left_out","type":"trades","pair":"BTC-USD","why":"drop",           a message that a fault kept from a client
"data":"…"}``
========================================================================= ======================================

The first ``book`` row of a pair holds all levels that the exchange shows. Sizes are as in ``/sim/book``: contracts of
derivatives.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import IO

from bridge.files import naming
from bridge.simulator.events import Filled, MarketEvent, TradeDone

__all__ = ["Journal"]

_BUFFER = 1 << 16

Side = Mapping[Decimal, Decimal]
Levels = Sequence[tuple[Decimal, Decimal]]


class Journal:
    """Writes to ``path``; an old file is replaced. ``fill_id`` is the exchange's id of an execution.

    Raises:
        OSError: the file cannot be written; all that writes raises it, once, and nothing more is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] = path.open("w", encoding="utf-8", buffering=_BUFFER)
        self._books: dict[str, tuple[int, Side, Side]] = {}
        self._counts: Counter[str] = Counter()
        self.fill_id: Callable[[Filled], str] = lambda fill: str(fill.serial)

    def heard(self, events: Iterable[MarketEvent]) -> None:
        """Write the trades and fills among market events."""
        for event in events:
            if isinstance(event, TradeDone):
                row = {"k": "trade", "pair": event.pair, "id": event.id}
            elif isinstance(event, Filled):
                row = {"k": "fill", "account": event.account, "id": self.fill_id(event), "pair": event.pair}
            else:
                continue
            priced = {"side": event.side, "price": format(event.price, "f"), "size": format(event.size, "f")}
            self._write({**row, **priced, "time": event.time})

    def book(self, pair: str, seq: int, bids: Side, asks: Side, time: float) -> None:
        """The levels that the exchange shows after its change ``seq``."""
        known = self._books.get(pair)
        if known is not None and known[0] == seq:
            return
        self._books[pair] = (seq, bids, asks)
        before: tuple[Side, Side] = known[1:] if known else ({}, {})
        changed = [_changed(old, new) for old, new in zip(before, (bids, asks), strict=True)]
        self._write({"k": "book", "pair": pair, "seq": seq, "time": time, "bids": changed[0], "asks": changed[1]})

    def changed(self, pair: str, bids: Levels, asks: Levels, time: float) -> None:
        """Write levels that changed in a book without numbers of the exchange's own: they are counted here."""
        self._counts[pair] += 1
        sides = {name: _texts(side) for name, side in (("bids", bids), ("asks", asks))}
        self._write({"k": "book", "pair": pair, "seq": self._counts[pair], "time": time, **sides})

    def left_out(self, type: str, pair: str, payload: bytes, why: str) -> None:  # noqa: A002 - the exchanges' own word
        """Write that the fault ``why`` kept a message from a client."""
        self._write({"k": "left_out", "type": type, "pair": pair, "why": why, "data": payload.decode()})

    def flush(self) -> None:
        """Write everything to the file."""
        if self._file.closed:
            return
        with self._closed_on_failure():
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with naming(self._path):
            self._file.close()

    def _write(self, row: object) -> None:
        if not self._file.closed:
            with self._closed_on_failure():
                self._file.write(json.dumps(row, separators=(",", ":")) + "\n")

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        """Close the file if it cannot be written: no journal has rows after a hole."""
        try:
            with naming(self._path):
                yield
        except OSError:
            with suppress(OSError):
                self._file.close()
            raise


def _changed(before: Side, after: Side) -> list[tuple[str, str]]:
    gone = [(format(price, "f"), "0") for price in before if price not in after]
    return gone + _texts([(price, size) for price, size in after.items() if before.get(price) != size])


def _texts(levels: Levels) -> list[tuple[str, str]]:
    return [(format(price, "f"), format(size, "f")) for price, size in levels]
