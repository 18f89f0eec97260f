"""Draws a frame: header, the page, footer. All pages fit into 80x24."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.text import Text

from bridge.printable import printable
from bridge.top.frame import TopFrame
from bridge.top.help import help_panel
from bridge.top.pages import account_page, pair_page
from bridge.top.state import Page
from bridge.top.tables import connector_lines, happening_lines, panel, stream_lines
from bridge.view.style import BAD, DIM, GOOD, WARN, two_sides

__all__ = ["draw", "room_of"]

_SMALLEST = (40, 8)
_MOST_CONNECTORS = 4
_KEYS = {
    Page.STREAMS: (
        ("↵", "open"),
        ("/", "filter"),
        ("n", "not live"),
        ("<>", "sort"),
        ("l", "log"),
        ("c", "connectors"),
    ),
    Page.CONNECTORS: (("Esc", "streams"), ("l", "log")),
    Page.LOG: (("Esc", "streams"), ("/", "filter")),
    Page.PAIR: (("Esc", "streams"),),
    Page.ACCOUNT: (("Esc", "streams"),),
}


def room_of(page: Page, height: int, connectors: int) -> int:
    """The rows that a page shows of its list, on a screen of ``height`` rows."""
    # Header, footer, the frame and the heading.
    room = height - 2 - 2 - 1
    if page is Page.STREAMS:
        room -= _connector_rows(height, connectors)
    return max(1, room + (page is Page.LOG))


def _connector_rows(height: int, connectors: int) -> int:
    """The rows of the connectors above the streams, with frame and heading; 0 if there is no room for them."""
    shown = min(connectors, max(1, min(_MOST_CONNECTORS, height // 6)))
    return shown + 3 if connectors and height >= 16 else 0


def draw(frame: TopFrame, width: int, height: int) -> RenderableType:
    """The whole view in ``width`` x ``height`` cells."""
    if width < _SMALLEST[0] or height < _SMALLEST[1]:
        return _small(frame, width, height)
    layout = Layout()
    layout.split_column(
        Layout(_header(frame, width), size=1),
        Layout(help_panel(width) if frame.helping else _page(frame, width, height - 2)),
        Layout(_footer(frame, width), size=1),
    )
    return layout


def _page(frame: TopFrame, width: int, height: int) -> RenderableType:
    inner = width - 4
    match frame.page:
        case Page.CONNECTORS:
            shown = frame.connectors[frame.offset : frame.offset + height - 3]
            return panel(connector_lines(frame, shown, inner), "connectors", f"{len(frame.connectors)}")
        case Page.LOG:
            shown_lines = frame.happenings[frame.offset : frame.offset + height - 2]
            lines = happening_lines(shown_lines, inner) or [Text("nothing has happened yet", DIM)]
            return panel(lines, "log", _about_log(frame))
        case Page.PAIR:
            return pair_page(frame, width, height)
        case Page.ACCOUNT:
            return account_page(frame, width, height)
        case _:
            return _streams(frame, width, height)


def _about_log(frame: TopFrame) -> str:
    if frame.followed < frame.chosen:
        return f"control entries of {frame.followed} of {frame.chosen} streams (/ chooses others), changes of all"
    return f"control entries of {frame.followed} streams, newest first"


def _streams(frame: TopFrame, width: int, height: int) -> RenderableType:
    inner, above = width - 4, _connector_rows(height + 2, len(frame.connectors))
    last = frame.first + len(frame.lines)
    about = f"{frame.first + 1} to {last} of {frame.chosen}" if frame.chosen > len(frame.lines) else f"{frame.chosen}"
    lines = stream_lines(frame, inner) if frame.lines else [Text(_nothing(frame), DIM)]
    streams = panel(lines, "streams", about + _filtered(frame))
    if not above:
        return streams
    shown = frame.connectors[: above - 3]
    more = f", {len(frame.connectors) - len(shown)} more: c" if len(frame.connectors) > len(shown) else ""
    layout = Layout()
    layout.split_column(
        Layout(panel(connector_lines(frame, shown, inner), "connectors", f"{len(frame.connectors)}{more}"), size=above),
        Layout(streams),
    )
    return layout


def _nothing(frame: TopFrame) -> str:
    if frame.total:
        return "no stream passes the filter; Esc clears it"
    return frame.empty


def _filtered(frame: TopFrame) -> str:
    parts = [f"filter {frame.filter!r}"] * bool(frame.filter) + ["not live only"] * frame.not_live
    return "".join(f", {part}" for part in parts)


def _small(frame: TopFrame, width: int, height: int) -> RenderableType:
    """A short version for a window that is too small."""
    lines = [_header(frame, width)]
    lines += [
        Text.assemble((f"{line.row.state} ", GOOD if line.row.live else BAD), " ".join(line.row.name), no_wrap=True)
        for line in frame.lines[: max(0, height - 2)]
    ]
    lines.append(Text(f"{_SMALLEST[0]}x{_SMALLEST[1]} shows more; q quits", DIM, no_wrap=True, overflow="ellipsis"))
    return Group(*lines[:height])


def _header(frame: TopFrame, width: int) -> Text:
    left = Text.assemble((f" {frame.title} ", "bold #10141c on #7aa7ff"), no_wrap=True)
    left.append(f"  {frame.live} of {frame.total} live ", GOOD if frame.live == frame.total else WARN)
    if frame.trouble:
        left.append(f" ● {printable(frame.trouble)}", BAD)
    return two_sides(left, Text(f"{frame.address} ", DIM), width)


def _footer(frame: TopFrame, width: int) -> Text:
    if frame.typing:
        return Text.assemble(
            (" /", "bold"), frame.filter, ("█", "blink"), ("  Enter keeps it, Esc not", DIM), no_wrap=True
        )
    keys = Text(" ", no_wrap=True)
    for sign, words in (*_KEYS[frame.page], ("?", "help"), ("q", "quit")):
        keys.append(sign, "bold").append(f" {words}  ", DIM)
    said = Text(
        f"{printable(frame.notice or next(iter(frame.notes), ''), 200)} ", WARN, no_wrap=True, overflow="ellipsis"
    )
    if frame.news and keys.cell_len + said.cell_len >= width:
        return Text(" ") + said
    return two_sides(keys, said, width)
