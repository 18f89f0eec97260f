"""The report of a run: as a table for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from bridge.chaos.audit import Findings
from bridge.chaos.checks import LOSSES
from bridge.chaos.leaks import Usage

__all__ = ["Report", "Struck"]

_SHOWN = 20


class Struck(Struct):
    """How often a kind of fault struck, and how often there was nothing that it could strike."""

    done: int = 0
    missed: int = 0


class Report(Struct):
    """All that is known at the end. ``command`` replays the same plan; ``left_out``: kinds that are not possible here."""

    command: str
    seed: int
    seconds: float
    struck: dict[str, Struck]
    left_out: dict[str, str]
    findings: Findings = field(default_factory=Findings)
    usage: Usage = field(default_factory=Usage)
    differences: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    directory: str = ""
    interrupted: bool = False

    @property
    def wrong(self) -> list[str]:
        """Everything that is wrong, in words."""
        return [*self.differences, *self.findings.wrong, *self.leaks, *self.ends]

    @property
    def faults(self) -> int:
        """How many faults struck."""
        return sum(each.done for each in self.struck.values())

    def as_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "ok": not self.wrong,
            "command": self.command,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
            "faults": {name: {"struck": each.done, "missed": each.missed} for name, each in self.struck.items()},
            "left_out": self.left_out,
            "entries": {key: dict(sorted(counts.items())) for key, counts in sorted(self.findings.counts.items())},
            "processes": {
                name: {
                    "rss_kib": {"first": self.usage.first[name][0], "last": last[0]},
                    "open_files": {"first": self.usage.first[name][1], "last": last[1]},
                }
                for name, last in self.usage.last.items()
            },
            "differences": self.differences,
            "violations": self.findings.wrong,
            "leaks": self.leaks,
            "ends": self.ends,
            "directory": self.directory,
        }

    def lines(self) -> Iterator[str]:
        """The table."""
        total = self.findings.total
        yield f"{self.faults} faults in {self.seconds:.0f} s, seed {self.seed}" + ", interrupted" * self.interrupted
        yield ""
        yield from _table(
            ("fault", "struck", "missed"),
            [(name, str(each.done), str(each.missed or "")) for name, each in self.struck.items()],
        )
        for name, why in self.left_out.items():
            yield f"  {name}: left out, {why}"
        yield ""
        yield from _table(("channel", "streams", "entries", "declared", "missing"), self._channels())
        yield ""
        yield from _table(
            ("process", "MiB", "at start", "open files", "at start"),
            [
                (
                    name,
                    f"{now[0] // 1024}",
                    f"{self.usage.first[name][0] // 1024}",
                    str(now[1]),
                    str(self.usage.first[name][1]),
                )
                for name, now in self.usage.last.items()
            ],
        )
        yield ""
        yield from _table(
            ("audit", "found"),
            [
                ("events that the streams declare as missing", f"{total('declared missing')}"),
                ("events that nobody could know were missing", f"{total('unnoticed')}"),
                ("violations in streams", f"{len(self.findings.wrong)}"),
                ("differences at the end", f"{len(self.differences)}"),
                ("leaks", f"{len(self.leaks)}"),
                ("processes that ended badly", f"{len(self.ends)}"),
            ],
        )
        for words in self.wrong[:_SHOWN]:
            yield f"WRONG: {words}"
        if len(self.wrong) > _SHOWN:
            yield f"… and {len(self.wrong) - _SHOWN} more; --json lists all"
        if self.wrong:
            yield f"logs, journals and the entries of all streams are in {self.directory}"
        yield f"the same plan again: {self.command}"

    def _channels(self) -> list[tuple[str, ...]]:
        by_channel: dict[str, list[Mapping[str, int]]] = {}
        for key, counts in self.findings.counts.items():
            by_channel.setdefault(key.rpartition(":")[2], []).append(counts)
        rows: list[tuple[str, ...]] = []
        for channel, all_counts in sorted(by_channel.items()):
            entries = sum(count for counts in all_counts for name, count in counts.items() if name not in _NOT_ENTRIES)
            declared = sum(count for counts in all_counts for name, count in counts.items() if name in LOSSES)
            missing = sum(counts.get("missing", 0) for counts in all_counts)
            rows.append((channel, str(len(all_counts)), f"{entries:,}", str(declared), str(missing)))
        return rows


_NOT_ENTRIES = frozenset({"declared missing", "unnoticed", "missing", "reset"})


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  " + "  ".join(cells)
