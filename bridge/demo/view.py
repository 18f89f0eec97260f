"""Draws a frame: books with depth, trades, wallets, and how the messages flow. From 80x24 up."""

from __future__ import annotations

import io
import re
from decimal import Decimal
from itertools import accumulate
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bridge.demo.frame import BookFrame, Frame, OrderFrame, WalletFrame
from bridge.demo.look import ASK, ASK_DIM, BAD, BID, BID_DIM, DIM, FRAME, GOOD, HEAD, TITLE, WARN, bar, column, spark
from bridge.demo.watch import Lag
from bridge.model import Levels, Trade

__all__ = ["save_picture", "screen"]

_STATE_STYLES = {"live": GOOD, "degraded": WARN}
_TALL = 28
_NEWS = 5.0
"""Seconds for which a notice is news."""
_PICTURE_SIZE = (104, 32)


def screen(frame: Frame, width: int, height: int) -> RenderableType:
    """The whole view in ``width`` x ``height`` cells."""
    tall = height >= _TALL
    below = 2 if tall else 1
    flow = 4 if tall else 3
    rest = max(10, height - 1 - flow - below)
    books = max(7, round(rest * 0.56)) // 2 * 2 + 1
    layout = Layout()
    layout.split_column(
        Layout(_header(frame, width), size=1),
        Layout(name="books", size=books),
        Layout(name="middle"),
        Layout(_flow(frame, width, tall=tall), size=flow),
        Layout(_footer(frame, width, tall=tall), size=below),
    )
    share = width // max(1, len(frame.books))
    layout["books"].split_row(
        *(Layout(_book(book, share - 4, books - 2, flowing=frame.flowing)) for book in frame.books)
    )
    trades = width // 4
    lines = rest - books - 2
    layout["middle"].split_row(
        *(Layout(_trades(book, trades - 4, lines), size=trades) for book in frame.books),
        Layout(_wallets(frame, width - trades * len(frame.books) - 4, lines)),
    )
    return layout


def save_picture(frame: Frame, file: Path) -> None:
    """Write the view as an SVG.

    Raises:
        OSError: the file can't be written.
    """
    width, height = _PICTURE_SIZE
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(screen(frame, width, height), height=height)
    svg = console.export_svg(title="tickbridge demo")
    # A picture loads nothing from elsewhere: without the web fonts, a monospaced one of the viewer's takes their place.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    file.write_text(svg, encoding="utf-8")


def _header(frame: Frame, width: int) -> RenderableType:
    style = _STATE_STYLES.get(frame.state, BAD)
    left = Text.assemble(
        (" tickbridge ", "bold #10141c on #7aa7ff"), (f"  simulated {frame.exchange}", "bold"), no_wrap=True
    )
    ended = [part for part in frame.parts if part.ended]
    if frame.flowing or not ended:
        left.append(f"  ● connector {frame.state}", style)
    for part in ended:
        left.append(f"  ● {part.name} {part.ended}", BAD)
    right = Text(_clock(frame.elapsed) + (f" / {_clock(frame.duration)}" if frame.duration else "") + " ", DIM)
    return _two_sides(left, right, width)


