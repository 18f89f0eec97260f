"""Draws a frame: books with depth, trades, wallets, and message rates. All of it fits into 80x24."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from bridge.demo.recorded import SIMULATED
from bridge.demo.view.frame import Frame
from bridge.demo.view.help import help_panel
from bridge.demo.view.wallets import wallets_panel, wallets_width
from bridge.demo.watch import Lag
from bridge.view.books import book_panel, trades_panel
from bridge.view.style import BAD, DIM, FRAME, GOOD, HEAD, TITLE, WARN, clock, spark, two_sides

__all__ = ["save_picture", "screen"]

_STATE_STYLES = {"live": GOOD, "degraded": WARN}
_TALL = 28
_FOOTER = 2
_ROOMY = 24
"""Columns that trades need to show full sizes."""
_SMALLEST = (60, 16)
_NEWS = 5.0
"""Seconds for which a notice is highlighted."""
_PICTURE_SIZE = (104, 32)


def screen(frame: Frame, width: int, height: int, *, helping: bool = False) -> RenderableType:
    """The whole view in ``width`` x ``height`` cells; with ``helping``, the help replaces the market."""
    if width < _SMALLEST[0] or height < _SMALLEST[1]:
        return _small(frame, width, height)
    tall = height >= _TALL
    flow = 4 if tall else 3
    rest = height - 1 - flow - _FOOTER
    layout = Layout()
    layout.split_column(
        Layout(_header(frame, width), size=1),
        Layout(help_panel(width) if helping else _market(frame, width, rest)),
        *([] if helping and not tall else [Layout(_flow(frame, width, tall=tall), size=flow)]),
        Layout(_footer(frame, width), size=_FOOTER),
    )
    return layout


def _market(frame: Frame, width: int, height: int) -> Layout:
    """Books above; trades and wallets below."""
    # Wallets take as many rows as they need; books take the rest.
    needed = len(frame.wallets) + 3
    books = max(5, min(round(height * 0.56), height - needed) // 2 * 2 - 1)
    layout = Layout()
    layout.split_column(Layout(name="books", size=books), Layout(name="below"))
    share = width // max(1, len(frame.books))
    layout["books"].split_row(*(Layout(book_panel(book, share - 4, books - 2)) for book in frame.books))
    trades, lines = width // 4, height - books - 2
    traded = frame.books
    room = width - wallets_width(frame) - 4
    if len(traded) > 1 and (trades < _ROOMY - 2 or room < trades * len(traded)):
        traded, trades = traded[:1], max(trades, min(_ROOMY, room))
    layout["below"].split_row(
        *(Layout(trades_panel(book, trades - 4, lines), size=trades) for book in traded),
        Layout(wallets_panel(frame, width - trades * len(traded) - 4, lines)),
    )
    return layout


def _small(frame: Frame, width: int, height: int) -> RenderableType:
    """A short version for a window that is too small for the view."""
    lines = [_header(frame, width)]
    for book in frame.books:
        best = f"{book.bids[0][0]} / {book.asks[0][0]}" if book.bids and book.asks else book.reason
        state = ("● ", GOOD if book.valid else BAD)
        lines.append(Text.assemble(state, (f"{book.pair} ", TITLE), best, no_wrap=True, overflow="ellipsis"))
    lines += [_notice(frame), Text(f"a window of {_SMALLEST[0]}x{_SMALLEST[1]} shows more; q quits", DIM, no_wrap=True)]
    return Group(*lines[:height])


def save_picture(frame: Frame, file: Path) -> None:
    """Write the view as an SVG.

    Raises:
        OSError: the file cannot be written.
    """
    width, height = _PICTURE_SIZE
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(screen(frame, width, height), height=height)
    svg = console.export_svg(title="tickbridge demo")
    # Without web fonts the picture loads nothing from the network; the viewer uses a local monospaced font.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    file.write_text(svg, encoding="utf-8")


def _header(frame: Frame, width: int) -> Text:
    left = Text.assemble((" tickbridge ", "bold #10141c on #7aa7ff"), no_wrap=True)
    several = len(frame.venues) > 1
    ended = [process for process in frame.processes if process.ended]
    for venue in frame.venues:
        kind = "" if several and venue.kind == SIMULATED else f"{venue.kind} "
        left.append(f"  {kind}{venue.exchange}", "bold")
        if venue.flowing or not ended:
            words = venue.state if several else f"connector {venue.state}"
            left.append(f" ● {words}" if several else f"  ● {words}", _STATE_STYLES.get(venue.state, BAD))
    for process in ended:
        left.append(f"  ● {process.name} {process.ended}", BAD)
    right = Text(clock(frame.elapsed) + (f" / {clock(frame.duration)}" if frame.duration else "") + " ", DIM)
    return two_sides(left, right, width)


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
            two_sides(path, history, inner), two_sides(Text("p50/p99  ", DIM) + reader + redis, counts, inner)
        )
    else:
        short = Text.assemble(
            (f"{received:,.0f}/s ", "bold"), ("in ", DIM), (f"{read:,.0f}/s ", "bold"), ("read  ", DIM)
        )
        body = two_sides(short + reader, counts, inner)
    title = Text.assemble(("messages ", TITLE), (f"{frame.totals['received']:,} received", DIM))
    return Panel(body, title=title, title_align="left", border_style=FRAME, box=box.ROUNDED)


def _lag(lag: Lag) -> list[tuple[str, str]]:
    if lag.half is None or lag.most is None:
        return [("unknown", DIM)]
    return [(f"{lag.half:.2f}", "bold"), ("/", DIM), (f"{lag.most:.2f}", "bold"), (" ms", DIM)]


def _footer(frame: Frame, width: int) -> RenderableType:
    keys = Text.assemble(("?", "bold"), (" help  ", DIM), ("q", "bold"), (" quit ", DIM), no_wrap=True)
    if frame.pairs > len(frame.books):
        keys = Text.assemble(("tab", "bold"), (" next pair  ", DIM), keys)
    pids = _pids(frame, width - keys.cell_len - 1)
    where = Text(f"{frame.config} ", DIM)
    return Group(two_sides(_notice(frame), where, width), two_sides(pids, keys, width))


def _notice(frame: Frame) -> Text:
    """The newest notice; before the first, where a browser shows the same."""
    if not frame.notices:
        return Text.assemble((" in a browser: ", DIM), frame.page, no_wrap=True, overflow="ellipsis")
    at, words = frame.notices[-1]
    style = WARN if frame.elapsed - at < _NEWS else DIM
    return Text.assemble((f" {clock(at)} ", DIM), (words, style), no_wrap=True, overflow="ellipsis")


def _pids(frame: Frame, width: int) -> Text:
    """The pids of as many processes as fit, the connector first: it is the one to try to kill."""
    text = Text(" pid", DIM, no_wrap=True)
    for process in sorted(frame.processes, key=lambda process: not process.name.startswith("connector")):
        more = Text.assemble((f"  {process.name} ", DIM), (str(process.pid), BAD if process.ended else "default"))
        if text.cell_len + more.cell_len <= width:
            text.append_text(more)
    return text
