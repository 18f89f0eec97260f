"""Draws a pair: its order book with depth, and its trades."""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate

from msgspec import Struct
from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from bridge.model import Levels, Trade
from bridge.view.style import (
    ASK,
    ASK_DIM,
    BAD,
    BID,
    BID_DIM,
    DIM,
    FRAME,
    GOOD,
    HEAD,
    TITLE,
    WARN,
    aligned,
    bar,
    column,
)  # fmt: skip

__all__ = ["BookFrame", "book_panel", "trades_panel"]

_PRICE = 9


class BookFrame(Struct, frozen=True):
    """A pair: the best levels of its book, best first, and its newest trades, newest first."""

    exchange: str
    pair: str
    valid: bool
    reason: str
    bids: Levels
    asks: Levels
    trades: list[Trade]
    flowing: bool = True


def book_panel(book: BookFrame, width: int, lines: int) -> RenderableType:
    """The best levels of both sides around the spread, or why the book is invalid."""
    if not book.valid:
        shown = Text.assemble(
            ("book invalid\n", f"bold {BAD}"), (book.reason, WARN), justify="center", overflow="ellipsis"
        )
        body: RenderableType = Group(*[Text()] * (lines // 2 - 1), shown)
    else:
        rows = (lines - 1) // 2
        bids, asks = book.bids[:rows], book.asks[:rows]
        most = max((sum(Decimal(size) for _, size in side) for side in (bids, asks)), default=Decimal(1)) or Decimal(1)
        mid = [_mid(book)] if bids and asks else []
        prices = aligned([price for price, _ in (*asks, *bids)] + mid, _PRICE)
        missing = [Text()] * (rows - len(asks))
        body = Group(
            *missing,
            *_side(asks, prices, most, width, (ASK, ASK_DIM))[::-1],
            _spread(book, prices[-1], width) if mid else Text("one side is empty", DIM),
            *_side(bids, prices[len(asks) :], most, width, (BID, BID_DIM)),
        )
    state = ("● invalid", BAD) if not book.valid else ("● valid", GOOD) if book.flowing else ("● as it last was", WARN)
    title = Text.assemble((f"{book.exchange} ", HEAD), (f"{book.pair} ", TITLE), state)
    return Panel(body, title=title, title_align="left", border_style=FRAME if book.valid else BAD, box=box.ROUNDED)


def _side(levels: Levels, prices: list[str], most: Decimal, width: int, tones: tuple[str, str]) -> list[Text]:
    """The rows of one side, best first: price (from ``prices``), size, and a bar of the depth up to this level."""
    bright, dim = tones
    sums = list(accumulate(Decimal(size) for _, size in levels))
    sizes = column([size for _, size in levels], 9)
    rows = []
    for (_, size), price, shown, total in zip(levels, prices, sizes, sums, strict=False):
        row = Text(no_wrap=True)
        row.append(price, bright)
        row.append(f"{shown:>11}  ")
        row.append_text(bar(float(Decimal(size) / most), float(total / most), width - row.cell_len, bright, dim))
        rows.append(row)
    return rows


def _mid(book: BookFrame) -> str:
    """The mid price, with as many decimals as the bid, at least two."""
    bid, ask = Decimal(book.bids[0][0]), Decimal(book.asks[0][0])
    return f"{(bid + ask) / 2:.{max(2, -int(bid.as_tuple().exponent))}f}"


def _spread(book: BookFrame, mid: str, width: int) -> Text:
    bid, ask = Decimal(book.bids[0][0]), Decimal(book.asks[0][0])
    text = Text(no_wrap=True)
    text.append(mid, "bold")
    # Prices of a spread between two contracts may be zero or negative: then a share of the price says nothing.
    share = f"  {(ask - bid) / (ask + bid) * 20_000:.1f} bp" if bid > 0 and ask > 0 else ""
    text.append(f"  spread {ask - bid}{share} ", DIM)
    text.append("─" * max(0, width - len(text)), FRAME)
    return text


def trades_panel(book: BookFrame, width: int, lines: int) -> RenderableType:
    """The newest trades, newest first."""
    shown = book.trades[:lines]
    prices = aligned([trade.price for trade in shown])
    room = max(map(len, prices), default=0) + 2
    sizes = column([trade.size for trade in shown], max(4, width - room - 1))
    rows = [_trade(trade, price, size, width - room) for trade, price, size in zip(shown, prices, sizes, strict=True)]
    title = Text.assemble((book.pair, TITLE), (" trades", DIM))
    if title.cell_len + len(book.exchange) + 1 <= width:
        title = Text.assemble((f"{book.exchange} ", HEAD), title)
    return Panel(Group(*rows), title=title, title_align="left", border_style=FRAME, box=box.ROUNDED)


def _trade(trade: Trade, price: str, size: str, room: int) -> Text:
    arrow, style = ("▲", BID) if trade.side == "buy" else ("▼", ASK)
    text = Text(f"{arrow} {price}", style, no_wrap=True)
    return Text.assemble(text, f"{size:>{room}}", no_wrap=True) if room > len(size) else text