def _book(book: BookFrame, width: int, lines: int, *, flowing: bool) -> RenderableType:
    if not book.valid:
        shown = Text.assemble(
            ("book invalid\n", f"bold {BAD}"), (book.reason, WARN), justify="center", overflow="ellipsis"
        )
        body: RenderableType = Group(*[Text()] * (lines // 2 - 1), shown)
    else:
        rows = (lines - 1) // 2
        bids, asks = book.bids[:rows], book.asks[:rows]
        most = max((sum(Decimal(size) for _, size in side) for side in (bids, asks)), default=Decimal(1)) or Decimal(1)
        missing = [Text()] * (rows - len(asks))
        body = Group(
            *missing,
            *_side(asks, most, width, ASK, ASK_DIM)[::-1],
            _spread(book, width),
            *_side(bids, most, width, BID, BID_DIM),
        )
    state = ("● invalid", BAD) if not book.valid else ("● valid", GOOD) if flowing else ("● as it last was", WARN)
    title = Text.assemble((f"{book.pair} ", TITLE), state)
    return Panel(body, title=title, title_align="left", border_style=FRAME if book.valid else BAD, box=box.ROUNDED)


def _side(levels: Levels, most: Decimal, width: int, bright: str, dim: str) -> list[Text]:
    """The rows of one side, best first: price, size, and a bar of the depth up to there."""
    sums = list(accumulate(Decimal(size) for _, size in levels))
    sizes = column([size for _, size in levels], 9)
    rows = []
    for (price, size), shown, total in zip(levels, sizes, sums, strict=True):
        row = Text(no_wrap=True)
        row.append(f"{price:>9}", bright)
        row.append(f"{shown:>11}  ")
        row.append_text(bar(float(Decimal(size) / most), float(total / most), width - 22, bright, dim))
        rows.append(row)
    return rows


def _spread(book: BookFrame, width: int) -> Text:
    if not book.bids or not book.asks:
        return Text("one side is empty", DIM)
    bid, ask = Decimal(book.bids[0][0]), Decimal(book.asks[0][0])
    mid = (bid + ask) / 2
    text = Text(no_wrap=True)
    text.append(f"{mid:>9.{max(2, -int(bid.as_tuple().exponent))}f}", "bold")
    text.append(f"  spread {ask - bid}  {(ask - bid) / mid * 10_000:.1f} bp ", DIM)
    text.append("─" * max(0, width - len(text)), FRAME)
    return text


def _trades(book: BookFrame, width: int, lines: int) -> RenderableType:
    shown = book.trades[:lines]
    room = max((len(trade.price) for trade in shown), default=0) + 2
    sizes = column([trade.size for trade in shown], max(4, width - room - 1))
    rows = [_trade(trade, size, room, width) for trade, size in zip(shown, sizes, strict=True)]
    title = Text.assemble((book.pair, TITLE), (" trades", DIM))
    return Panel(Group(*rows), title=title, title_align="left", border_style=FRAME, box=box.ROUNDED)


def _trade(trade: Trade, size: str, room: int, width: int) -> Text:
    arrow, style = ("▲", BID) if trade.side == "buy" else ("▼", ASK)
    return Text.assemble((f"{arrow} {trade.price:>{room - 2}}", style), f"{size:>{max(1, width - room)}}", no_wrap=True)


def _wallets(frame: Frame, width: int, lines: int) -> RenderableType:
    currencies = list(dict.fromkeys(name for book in frame.books for name in book.pair.split("-")))
    currencies.sort(key=lambda name: any(book.pair.endswith(f"-{name}") for book in frame.books))
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", style="bold")
    for _ in currencies:
        table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_row("", *(Text(name, DIM) for name in currencies), Text("open", DIM))
    cell = max(5, (width - 14) // max(1, len(currencies)) - 1)
    columns = [
        column([wallet.balances.get(currency, ("0", ""))[0] for wallet in frame.wallets], cell)
        for currency in currencies
    ]
    for row, wallet in enumerate(frame.wallets):
        amounts = [
            each[row] if currency in wallet.balances else Text("·", DIM)
            for currency, each in zip(currencies, columns, strict=True)
        ]
        table.add_row(_account(wallet), *amounts, str(wallet.orders))
    room = lines - len(frame.wallets) - 2
    orders = [_order(order) for order in frame.orders[:room]] if room > 0 else []
    gap = [Text("open orders, newest first", DIM)] if orders else []
    title = Text.assemble(("wallets ", TITLE), ("available", DIM))
    return Panel(Group(table, *gap, *orders), title=title, title_align="left", border_style=FRAME, box=box.ROUNDED)


def _account(wallet: WalletFrame) -> str:
    parent, _, sub = wallet.account.partition("/")
    return f"└ {sub}" if sub else parent


def _order(order: OrderFrame) -> Text:
    style = BID if order.side == "buy" else ASK
    share = Decimal(order.filled or 0) / (Decimal(order.size) or 1)
    (size,) = column([order.size], 8)
    text = Text.assemble(
        (f"{order.side:<4} ", style), f"{size:>8} at ", (f"{order.price or 'market':>9} ", style), no_wrap=True
    )
    text.append(f"{share:>4.0%} {order.account}", DIM)
    return text


def _flow(frame: Frame, width: int, *, tall: bool) -> RenderableType:
    received, published, read = frame.rates
    path = Text(no_wrap=True)
    stops = [("exchange", received), ("connector", published), ("Redis", read), ("readers", None)]
    for name, rate in stops:
        path.append(name, HEAD)
        if rate is not None:
            path.append(" ──", FRAME)
            path.append(f" {rate:,.0f}/s ", "bold")
            path.append("─▶ ", FRAME)
    counts = Text(no_wrap=True)
    for name in ("lost", "gaps", "holes"):
        count = frame.totals[name]
        style = GOOD if not count else WARN if name == "gaps" else BAD
        counts.append(f"{name} ", DIM).append(f"{count:,}  ", style)
    counts.rstrip()
    reader = Text.assemble(("socket→reader ", DIM), *_lag(frame.lag), no_wrap=True)
    redis = Text.assemble(("  socket→Redis ", DIM), *_lag(frame.publish_lag), no_wrap=True)
    inner = width - 4
    if tall:
        history = Text(spark(frame.history[-max(0, min(60, inner - path.cell_len - 2)) :]), HEAD)
        body: RenderableType = Group(
            _two_sides(path, history, inner), _two_sides(Text("p50/p99  ", DIM) + reader + redis, counts, inner)
        )
    else:
        short = Text.assemble(
            (f"{received:,.0f}/s ", "bold"), ("in ", DIM), (f"{read:,.0f}/s ", "bold"), ("read  ", DIM)
        )
        body = _two_sides(short + reader, counts, inner)
    title = Text.assemble(("messages ", TITLE), (f"{frame.totals['received']:,} received", DIM))
    return Panel(body, title=title, title_align="left", border_style=FRAME, box=box.ROUNDED)


def _lag(lag: Lag) -> list[tuple[str, str]]:
    if lag.half is None or lag.most is None:
        return [("unknown", DIM)]
    return [(f"{lag.half:.2f}", "bold"), ("/", DIM), (f"{lag.most:.2f}", "bold"), (" ms", DIM)]


def _footer(frame: Frame, width: int, *, tall: bool) -> RenderableType:
    keys = Text.assemble(("q", "bold"), (" quit ", DIM), no_wrap=True)
    if frame.pairs > len(frame.books):
        keys = Text.assemble(("tab", "bold"), (" next pair  ", DIM), keys)
    pids = _pids(frame, width - keys.cell_len - 1)
    if not tall:
        return _two_sides(pids, keys, width)
    notice = Text(no_wrap=True)
    if frame.notices:
        at, words = frame.notices[-1]
        notice = Text.assemble((f" {_clock(at)} ", DIM), (words, WARN if frame.elapsed - at < _NEWS else DIM))
    return Group(_two_sides(notice, Text(f"{frame.config} ", DIM), width), _two_sides(pids, keys, width))


def _pids(frame: Frame, width: int) -> Text:
    """Of as many parts as fit, the connector first: it is the one to try and kill."""
    text = Text(" pid", DIM, no_wrap=True)
    for part in sorted(frame.parts, key=lambda part: part.name != "connector"):
        more = Text.assemble((f"  {part.name} ", DIM), (str(part.pid), BAD if part.ended else "default"))
        if text.cell_len + more.cell_len <= width:
            text.append_text(more)
    return text


def _two_sides(left: Text, right: Text, width: int) -> Text:
    """One line; where both don't fit, the left one has the room."""
    room = width - left.cell_len
    if room <= right.cell_len:
        line = left.copy()
        line.truncate(width, overflow="ellipsis")
        return line
    return left + Text(" " * (room - right.cell_len)) + right


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}"
