"""The subject for Python with a mistake on purpose: ``python -m tests.conformance.mutated MISTAKE``."""

from __future__ import annotations

import re
import sys
from decimal import Decimal

from bridge import book
from bridge.model import BookDelta
from conformance import python_subject
from consumers import positions, reader
from consumers.items import Entry, Hole, Reset, Trimmed, Unknown
from consumers.keeper import BookKeeper
from consumers.positions import Cursor, StartPoint
from consumers.wallet import Wallet


def without_holes():
    _dropping(Hole, Trimmed, Reset)


def without_unknown():
    _dropping(Unknown)


def _dropping(*kinds):
    take = python_subject.View.take

    def mistaken(view, item):
        if not isinstance(item, kinds):
            take(view, item)

    python_subject.View.take = mistaken


def live_is_good_news():
    take = BookKeeper.take

    def mistaken(keeper, item):
        valid = keeper.valid
        take(keeper, item)
        if isinstance(item, Entry) and getattr(item.event, "event", "") == "live":
            keeper.valid = valid

    BookKeeper.take = mistaken


def book_survives_a_gap():
    BookKeeper._invalidate = lambda keeper, why, reason: None


def deltas_before_the_snapshot():
    take = BookKeeper.take

    def mistaken(keeper, item):
        if isinstance(item, Entry) and isinstance(item.event, BookDelta):
            keeper.valid = True
        take(keeper, item)

    BookKeeper.take = mistaken


def prices_as_text():
    class Spelled(Decimal):
        """Sorted as a number, equal only to the same digits."""

        def __new__(cls, text):
            self = super().__new__(cls, text)
            self.text = text
            return self

        def __eq__(self, other):
            return self.text == getattr(other, "text", None)

        def __hash__(self):
            return hash(self.text)

    number = book._number
    book._number = lambda text: Spelled(text) if number(text) else number(text)


def prices_as_floats():
    number = book._number
    book._number = lambda text: Decimal(repr(float(number(text))))


def only_0_is_zero():
    book._amount = lambda price, size: Decimal(0 if size == "0" else 1)


def numbers_without_exponents():
    number = book._number
    book._number = lambda text: number(re.sub("[eE].*", "", text))


def sizes_are_changes():
    def apply(self, bids, asks):
        self.add(bids, asks)

    book.Book.apply = apply


def now_is_the_start():
    async def last_id(*_):
        return "0-0"

    positions.last_id = last_id


def from_an_id_anything_goes():
    async def resolve(*args):
        point = await real(*args)
        return StartPoint(Cursor(point.cursor.id, None), point.first)

    real = reader.resolve
    reader.resolve = resolve


def any_hash_is_used():
    async def hashed(redis, keys, key, stream, end):
        return await real(_Agreeing(redis), keys, key, stream, f"{10**15}-1")

    class _Agreeing:
        def __init__(self, redis):
            self.hgetall = redis.hgetall

        async def xrange(self, key, entry_id, *_, **__):
            return [(entry_id, {})]

    real = positions._hashed
    positions._hashed = hashed


def no_hash_is_used():
    async def hashed(*_):
        return None

    positions._hashed = hashed


def numbers_as_json():
    text = python_subject.event_as_text
    python_subject.event_as_text = lambda event: {
        name: int(value) if name in ("ts", "recv") and value else value for name, value in text(event).items()
    }


def orders_without_pairs():
    real = python_subject.wallet_as_json

    def mistaken(fields):
        wallet = real(fields)
        return {**wallet, "orders": {name.split()[-1]: order for name, order in wallet["orders"].items()}}

    python_subject.wallet_as_json = mistaken


def closed_orders_stay():
    real = Wallet._set_json
    Wallet._set_json = lambda wallet, name, event, wire, keep=True: real(wallet, name, event, wire, keep=True)


def without_legs():
    real = python_subject.wallet_as_json

    def mistaken(fields):
        wallet = real(fields)
        return {**wallet, "positions": {name.split()[0]: one for name, one in wallet["positions"].items()}}

    python_subject.wallet_as_json = mistaken


def without_wallet():
    python_subject.wallet_as_json = lambda fields: None


def without_optional_parts():
    without_wallet()
    python_subject.book_as_json = lambda keeper: None


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sys.exit(python_subject.main())
