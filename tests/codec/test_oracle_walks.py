"""The same made-up frames of Kraken and of OKX through CCXT's module and through our own, event by event.

What differs is named here, and nothing else may: CCXT has no time for Kraken's book snapshots, quotes and tickers; it
reckons an open price for Kraken, removes levels that fall off its depth, and has no event for a quiet book of OKX's. Both
quotes and tickers come with every message, where ours come when they have changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from msgspec import structs

from bridge.exchanges.api import Reject, Session
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Event, Levels, Quote, Ticker, Trade
from tests.codec import walks
from tests.codec.needs import needs_ccxt
from tests.codec.sessions import NOW, drive, exchange_of
from tests.unit import kraken_sessions, okx_sessions

pytestmark = needs_ccxt
EventT = TypeVar("EventT", bound=Event)
ALL = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
COUNT = 600
Built = tuple[dict[str, str], dict[str, str]]


def through_ccxt(ident: str, symbol: str, name: str, **more: Any) -> Session:
    """A connected session of the only connection."""
    [plan] = exchange_of(ident, {symbol: name}, ALL, **more).plan()
    session: Session = plan.session()
    drive(session.open(NOW))
    session.connected(NOW)
    return session


def events(session: Any, frames: Iterable[bytes]) -> list[Event]:
    """What comes of the frames; nothing may be refused, missing or down."""
    found = [output for number, frame in enumerate(frames) for output in session.receive(frame, NOW + number)]
    assert not [output for output in found if isinstance(output, Reject)]
    told = [output for output in found if isinstance(output, Event)]
    assert not [event for event in told if isinstance(event, Control) and event.event is not ControlEvent.LIVE]
    return told


def of(kind: type[EventT], found: Iterable[Event], **without: Any) -> list[EventT]:
    """The events of a kind, with these values in place of theirs."""
    return [structs.replace(event, **without) for event in found if isinstance(event, kind)]


def changed(found: Sequence[EventT]) -> list[EventT]:
    """Those that say something else than the one before; ``recv`` and ``ts`` don't count."""
    plain = [structs.replace(event, recv=0, ts=None) for event in found]
    return [*found[:1], *(event for event, (was, now) in zip(found[1:], pairwise(plain), strict=True) if was != now)]


def built(found: Iterable[Event], depth: int) -> list[Built]:
    """The book after each of its events, cut to the best levels."""
    sides: Built = ({}, {})
    books: list[Built] = []
    for event in found:
        if not isinstance(event, BookSnapshot | BookDelta):
            continue
        if isinstance(event, BookSnapshot):
            sides = ({}, {})
        for number, levels in enumerate((event.bids, event.asks)):
            merged = {**sides[number], **dict(levels)}
            stands = {price: size for price, size in merged.items() if Decimal(size)}
            best = sorted(stands, key=Decimal, reverse=not number)[:depth]
            sides[number].clear()
            sides[number].update({price: stands[price] for price in best})
        books.append((dict(sides[0]), dict(sides[1])))
    return books


def touched(levels: Levels) -> dict[str, str]:
    return {price: size if Decimal(size) else "0" for price, size in levels}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kraken_event_by_event(seed: int) -> None:
    frames = [*walks.kraken(seed, COUNT)]
    ours = events(through_ccxt("kraken", "BTC/USD", "XBTUSD"), frames)
    session = kraken_sessions.connected(kraken_sessions.kraken("BTC-USD", depth=10))
    kraken_sessions.accept(session)
    theirs = events(session, frames)

    assert of(Trade, ours) == of(Trade, theirs)
    assert len(of(Trade, ours)) > 50

    deltas, native = of(BookDelta, ours), of(BookDelta, theirs)
    assert [delta.ts for delta in deltas] == [delta.ts for delta in native]
    for mine, other in zip(deltas, native, strict=True):
        for told, wanted in ((mine.bids, other.bids), (mine.asks, other.asks)):
            assert touched(wanted).items() <= touched(told).items()
            assert {size for price, size in touched(told).items() if price not in touched(wanted)} <= {"0"}
    assert built(ours, 10) == built(theirs, 10)
    assert any(
        len(mine.bids + mine.asks) > len(other.bids + other.asks) for mine, other in zip(deltas, native, strict=True)
    )
    assert [event.ts for event in of(BookSnapshot, ours)] == [None]

    quotes = changed(of(Quote, ours))
    assert quotes == of(Quote, theirs, ts=None)
    tickers = changed(of(Ticker, ours))
    assert [structs.replace(event, open="") for event in tickers] == of(Ticker, theirs, ts=None)
    assert all(Decimal(event.open) == Decimal(event.last) - Decimal(event.change) for event in tickers)
    assert len(quotes) > 20
    assert len(tickers) > 20


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("symbol", "pair", "instrument"),
    [("BTC/USDT", "BTC-USDT", "BTC-USDT"), ("BTC/USDT:USDT", "BTC-USDT-PERP", "BTC-USDT-SWAP")],
)
def test_okx_event_by_event(seed: int, symbol: str, pair: str, instrument: str) -> None:
    """Sizes of swaps are coins and contracts in both; changes in percent are rounded in ours."""
    frames = [*walks.okx(seed, COUNT, instrument)]
    more = {"BTC-USDT-SWAP": {"contractSize": Decimal("0.01")}}
    ours = events(through_ccxt("okx", symbol, instrument, **more), frames)
    theirs = events(okx_sessions.public(ALL, symbols={pair: instrument}), frames)

    assert of(Trade, ours, replay=False) == of(Trade, theirs, replay=False)
    assert len(of(Trade, ours)) > 30

    quiet = [event for event in of(BookDelta, theirs) if not (event.bids or event.asks)]
    assert len(quiet) > 20
    books = [event for event in ours if isinstance(event, BookSnapshot | BookDelta)]
    native = [event for event in theirs if isinstance(event, BookSnapshot | BookDelta) and event not in quiet]
    for mine, other in zip(books, native, strict=True):
        assert (type(mine), mine.subject, mine.ts, mine.xseq) == (type(other), other.subject, other.ts, other.xseq)
        assert (touched(mine.bids), touched(mine.asks)) == (touched(other.bids), touched(other.asks))
    assert built(books, 400) == built(native, 400)

    quotes = changed(of(Quote, ours))
    assert quotes == of(Quote, theirs)
    tickers = changed(of(Ticker, ours))
    assert len(quotes) > 20
    assert len(tickers) > 20
    for mine, other in zip(tickers, of(Ticker, theirs), strict=True):
        assert Decimal(mine.change) == Decimal(other.change)
        assert f"{Decimal(mine.change_pct):.4f}" == other.change_pct
        same = {"change": "", "change_pct": ""}
        assert structs.replace(mine, **same) == structs.replace(other, **same)
