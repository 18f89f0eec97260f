"""Draws the pages of a pair (book, trades, streams, log) and of an account (balances, orders, positions, entries)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.layout import Layout
from rich.text import Text

from bridge.overview.words import age_text, count_text, is_plain, rate_text, state_style
from bridge.printable import printable
from bridge.top.frame import AccountFrame, TopFrame
from bridge.top.tables import columns, happening_lines, panel
from bridge.view.books import book_panel, trades_panel
from bridge.view.style import ASK, BID, DIM, WARN

__all__ = ["account_page", "pair_page"]

_LEAST_BELOW = 5
_MESSAGE = 3
"""Rows of a message with its frame."""
_TRADES = 28
"""Columns of trades, at least."""


def pair_page(frame: TopFrame, width: int, height: int) -> RenderableType:
    """The book and the newest trades; below, the streams of the pair and what happened to them."""
    below = max(_LEAST_BELOW, min(len(frame.lines) + 3, height // 2))
    layout = Layout()
    layout.split_column(Layout(_market(frame, width, height - below)), Layout(_below(frame, width, below), size=below))
    return layout


def _market(frame: TopFrame, width: int, height: int) -> RenderableType:
    if not frame.books:
        return panel([Text(frame.waiting or "no stream of books or trades", DIM)], _subject(frame))
    book, layout = frame.books[0], Layout()
    trades = max(_TRADES, width // 3)
    layout.split_row(
        Layout(book_panel(book, width - trades - 4, height - 2)),
        Layout(trades_panel(book, trades - 4, height - 2), size=trades),
    )
    return layout


def _below(frame: TopFrame, width: int, height: int) -> RenderableType:
    """The streams; to the right or, in a narrow window, instead of what is newest in them, what happened."""
    half = width // 2
    layout = Layout()
    happened = happening_lines(frame.happenings[: height - 2], width - half - 4, named=False)
    layout.split_row(
        Layout(panel(_streams(frame, half - 4), "streams"), size=half),
        Layout(panel(happened or [Text("nothing yet", DIM)], "log", "newest first")),
    )
    return layout


def _streams(frame: TopFrame, width: int) -> list[Text]:
    rows = []
    for line in frame.lines:
        tail, channel = line.tail, line.row.stream.suffix
        state = (tail.trouble, WARN) if tail and tail.trouble else (line.row.state, state_style(line.row.state))
        there = tail is not None and bool(tail.last_id)
        figures = [count_text(tail.seq), age_text(line.age), rate_text(tail.rate)] if tail and there else [""] * 3
        rows.append([(channel, "bold"), state, *((text, "") for text in figures), (frame.newest.get(channel, ""), DIM)])
    return columns(("channel", "state", "seq", "age", "rate/s", ""), rows, width, right={2, 3, 4}, grow=5)


def _subject(frame: TopFrame) -> str:
    return " ".join(frame.lines[0].row.name[:2]) if frame.lines else "gone from the catalog"


def account_page(frame: TopFrame, width: int, height: int) -> RenderableType:
    """Balances, open orders and positions; below, the streams, the newest entries and what happened."""
    account = frame.account
    if account is None:
        return panel([Text("gone from the catalog", DIM)], "account")
    # Without a wallet, all room is for what the streams say.
    below = max(_LEAST_BELOW, min(len(frame.lines) + 3, height // 2)) if account.wallet else height - _MESSAGE
    half, lines = width // 2, height - below
    layout, above = Layout(), Layout()
    name = f"{account.exchange} {account.account}"
    if not account.wallet:
        words = "no wallet: 'tickbridge wallets' keeps one; below is what the streams say"
        above = Layout(panel([Text(frame.waiting or words, DIM)], name))
    else:
        above.split_row(
            Layout(panel(_balances(account, half - 4)[: lines - 2], name, "balances"), size=half),
            Layout(panel(_orders(account, width - half - 4)[: lines - 2], "open orders and positions")),
        )
    said = [Text(printable(line), no_wrap=True, overflow="ellipsis") for line in account.lines[: below - 2]]
    happened = happening_lines(frame.happenings[: max(1, below - 2 - len(said))], width - half - 4, named=False)
    bottom = Layout()
    bottom.split_row(
        Layout(panel(_streams(frame, half - 4), "streams"), size=half),
        Layout(panel([*said, *happened][: below - 2] or [Text("nothing yet", DIM)], "entries", "newest first")),
    )
    layout.split_column(Layout(above), Layout(bottom, size=below))
    return layout


def _balances(account: AccountFrame, width: int) -> list[Text]:
    rows = [
        [(currency, "bold"), (_field(held, "available"), ""), (_field(held, "reserved"), DIM)]
        for currency, held in _values(account.wallet, "balance:")
    ]
    if not rows:
        return [Text("no balances", DIM)]
    return columns(("currency", "available", "reserved"), rows, width, right={1, 2}, grow=1)


def _orders(account: AccountFrame, width: int) -> list[Text]:
    rows = []
    for pair, held in _values(account.wallet, "position:"):
        profit = _field(held, "unrealised_pnl")
        side = _field(held, "side")
        where = f"{_field(held, 'size')} {pair} from {_field(held, 'entry_price')}"
        rows.append([(side, _side(side)), (where, ""), (profit, ASK if profit.startswith("-") else BID)])
    for _, order in _values(account.wallet, "order:"):
        side = _field(order, "side")
        where = f"{_field(order, 'size')} {_field(order, 'pair')} at {_field(order, 'price') or 'market'}"
        rows.append([(side, _side(side)), (where, ""), (_share(order), DIM)])
    fills = Text(f"{account.wallet.get('fills', '0')} fills", DIM)
    if not rows:
        return [Text("none", DIM), fills]
    return [*columns(("side", "", "profit, filled"), rows, width, right={2}, grow=1), fills]


def _side(side: str) -> str:
    return BID if side in ("buy", "long") else ASK


def _share(order: Mapping[str, Any]) -> str:
    filled, size = _field(order, "filled") or "0", _field(order, "size")
    if not size or not is_plain(filled) or not is_plain(size) or not Decimal(size):
        return ""
    return f"{Decimal(filled) / Decimal(size):.0%}"


def _values(fields: Mapping[str, str], prefix: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The fields of a wallet's hash whose names begin with ``prefix``, without it; what is not JSON is left out."""
    found = []
    for name, text in sorted(fields.items()):
        if name.startswith(prefix):
            try:
                value = msgspec.json.decode(text)
            except msgspec.MsgspecError:
                continue
            if isinstance(value, dict):
                found.append((name.removeprefix(prefix), value))
    return found


def _field(values: Mapping[str, Any], name: str) -> str:
    return str(values.get(name, ""))
