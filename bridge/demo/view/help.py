"""The help panel: what keys, colours and figures mean."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bridge.view.style import ASK, BAD, BID, BID_DIM, DIM, FRAME, GOOD, HEAD, TITLE, WARN

__all__ = ["help_panel"]

Row = tuple[Text, str]


def help_panel(width: int) -> RenderableType:
    """Keys, colours and figures, for a screen from 80x24 up."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(10, width - 26))
    for heading, rows in (("keys", _keys()), ("colours", _colours()), ("figures", _figures())):
        table.add_row(Text(heading, HEAD), "")
        for sign, words in rows:
            table.add_row(sign, words)
    title = Text.assemble(("help ", TITLE), ("? or Esc closes it", DIM))
    return Panel(table, title=title, title_align="left", border_style=FRAME, box=box.ROUNDED)


def _keys() -> list[Row]:
    return [
        (_key("tab", "→", "↓"), "show the next pair"),
        (_key("shift-tab", "←", "↑"), "show the previous pair"),
        (_key("q"), "quit; the streams are compared with the exchange"),
        (_key("Ctrl-C"), "quit too; pressed twice: at once, without comparing"),
        (_key("Ctrl-Z"), "suspend the view; fg in the shell resumes it"),
    ]


def _colours() -> list[Row]:
    return [
        (Text.assemble(("●", GOOD), " ", ("●", WARN), " ", ("●", BAD)), "in order; with reservations; not valid"),
        (Text.assemble(("bid", BID), " ", ("ask", ASK)), "buy and sell: levels, trades, orders, positions"),
        (
            Text.assemble(("██", f"{BID} on {BID}"), ("██", f"{BID_DIM} on {BID_DIM}")),
            "a level's size; the depth up to it",
        ),
    ]


def _figures() -> list[Row]:
    return [
        (Text("spread, bp"), "best ask minus best bid; in 1/10,000 of the price"),
        (Text("in, read"), "messages per second in; entries per second read"),
        (Text("socket→reader"), "from the socket to a reader: median, 99th percentile"),
        (Text("lost"), "messages that did not reach Redis"),
        (Text("gaps"), "times that the exchange's feed was interrupted"),
        (Text("holes"), "entries missing in a stream: always 0"),
        (Text("available, open"), "what an account can spend; its number of open orders"),
    ]


def _key(*names: str) -> Text:
    return Text("  ".join(names), "bold")
