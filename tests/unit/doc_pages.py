"""The pages of the documentation, taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

__all__ = [
    "CLI",
    "DOCS",
    "EXCHANGES",
    "OPERATIONS",
    "PAGES",
    "README",
    "ROOT",
    "SOURCES",
    "STREAMS",
    "blocks",
    "rows",
    "text",
    "ticked",
]

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
STREAMS = DOCS / "reference" / "streams.md"
OPERATIONS, EXCHANGES, CLI = (
    DOCS / "how-to" / f"{name}.md" for name in ("operate", "add-an-exchange", "read-with-redis-cli")
)
PAGES = [README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
SOURCES = [path for room in ("bridge", "consumers") for path in sorted((ROOT / room).rglob("*.py"))]


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text(page), re.DOTALL | re.MULTILINE)


def rows(page: Path, heading: str) -> Iterator[list[str]]:
    """The cells of the tables between a heading and the next, without the tables' heads."""
    part = text(page).split(heading + "\n", 1)[1]
    lines = [line.strip() for line in re.split(r"^#", part, maxsplit=1, flags=re.MULTILINE)[0].splitlines()]
    for line, following in pairwise([*lines, ""]):
        if line.startswith("| `") and not following.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def ticked(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)
