"""Runs into medians, medians into lines."""

from __future__ import annotations

from statistics import median
from typing import Any

__all__ = ["Target", "markdown", "medians", "show", "table"]

Run = dict[str, float]


class Target:
    """A figure that is to be reached: ``at_least`` or ``at_most``."""

    def __init__(
        self, what: str, value: float | None, *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        self.what = what
        self.value = value
        self.at_least = at_least
        self.at_most = at_most

    @property
    def reached(self) -> bool:
        if self.value is None:
            return False
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        limit = {"at_least": self.at_least} if self.at_least is not None else {"at_most": self.at_most}
        return {"what": self.what, "value": self.value, **limit, "reached": self.reached}

    def __str__(self) -> str:
        bound = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        value = "-" if self.value is None else show(self.value)
        return f"{'reached' if self.reached else 'MISSED '}  {self.what}: {value} ({bound})"


def medians(runs: list[Run]) -> Run:
    """The median of each figure over several runs."""
    return {name: median(run[name] for run in runs) for name in runs[0]}


def show(value: float) -> str:
    """A number with as many digits as it deserves."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(title: str, rows: dict[str, Run]) -> str:
    """Figures as columns, one row per name."""
    columns = list(next(iter(rows.values())))
    cells = [["", *columns], *([name, *(show(row[column]) for column in columns)] for name, row in rows.items())]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns) + 1)]
    lines = [
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def markdown(rows: dict[str, Run], columns: dict[str, str] | None = None, first: str = "") -> str:
    """The same as a table of Markdown; ``columns`` are those that are wanted, with their headings."""
    columns = columns or {name: name for name in next(iter(rows.values()))}
    lines = [[first, *columns.values()], ["---"] * (1 + len(columns))]
    lines += [[name, *(show(row[column]) for column in columns)] for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
