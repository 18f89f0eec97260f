"""Draws the tables of streams and connectors, and lists of what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from bridge.overview.rows import ConnectorRow
from bridge.overview.words import age_text, count_text, rate_text, state_style
from bridge.printable import printable
from bridge.top.follow import Happening
from bridge.top.frame import StreamLine, TopFrame
from bridge.view.style import BAD, DIM, FRAME, GOOD, HEAD, TITLE, WARN

__all__ = ["columns", "connector_lines", "happening_lines", "panel", "stream_lines"]

_LONGEST = 120
_NAME = 30
"""Columns that the name of a stream may take in the log, at least: those of sub-accounts are long."""
_SPARE = ("exchange", "received", "waiting", "uptime")
"""Columns of connectors that are left out if the window is too narrow, in this order."""
_ORDERED = {
    "name": "exchange",
    "state": "state",
    "seq": "seq",
    "age": "age",
    "rate": "rate/s",
    "connector": "connector",
}
"""Order → the heading that is marked."""
_EVENTS = {"live": GOOD, "gap": WARN, "stale": WARN, "stop": DIM, "reset": WARN, "trimmed": WARN}

Cell = tuple[str, str]
"""Text and style."""


def panel(lines: Iterable[Text], title: str, about: str = "") -> RenderableType:
    """Lines in a frame with a title."""
    shown = Text.assemble((title, TITLE), (f" {about}" if about else "", DIM))
    return Panel(Group(*lines), title=shown, title_align="left", border_style=FRAME, box=box.ROUNDED, padding=(0, 1))


def stream_lines(frame: TopFrame, width: int) -> list[Text]:
    """The heading and the visible streams."""
    head = [
        (f"{title} {'▲' if frame.reverse else '▼'}" if _ORDERED[frame.sort] == title else title)
        for title in ("exchange", "pair", "channel", "state", "seq", "age", "rate/s", "connector")
    ]
    rows = [_stream_cells(line) for line in frame.lines]
    lines = columns(head, rows, width, right={4, 5, 6}, grow=1)
    for line, text in zip(frame.lines, lines[1:], strict=True):
        if line.row.key == frame.selected:
            text.pad_right(max(0, width - text.cell_len))
            text.stylize("reverse")
    return lines


def _stream_cells(line: StreamLine) -> list[Cell]:
    row, tail = line.row, line.tail
    exchange, subject, channel = row.name
    state = (f"● {row.state}", state_style(row.state))
    if tail is None:
        figures = [("…", DIM)] * 3
    elif tail.trouble:
        state, figures = ("● unreadable", BAD), [("", ""), ("", ""), ("", "")]
    elif not tail.last_id:
        figures = [("empty", DIM), ("", ""), ("", "")]
    else:
        figures = [
            (count_text(tail.seq), ""),
            (age_text(line.age), ""),
            (rate_text(tail.rate), "" if tail.rate else DIM),
        ]
    name = row.writer if tail is None or not tail.trouble else tail.trouble
    return [(exchange, ""), (subject, "bold"), (channel, ""), state, *figures, (name, DIM)]


def connector_lines(frame: TopFrame, rows: Sequence[ConnectorRow], width: int) -> list[Text]:
    """A heading, and a line for each connector."""
    head = ["connector", "exchange", "state", "up", "out/s", "received", "lost", "gaps", "waiting", "p50 ms", "uptime"]
    cells: list[list[Cell]] = []
    for row in rows:
        started = row.number("started")
        seconds = None if started is None else max(0.0, frame.now / 1000 - started / 1e9)
        half = row.number("publish_p50_ms")
        lost, gaps = row.count("lost"), row.count("gaps")
        state = (f"● {row.state}", state_style(row.state))
        line: list[Cell] = [(row.name, "bold"), (row.exchange, ""), state]
        if row.alive:
            line += [
                (f"{row.count('connections_up')}/{row.count('connections')}", ""),
                (rate_text(frame.rates.get(row.name, 0.0)), ""),
                (count_text(row.number("received")), ""),
                (count_text(lost), BAD if lost else DIM),
                (count_text(gaps), WARN if gaps else DIM),
                (count_text(row.number("waiting")), ""),
                ("" if half is None else f"{half:.2f}", ""),
                (age_text(seconds), ""),
            ]
        else:
            line += [("", "")] * (len(head) - len(line))
        cells.append(line)
    for name in _SPARE:
        if _needed(head, cells) <= width:
            break
        place = head.index(name)
        head = [*head[:place], *head[place + 1 :]]
        cells = [[*line[:place], *line[place + 1 :]] for line in cells]
    return columns(head, cells, width, right=set(range(head.index("state") + 1, len(head))), grow=0)


def happening_lines(happenings: Sequence[Happening], width: int, *, named: bool = True) -> list[Text]:
    """What happened, one line each; with the name of the stream, or only its channel."""
    rows: list[list[Cell]] = []
    room = max(_NAME, width // 3)
    for each in happenings:
        where = " ".join(filter(None, (each.exchange, each.subject))) if named else ""
        where = " ".join(filter(None, (_cut(where, room - len(each.channel) - 1), each.channel)))
        rows.append(
            [(_time(each.ms), DIM), (where, "bold"), (each.event, _EVENTS.get(each.event, BAD)), (each.words, "")]
        )
    if not rows:
        return []
    return columns(("", "", "", ""), rows, width, right=set(), grow=3)[1:]


def columns(
    head: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, *, right: set[int], grow: int
) -> list[Text]:
    """Rows under a heading. ``right`` are columns of figures; if all is too wide, column ``grow`` is cut first.

    What still does not fit is cut at the right edge.
    """
    shown = [[(printable(text, _LONGEST), style) for text, style in row] for row in rows]
    widths = [max([cell_len(title), *(cell_len(row[place][0]) for row in shown)]) for place, title in enumerate(head)]
    over = sum(widths) + len(widths) - 1 - width
    if over > 0:
        widths[grow] = max(min(widths[grow], 12), widths[grow] - over)
    lines = []
    for row in ([(title, HEAD) for title in head], *shown):
        line = Text(no_wrap=True, overflow="ellipsis")
        for place, ((text, style), room) in enumerate(zip(row, widths, strict=True)):
            cell = Text(text, style)
            if cell.cell_len > room:
                cell.truncate(room, overflow="ellipsis")
            pad = " " * (room - cell.cell_len)
            line.append(pad if place in right else "").append_text(cell).append("" if place in right else pad)
            line.append(" ")
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


def _needed(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> int:
    """The columns that all of it takes."""
    widths = [max([cell_len(title), *(cell_len(row[place][0]) for row in rows)]) for place, title in enumerate(head)]
    return sum(widths) + len(widths) - 1


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(0, room - 1)]}…"


def _time(ms: int) -> str:
    """In this machine's time zone; with the day, unless it is today."""
    if not ms:
        return ""
    try:
        at = datetime.fromtimestamp(ms / 1000, UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # the ID is not a time
        return str(ms)
    today = at.date() == datetime.now(UTC).astimezone().date()
    return f"{at:%H:%M:%S}" if today else f"{at:%m-%d %H:%M:%S}"
