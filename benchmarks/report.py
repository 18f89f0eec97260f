"""The pages on performance in ``docs/explanation/``: tables between marks made anew, plots beside them, the figures as JSON.

What stands between ``<!-- bench NAME -->`` and ``<!-- /bench -->`` is replaced; the words around it are the authors'.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.plots import draw
from benchmarks.results import markdown, show
from benchmarks.trial import ROOT

__all__ = ["FIGURES", "PAGES", "SECTIONS", "fill", "load", "redraw", "write"]

PAGES = [ROOT / "docs" / "explanation" / name for name in ("performance.md", "performance-of-parts.md")]
FIGURES = ROOT / "docs" / "explanation" / "performance.json"
_IMAGES = ROOT / "docs" / "images"
_SECTION = re.compile(r"(<!-- bench ([\w ]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
_BURST = {
    "lost": "lost",
    "heartbeat s": "heartbeat's age, s",
    "/livez s": "slowest `/livez`, s",
    "peak MiB": "memory, MiB",
    "messages/CPU-s": "messages per CPU-second",
    "messages/s": "messages/s",
    "paused s": "paused, s",
}
_PAIRS = {
    "CPU µs/message": "CPU µs per message",
    "times the first": "times one pair's",
    "Redis CPU µs": "Redis, CPU µs",
    "idle CPU %": "idle, % of a core",
    "resident MiB": "memory, MiB",
}
_PEERS = {
    "CPU µs/message": "CPU µs per message",
    "times Tickbridge's CPU": "times `fast`",
    "messages/s": "messages/s",
    "Redis CPU µs": "Redis, CPU µs",
    "peak MiB": "memory, MiB",
}


def load() -> dict[str, Any]:
    """The figures that the page was last written from; none where there is no such file."""
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    return found


def write(found: dict[str, Any]) -> list[Path]:
    """Write figures, pages and plots; parts that weren't measured stay as they are. Returns the files."""
    before = load()
    merged = {
        "machine": {**before.get("machine", {}), **dict.fromkeys(found["results"], found["machine"])},
        "results": {**before.get("results", {}), **found["results"]},
        "targets": _merge_targets(before.get("targets", []), found["targets"], set(found["results"])),
    }
    FIGURES.write_text(json.dumps(_rounded(merged), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [FIGURES, *redraw()]


def redraw() -> list[Path]:
    """Write pages and plots from the figures as they are; returns the files."""
    found = load()
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), found), encoding="utf-8")
    return [*PAGES, *draw(found["results"], _IMAGES)]


def fill(page: str, found: dict[str, Any]) -> str:
    """The page with every section that there are figures for made anew.

    Raises:
        KeyError: the page has a section that nobody makes.
    """

    def anew(match: re.Match[str]) -> str:
        text = SECTIONS[match[2]](found)
        return f"{match[1]}{text}\n{match[3]}" if text else match[0]

    return _SECTION.sub(anew, page)


def _merge_targets(before: list[dict[str, Any]], new: list[dict[str, Any]], measured: set[str]) -> list[dict[str, Any]]:
    kept = [target for target in before if target["part"] not in measured]
    order = list(SECTIONS)
    return sorted(kept + new, key=lambda target: order.index(target["part"]))


