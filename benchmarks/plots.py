"""The plots of ``docs/explanation/performance.md``: SVG files, the same bytes for the same figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["PLOTS", "draw"]

_COLOURS = (
    "#1b6ca8",
    "#e07b39",
    "#6a994e",
    "#8e5aa8",
    "#c9a227",
    "#5f7a8a",
    "#b5495b",
    "#3aa6a0",
    "#7d6b5d",
    "#a3b18a",
)
_LIGHT = "#b9c4cc"
_STYLE = {
    "axes.grid": True,
    "axes.prop_cycle": None,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.alpha": 0.3,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",  # text stays text: small files
    "svg.hashsalt": "tickbridge",
}


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Write every plot that there are results for; returns the files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    wanted = {name: plot for name, (parts, plot) in PLOTS.items() if all(results.get(part) for part in parts)}
    if not wanted:
        return []
    import matplotlib as mpl  # noqa: PLC0415 - only who draws needs it
    from cycler import cycler  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=_COLOURS)}):
        for name, plot in wanted.items():
            figure = Figure(figsize=(7.2, 3.4), layout="constrained")
            plot(figure, results)
            path = folder / f"{name}.svg"
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
            path.write_text(_short(path.read_text()))
            written.append(path)
    return written


def _short(svg: str) -> str:
    """The same picture in less text: a line for each path, and no digits that nobody sees."""
    joined = re.sub(r"\n(?=[MLCQz][ \n])", " ", svg)
    rounded = re.sub(r"\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", joined)
    return "\n".join(line.rstrip() for line in rounded.splitlines()) + "\n"


def _peers(figure: Any, results: dict[str, Any]) -> None:
    loads = [name for name in results["peers"] if name != "skipped"]
    for axes, load in zip(figure.subplots(1, len(loads)), loads, strict=True):
        rows = results["peers"][load]["rows"]
        costs = [row["CPU µs/message"] for row in rows.values()]
        colours = [_COLOURS[0] if name.startswith("Tickbridge") else _LIGHT for name in rows]
        bars = axes.barh([name.replace(", ", "\n") for name in rows], costs, color=colours)
        axes.bar_label(bars, [f"{cost:.1f}" for cost in costs], padding=3)
        axes.margins(x=0.18)
        axes.invert_yaxis()
        axes.set(title=load, xlabel="CPU µs per message")


def _stages(figure: Any, results: dict[str, Any]) -> None:
    axes = figure.subplots()
    rows = results["stages"]
    left = [0.0] * len(rows)
    stages = [name for name in next(iter(rows.values())) if name != "in all"]
    for place, stage in enumerate(stages):
        widths = [row[stage] for row in rows.values()]
        if max(widths) < 0.05:
            continue
        colour = _COLOURS[place % len(_COLOURS)] if place < len(_COLOURS) else _LIGHT
        axes.barh([name.replace(", ", "\n") for name in rows], widths, left=left, label=stage, color=colour)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="CPU µs per message")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _kinds(figure: Any, results: dict[str, Any]) -> None:
    axes = figure.subplots()
    rows = {name: row for name, row in results["kinds"].items() if not name.startswith("snapshot")}  # too long a bar
    topic = [row["topic"] for row in rows.values()]
    axes.barh(list(rows), topic, label="checked in its topic")
    axes.barh(list(rows), [row["published"] for row in rows.values()], left=topic, label="published")
    axes.invert_yaxis()
    axes.set(xlabel="CPU µs per event")
    axes.legend(frameon=False)


def _latency(figure: Any, results: dict[str, Any]) -> None:
    for axes, (what, rows) in zip(figure.subplots(1, 2, sharey=True), results["latency"].items(), strict=True):
        setups = list(dict.fromkeys(name.partition("/s, ")[2] for name in rows))
        for colour, setup in zip(_COLOURS, setups, strict=False):
            mine = {
                int(name.partition("/s, ")[0].replace(",", "")): row
                for name, row in rows.items()
                if name.endswith(f"/s, {setup}")
            }
            for share, style in (("p50", "-"), ("p99", "--")):
                values = [row[share] for row in mine.values()]
                axes.plot(list(mine), values, style, color=colour, marker="o", markersize=3, label=f"{setup}, {share}")
        axes.set(title=what, xlabel="messages a second", xscale="log", yscale="log")
    figure.axes[0].set_ylabel("ms")
    figure.axes[1].legend(frameon=False)


def _pairs(figure: Any, results: dict[str, Any]) -> None:
    rows = results["pairs"]
    counts = [int(name.split()[0]) for name in rows]
    left, right = figure.subplots(1, 2)
    left.plot(counts, [row["CPU µs/message"] for row in rows.values()], marker="o", markersize=3)
    left.set(xlabel="pairs", ylabel="CPU µs per message", ylim=(0, None))
    right.plot(counts, [row["resident MiB"] for row in rows.values()], marker="o", markersize=3, color=_COLOURS[1])
    right.set(xlabel="pairs", ylabel="resident memory, MiB", ylim=(0, None))


def _backlog(figure: Any, results: dict[str, Any]) -> None:
    axes = figure.subplots()
    rows = results["backlog"]["rows"]
    budgeted = [row["budgeted MiB"] for row in rows]
    axes.plot(budgeted, [row["resident MiB"] for row in rows], marker="o", markersize=3, label="measured")
    ideal = [rows[0]["resident MiB"] + each for each in budgeted]
    axes.plot(budgeted, ideal, "--", color=_LIGHT, label="at the start, plus what the budget counts")
    axes.set(xlabel="what waits, MiB as the budget counts it", ylabel="resident memory, MiB", ylim=(0, None))
    axes.legend(frameon=False)


PLOTS: dict[str, tuple[tuple[str, ...], Callable[[Any, dict[str, Any]], None]]] = {
    "performance-peers": (("peers",), _peers),
    "performance-stages": (("stages",), _stages),
    "performance-kinds": (("kinds",), _kinds),
    "performance-latency": (("latency",), _latency),
    "performance-pairs": (("pairs",), _pairs),
    "performance-backlog": (("backlog",), _backlog),
}
"""File → the results that it needs, and what draws it."""
