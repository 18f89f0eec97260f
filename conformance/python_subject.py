"""The subject for Python: `consumers.reader.Reader`, with `BookKeeper` and `Wallet` on top.

    python -m conformance --subject "python -m conformance.python_subject"

It is also an example of a subject: one line of JSON in, one line out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from bridge import __version__
from bridge.entries import format_levels
from bridge.errors import BridgeError
from bridge.keys import Keys, StreamKey
from bridge.model import BOOKS, Control, Event
from bridge.redis.errors import FAILURES
from consumers.items import Entry, Hole, Item, Reset, Trimmed, Undecodable, Unknown, split_id
from consumers.keeper import BookKeeper
from consumers.reader import Reader
from consumers.wallet import Wallet

__all__ = ["PythonSubject", "View", "main"]


class View:
    """What is known of one open stream: ``items`` since the last sync, the state, and a book or a wallet."""

    def __init__(self, key: str, stream: StreamKey) -> None:
        self.items: list[Item] = []
        self.state = ""
        self.book = BookKeeper(stream) if stream.channel in BOOKS else None
        self.wallet = None if stream.public else Wallet(key, {})

    def take(self, item: Item) -> None:
        self.items.append(item)
        match item:
            case Entry(event=Control() as control):
                self.state = str(control.event)
            case Unknown(is_control=True):
                self.state = item.fields["event"]
        if self.book:
            self.book.take(item)
        if self.wallet:
            self.wallet.take(item)

    def answer(self) -> dict[str, Any]:
        """The stream's part of the answer to a sync."""
        items, self.items = self.items, []
        answer: dict[str, Any] = {"items": [item_as_json(item) for item in items], "state": self.state}
        if self.book:
            answer["book"] = book_as_json(self.book)
        if self.wallet:
            answer["wallet"] = wallet_as_json(self.wallet.fields)
        return answer


class PythonSubject:
    """Answers the requests of the runner."""

    def __init__(self) -> None:
        self._keys = Keys()
        self._reader: Reader | None = None
        self._views: dict[str, View] = {}

    async def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request; an error of ours is one that says what is wrong."""
        try:
            match request:
                case {"redis": str(url), "namespace": str(namespace)}:
                    return await self._connect(url, namespace)
                case {"open": str(key), "at": str(at)}:
                    return await self._open(key, at)
                case {"close": str(key)}:
                    self._connected.remove(key)
                    del self._views[key]
                    return {"ok": True}
                case {"sync": dict(last)}:
                    return await self._sync(last)
        except (ValueError, KeyError, BridgeError, *FAILURES) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"error": f"an unknown request: {request}"}

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._reader:
            reader, self._reader = self._reader, None
            await reader.aclose()

    @property
    def _connected(self) -> Reader:
        if self._reader is None:
            raise ValueError("the first request names the Redis")
        return self._reader

    async def _connect(self, url: str, namespace: str) -> dict[str, Any]:
        await self.close()
        self._views.clear()
        self._keys = Keys(namespace)
        self._reader = await Reader(url, namespace=namespace).__aenter__()
        return {"ok": True, "client": f"tickbridge {__version__}"}

    async def _open(self, key: str, at: str) -> dict[str, Any]:
        stream = self._keys.parse(key)
        if stream is None:
            raise ValueError(f"{key} is not the key of a stream")
        await self._connected.add(key, at)
        self._views[key] = View(key, stream)
        return {"ok": True}

    async def _sync(self, last: Mapping[str, str]) -> dict[str, Any]:
        reader = self._connected
        while not all(_reached(reader.cursors.get(key), entry_id) for key, entry_id in last.items()):
            item = await anext(aiter(reader))
            self._views[item.key].take(item)
        return {"streams": {key: view.answer() for key, view in self._views.items()}}


def _reached(cursor: str | None, entry_id: str) -> bool:
    """Whether a reader at ``cursor`` (``None``: it has returned nothing yet) has read this entry."""
    return cursor is not None and split_id(cursor) >= split_id(entry_id)


def item_as_json(item: Item) -> dict[str, Any]:  # noqa: PLR0911 - one for each kind
    """An item as the protocol writes it."""
    match item:
        case Entry():
            return {"entry": item.id, **event_as_text(item.event)}
        case Hole():
            return {"hole": item.count, "before": item.id}
        case Trimmed():
            return {"trimmed": item.count, "before": item.oldest}
        case Reset():
            return {"reset": item.id}
        case Undecodable():
            return {"undecodable": item.id}
        case Unknown():
            return {"unknown": item.id}
    return {type(item).__name__.lower(): str(item)}


def event_as_text(event: Event) -> dict[str, str]:
    """The fields of an event, as text, as they are in its entry."""
    names = ("ts", "recv", *event.WIRE, *getattr(event, "MORE", ()))  # type: ignore[attr-defined]
    further = getattr(event, "MORE", ())
    values = {name: getattr(event, name) for name in names}
    return {
        "type": str(event.__struct_config__.tag),
        **{name: _text(value) for name, value in values.items() if value is not None or name not in further},
    }


def _text(value: Any) -> str:
    if value is None:
        return ""
    return format_levels(value) if isinstance(value, list) else str(value)


def book_as_json(keeper: BookKeeper) -> dict[str, Any]:
    """A book as the protocol writes it."""
    if not keeper.valid:
        return {"valid": False, "why": keeper.why}
    bids, asks = keeper.top()
    return {"valid": True, "id": keeper.id, "xseq": keeper.xseq, "bids": bids, "asks": asks}


def wallet_as_json(fields: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a wallet's hash as the protocol writes them."""
    wallet: dict[str, Any] = {"balances": {}, "orders": {}, "positions": {}, "fills": int(fields.get("fills", "0"))}
    for name, text in fields.items():
        kind, _, rest = name.partition(":")
        if kind == "balance":
            wallet["balances"][rest] = msgspec.json.decode(text)
        elif kind == "position":
            wallet["positions"][rest.replace(":", " ")] = msgspec.json.decode(text)
        elif kind == "order":
            order = msgspec.json.decode(text)
            wallet["orders"][f"{order['pair']} {order['order_id']}".lstrip()] = order
    return wallet


def main() -> int:
    """Answer the lines of standard input until the end; returns the exit code."""
    subject = PythonSubject()
    with asyncio.Runner() as runner:
        for line in sys.stdin.buffer:
            request = msgspec.json.decode(line)
            if request.get("end"):
                break
            answer = msgspec.json.encode(runner.run(subject.answer(request)))
            sys.stdout.buffer.write(answer + b"\n")
            sys.stdout.buffer.flush()
        runner.run(subject.close())
    return 0


if __name__ == "__main__":
    sys.exit(main())
