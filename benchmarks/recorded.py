"""The recorded Coinbase mix, as long as wanted: a recording's updates over and over, numbered anew.

Only what changes from message to message on the wire is rewritten: ``sequence_num``, and ids of trades, which go on
where the last round ended. Times, prices and sizes stay as recorded, so all digits and lengths are real. Books are sent
in full once, at the start.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bridge.recordings.recording import RecvRow, read_recording

__all__ = ["DEFAULT", "Mix"]

DEFAULT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "coinbase-small.jsonl"
_CHANNELS = ("market_trades", "l2_data", "ticker")
_ROWS = {"market_trades": "trades", "l2_data": "updates", "ticker": "tickers"}
_NUMBER = re.compile(r'("sequence_num":)\d+')
_TRADE_ID = re.compile(r'("trade_id":")(\d+)')


class _Template:
    """One recorded message, to be sent again."""

    def __init__(self, text: str, message: dict[str, Any]) -> None:
        self.channel: str = message["channel"]
        self.rows = sum(len(event[_ROWS[self.channel]]) for event in message["events"])
        self.books = Counter(event["product_id"] for event in message["events"] if self.channel == "l2_data")
        head, mark, tail = _NUMBER.split(text, maxsplit=1)
        self._head = head + mark
        parts = _TRADE_ID.split(tail)  # text, mark, id, text, mark, id, …, text
        self._fixed = [parts[0], *(parts[at + 2] for at in range(1, len(parts), 3))]
        self.ids = [int(parts[at + 1]) for at in range(1, len(parts), 3)]

    def text(self, number: int, shift: int) -> str:
        """The message with this ``sequence_num``, and trade ids higher by ``shift``."""
        body = self._fixed[0]
        for ident, fixed in zip(self.ids, self._fixed[1:], strict=True):
            body += f'"trade_id":"{ident + shift}{fixed}'
        return f"{self._head}{number}{body}"


def _trade_ids(message: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for event in message["events"]:
        for trade in event.get("trades", ()):
            yield trade["product_id"], int(trade["trade_id"])


class Mix:
    """The messages of a recording of Coinbase's public channels.

    Raises:
        ValueError: there are no updates in it.
    """

    def __init__(self, path: Path = DEFAULT) -> None:
        self.name = path.name
        self._books: list[_Template] = []
        self._updates: list[_Template] = []
        pairs: set[str] = set()
        ids: dict[str, list[int]] = defaultdict(list)
        for row in read_recording(path):
            if not isinstance(row, RecvRow):
                continue
            message = json.loads(row.data)
            if message.get("channel") not in _CHANNELS:
                continue
            kinds = {event["type"] for event in message["events"]}
            if kinds == {"update"}:
                self._updates.append(_Template(row.data, message))
                for product, ident in _trade_ids(message):
                    ids[product].append(ident)
            elif message["channel"] == "l2_data":
                self._books.append(_Template(row.data, message))
                pairs |= {event["product_id"] for event in message["events"]}
        if not self._updates:
            raise ValueError(f"no updates of {', '.join(_CHANNELS)} in {path}")
        self.pairs = sorted(pairs)
        self._round = max((max(of) - min(of) + 1 for of in ids.values()), default=0)

    def books(self, number: int) -> list[str]:
        """The full books, numbered from ``number`` on."""
        return [book.text(number + place, 0) for place, book in enumerate(self._books)]

    def messages(self, count: int, number: int) -> Iterator[str]:
        """``count`` updates, numbered from ``number`` on."""
        size = len(self._updates)
        for index in range(count):
            yield self._updates[index % size].text(number + index, index // size * self._round)

    def rows(self, count: int) -> Counter[str]:
        """What the first ``count`` updates hold: ``trades``, ``ticker``, and ``books`` (one for each book that changes)."""
        found = Counter(books=self.changes(count).total())
        for update, times in self._times(count):
            if update.channel != "l2_data":
                found["trades" if update.channel == "market_trades" else "ticker"] += times * update.rows
        return found

    def changes(self, count: int) -> Counter[str]:
        """How often the first ``count`` updates change each pair's book."""
        found: Counter[str] = Counter()
        for update, times in self._times(count):
            for pair, changes in update.books.items():
                found[pair] += times * changes
        return found

    def _times(self, count: int) -> Iterator[tuple[_Template, int]]:
        """How often each recorded update is among the first ``count``."""
        whole, rest = divmod(count, len(self._updates))
        for place, update in enumerate(self._updates):
            yield update, whole + (place < rest)

    @property
    def proportions(self) -> str:
        """The mix in words."""
        size = len(self._updates)
        of = Counter(update.channel for update in self._updates)
        levels = sum(update.rows for update in self._updates if update.channel == "l2_data")
        trades = sum(update.rows for update in self._updates if update.channel == "market_trades")
        shares = ", ".join(f"{100 * of[channel] / size:.0f} % {channel}" for channel in of)
        per_book = levels / max(1, of["l2_data"])
        per_trade = trades / max(1, of["market_trades"])
        return f"{shares}; {per_book:.1f} levels per book update, {per_trade:.1f} trades per trade message"
