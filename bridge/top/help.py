"""The help panel: keys, states and figures."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bridge.overview.words import state_style
from bridge.view.style import DIM, FRAME, HEAD, TITLE

__all__ = ["help_panel"]

_KEYS = (
    ("↑ ↓ j k", "choose a stream; PgUp, PgDn, g and G go further"),
    ("Enter", "open its pair or account; Esc returns"),
    ("/ word …", "only streams with these words; Esc clears it"),
    ("n", "only streams that are not live"),
    ("< > s  r", "sort by another column; reverse"),
    ("l  c", "the log of control entries; all connectors"),
    ("q  Ctrl-Z", "quit; return to the shell, fg comes back"),
)
_STATES = (
    ("live", "subscribed and receiving"),
    ("down", "no connection; stale: silent for too long"),
    ("dead", "the connector has no heartbeat: killed?"),
    ("abandoned", "its connector runs, and writes it no more"),
    ("stop", "the connector has ended on purpose"),
)
_FIGURES = (
    ("seq", "number of the newest entry; age: when it came"),
    ("rate/s", "entries per second, over the last 10 s"),
    ("lost", "events that did not reach Redis (of a connector)"),
    ("gaps", "times that something was missing at the exchange"),
    ("p50 ms", "from the socket to Redis and back, median"),
)


def help_panel(width: int) -> RenderableType:
    """Keys, states and figures, for a screen from 80x24 up."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(10, width - 22))
    for heading, rows in (("keys", _KEYS), ("states", _STATES), ("figures", _FIGURES)):
        table.add_row(Text(heading, HEAD), "")
        for sign, words in rows:
            table.add_row(Text(sign, state_style(sign) if rows is _STATES else "bold"), words)
    title = Text.assemble(("help ", TITLE), ("? or Esc closes it", DIM))
    return Panel(table, title=title, title_align="left", border_style=FRAME, box=box.ROUNDED)