def _rounded(value: Any) -> Any:
    """Five digits: more are noise, and differences that nobody wants to read."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(of) for name, of in value.items()}
    return [_rounded(of) for of in value] if isinstance(value, list) else value


# --- sections ----------------------------------------------------------------------------------------------------------


def _machine(found: dict[str, Any]) -> str:
    """What was measured on what; parts that were measured together in one line."""
    groups: dict[str, list[str]] = {}
    for part, machine in found["machine"].items():
        words = (
            f"{machine['date']}; {machine['machine']}; {machine['python']}; {machine['libraries']}; "
            f"{machine['server']}; {machine['runs']}; load average before: {machine['load before']}"
        )
        groups.setdefault(words, []).append(part)
    return "\n".join(f"- **{', '.join(parts)}**: {words}." for words, parts in groups.items())


def _targets(found: dict[str, Any]) -> str:
    lines = ["| part | target | bound | measured | |", "|---|---|---|---|---|"]
    for target in found["targets"]:
        bound = f"at least {target['at_least']:,}" if "at_least" in target else f"at most {target['at_most']:,}"
        value = "-" if target["value"] is None else show(target["value"])
        reached = "reached" if target["reached"] else "**missed**"
        lines.append(f"| `{target['part']}` | {target['what']} | {bound} | {value} | {reached} |")
    return "\n".join(lines)


def _peers(found: dict[str, Any]) -> str:
    data = found["results"].get("peers", {})
    texts = []
    for name, of in data.items():
        if name == "skipped":
            continue
        texts.append(markdown(of["rows"], _PEERS, name))
        if of["ceiling"]:
            best = max(row["share of the ceiling"] for row in of["rows"].values())
            texts.append(
                f"`redis-benchmark -P 100` gets {of['ceiling']:,.0f} of the same entries a second into Redis; "
                f"the quickest above reaches {100 * best:.0f} % of that."
            )
    if data.get("skipped"):
        texts.append(f"cryptofeed was left out: {data['skipped']}.")
    return "\n\n".join(texts)


def _table(part: str, first: str = "", columns: dict[str, str] | None = None) -> Callable[[dict[str, Any]], str]:
    def section(found: dict[str, Any]) -> str:
        rows = found["results"].get(part)
        return markdown(rows, columns, first) if rows else ""

    return section


def _latency(found: dict[str, Any]) -> str:
    columns = {name: f"{name}, ms" for name in ("p50", "p99")}
    data = found["results"].get("latency", {})
    return "\n\n".join(markdown(rows, columns, what) for what, rows in data.items())


def _backlog(found: dict[str, Any]) -> str:
    rows = found["results"].get("backlog", {}).get("rows", [])
    if not rows:
        return ""
    few = rows[:: max(1, len(rows) // 5)]
    named = {f"{row['budgeted MiB']:.0f}": row for row in [*few, rows[-1]]}
    columns = {"grown MiB": "grown by, MiB", "resident MiB": "resident, MiB"}
    return markdown(named, columns, "waiting, MiB as the budget counts it")


def _publishing(found: dict[str, Any]) -> str:
    data = found["results"].get("publishing", {})
    columns = {
        "events/s": "events/s",
        "CPU µs/event": "CPU µs per event",
        "CPU, times the bridge's": "times the bridge's",
    }
    return "\n\n".join(markdown(rows, columns, what) for what, rows in data.items())


def _fence(found: dict[str, Any]) -> str:
    columns = {
        "server µs/entry": "server, CPU µs per entry",
        "client µs/entry": "client, CPU µs per entry",
        "server, times the plain one's": "server, times the plain one's",
        "client, times the plain one's": "client, times the plain one's",
    }
    data = found["results"].get("fence", {})
    return "\n\n".join(markdown(rows, columns, f"batches of {size}") for size, rows in data.items())


def _rejecting(found: dict[str, Any]) -> str:
    """Of each exchange and size the good frame, the dearest bad one, and what is wrong with that."""
    lines = ["| frames | good, CPU µs | dearest bad, CPU µs | times the good one | what is wrong with it |"]
    lines.append("|---|---|---|---|---|")
    for name, rows in found["results"].get("rejecting", {}).items():
        worst = max(rows, key=lambda kind: float(rows[kind]["CPU µs/frame"]))
        costs = [show(rows[kind]["CPU µs/frame"]) for kind in ("good", worst)]
        lines.append(f"| {name} | {' | '.join(costs)} | {show(rows[worst]['times a good one'])} | {worst} |")
    return "\n".join(lines) if len(lines) > 2 else ""


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "machine": _machine,
    "targets": _targets,
    "burst": _table("burst", "", _BURST),
    "peers": _peers,
    "stages": _table("stages", "CPU µs per message"),
    "kinds": _table("kinds", "CPU µs per event"),
    "pairs": _table("pairs", "", _PAIRS),
    "latency": _latency,
    "backlog": _backlog,
    "memory": _table("memory"),
    "reader": _table("reader"),
    "publishing": _publishing,
    "fence": _fence,
    "rejecting": _rejecting,
}
"""What stands between the page's marks, by name."""
