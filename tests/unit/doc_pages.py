"""The pages of the documentation, taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

__all__ = [
    "CANDLES",
    "CLI",
    "CONFIGURATION",
    "CONTROL",
    "DOCS",
    "EXCHANGES",
    "EXCHANGE_PAGES",
    "FAULT_TABLE",
    "LOG_EVENTS",
    "METRICS",
    "OTHER_KEYS",
    "PAGES",
    "README",
    "ROOT",
    "RUNBOOK",
    "SIZING",
    "SOURCES",
    "STREAMS",
    "WALKTHROUGH",
    "blocks",
    "rows",
    "tables",
    "text",
    "ticked",
]

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
STREAMS, CONTROL, OTHER_KEYS, EXCHANGES, CONFIGURATION, METRICS, LOG_EVENTS, SIZING = (
    DOCS / "reference" / f"{name}.md"
    for name in (
        "streams",
        "control-entries",
        "other-keys",
        "exchanges",
        "configuration",
        "metrics",
        "log-events",
        "sizing",
    )
)
CANDLES = DOCS / "reference" / "candles.md"
EXCHANGE_PAGES = DOCS / "reference" / "exchanges"
CLI, FAULT_TABLE, RUNBOOK = (
    DOCS / "how-to" / f"{name}.md" for name in ("read-with-redis-cli", "simulate-an-exchange", "runbook")
)
WALKTHROUGH = DOCS / "explanation" / "exchange-walkthrough.md"
PAGES = [
    README,
    *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")),
    ROOT / "helm" / "tickbridge" / "README.md",
    ROOT / "conformance" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]
SOURCES = [path for room in ("bridge", "consumers") for path in sorted((ROOT / room).rglob("*.py"))]


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text(page), re.DOTALL | re.MULTILINE)


def rows(page: Path, heading: str) -> Iterator[list[str]]:
    """The cells of the tables between a heading and the next, without the tables' heads."""
    part = text(page).split(f"\n{heading}\n", 1)[1]
    yield from _cells(re.split(r"^#", part, maxsplit=1, flags=re.MULTILINE)[0])


def tables(page: Path) -> Iterator[list[str]]:
    """The cells of all tables of a page, without the tables' heads."""
    yield from _cells(text(page))


def _cells(part: str) -> Iterator[list[str]]:
    lines = [line.strip() for line in part.splitlines()]
    for line, following in pairwise([*lines, ""]):
        if line.startswith("| `") and not following.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def ticked(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)
