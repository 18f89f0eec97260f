"""Draws the accounts: wallets, positions, open orders."""

from __future__ import annotations

from decimal import Decimal

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bridge.demo.view.frame import Frame, OrderFrame, PositionFrame, WalletFrame
from bridge.view.style import ASK, BID, DIM, FRAME, TITLE, aligned, column

__all__ = ["wallets_panel", "wallets_width"]

_OPEN = 5
_PRICE = 9
_CELL = 6
"""Columns for an amount, at least."""


def wallets_width(frame: Frame) -> int:
    """The columns that all currencies need."""
    return _fixed(frame) + len({currency for wallet in frame.wallets for currency in wallet.balances}) * (_CELL + 1)


def wallets_panel(frame: Frame, width: int, lines: int) -> RenderableType:
    """The available amounts of as many currencies as fit; below, if there is room, positions and open orders."""
    several = len(frame.venues) > 1
    names = [_name(wallet, several=several) for wallet in frame.wallets]
    room = width - _fixed(frame)
    needed, others = _currencies(frame)
    most = max(1, room // (_CELL + 1))
    currencies = (needed + others)[:most]
    left_out = len(needed) + len(others) - len(currencies)
    cell = max(_CELL, room // max(1, len(currencies)) - 1)
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", style="bold")
    for _ in currencies:
        table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_row("", *(Text(name, DIM) for name in currencies), Text("open", DIM))
    columns = [
        column([wallet.balances.get(currency, ("0", ""))[0] for wallet in frame.wallets], cell)
        for currency in currencies
    ]
    for row, (name, wallet) in enumerate(zip(names, frame.wallets, strict=True)):
        amounts = [
            each[row] if currency in wallet.balances else Text("·", DIM)
            for currency, each in zip(currencies, columns, strict=True)
        ]
        table.add_row(name, *amounts, str(wallet.orders))
    rest = _lists(frame, width, lines - len(frame.wallets) - 1, several=several)
    more = f", {left_out} more in a wider window" if left_out else ""
    title = Text.assemble(("wallets ", TITLE), (f"available{more}", DIM))
    return Panel(Group(table, *rest), title=title, title_align="left", border_style=FRAME, box=box.ROUNDED)


def _currencies(frame: Frame) -> tuple[list[str], list[str]]:
    """The currencies to show first (of the pairs shown, quotes last, and at least one per wallet), and all others."""
    shown = list(dict.fromkeys(name for book in frame.books for name in book.pair.split("-")))
    held = list(dict.fromkeys(currency for wallet in frame.wallets for currency in wallet.balances))
    needed = [name for name in shown if name in held] or shown
    needed.sort(key=lambda name: any(book.pair.endswith(f"-{name}") for book in frame.books))
    exchanges = {book.exchange for book in frame.books}
    for wallet in sorted(frame.wallets, key=lambda each: each.exchange not in exchanges):
        if not wallet.balances.keys() & set(needed):
            needed += list(wallet.balances)[:1]
    return needed, [name for name in held if name not in needed]


def _fixed(frame: Frame) -> int:
    """The columns of names and of the number of open orders."""
    several = len(frame.venues) > 1
    return max((len(_name(wallet, several=several)) for wallet in frame.wallets), default=0) + _OPEN


def _name(wallet: WalletFrame, *, several: bool) -> str:
    parent, _, sub = wallet.account.partition("/")
    if sub:
        return f"└ {sub}"
    return wallet.exchange if several else parent


def _lists(frame: Frame, width: int, room: int, *, several: bool) -> list[Text]:
    """Positions, then orders, each under a heading, in at most ``room`` lines."""
    lines: list[Text] = []
    if frame.positions and room > 1:
        lines += [Text("positions, unrealised profit", DIM)]
        held = frame.positions[: room - 1]
        profits = aligned([f"{Decimal(each.profit or 0):+,.2f}" for each in held])
        entries = aligned([f"{Decimal(each.entry_price or 0):,.2f}" for each in held])
        for each, profit, entry in zip(held, profits, entries, strict=True):
            lines.append(_position(each, profit, [f" at {entry}", f" {each.exchange}" * several], width))
    left = room - len(lines) - 1
    if frame.orders and left > 0:
        lines += [Text("open orders, newest first", DIM)]
        shown = frame.orders[:left]
        prices = aligned([order.price or "market" for order in shown], _PRICE)
        lines += [_order(each, price, width, several=several) for each, price in zip(shown, prices, strict=True)]
    return lines


def _position(held: PositionFrame, profit: str, more: list[str], width: int) -> Text:
    style = BID if held.side == "long" else ASK
    (size,) = column([held.size], 8)
    text = Text.assemble((f"{held.side:<5} ", style), f"{size:>8} ", (f"{held.pair:<9} ", style), no_wrap=True)
    text.append(profit, ASK if "-" in profit else BID)
    return _with(text, more, width)


def _order(order: OrderFrame, price: str, width: int, *, several: bool) -> Text:
    style = BID if order.side == "buy" else ASK
    share = Decimal(order.filled or 0) / (Decimal(order.size) or 1)
    (size,) = column([order.size], 8)
    text = Text.assemble((f"{order.side:<4} ", style), f"{size:>8} at ", (f"{price} ", style), no_wrap=True)
    sub = order.account.partition("/")[2]
    where = [f" {order.exchange}", f" {sub}" * bool(sub)] if several else [f" {order.account}"]
    return _with(text, [f"{share:>4.0%}", *where, f" {order.pair}" * bool(order.pair)], width)


def _with(text: Text, more: list[str], width: int) -> Text:
    """The text, followed by as many of ``more`` as fit."""
    for words in more:
        if text.cell_len + len(words) > width:
            break
        text.append(words, DIM)
    return text
