"""The result of a run, as a table for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from conformance.play import Outcome

__all__ = ["as_json", "lines", "row", "summary"]

_MOST_PROBLEMS = 20
"""Lines of one case; a subject that returns nothing of a long case has many."""


def row(outcome: Outcome, width: int) -> str:
    """One case: ``pass  hole-deleted  Deleted entries are a hole before the next one``."""
    without = f" (without {', '.join(outcome.skipped)})" if outcome.skipped else ""
    return f"{outcome.result:7}  {outcome.case.name:{width}}  {outcome.case.title}{without}"


def lines(outcome: Outcome) -> Iterator[str]:
    """What is wrong with a case that has failed, and why it matters."""
    if outcome.problems:
        yield f"         {outcome.case.about}"
    yield from (f"         {line}" for line in outcome.problems[:_MOST_PROBLEMS])
    if len(outcome.problems) > _MOST_PROBLEMS:
        yield f"         and {len(outcome.problems) - _MOST_PROBLEMS} more"


def summary(client: str, outcomes: Sequence[Outcome]) -> str:
    """``tickbridge 0.1.0: 60 passed, 1 failed, 5 skipped; 7 cases without wallet``."""
    counts = {result: sum(one.result == result for one in outcomes) for result in ("pass", "FAIL", "skipped")}
    words = f"{client}: {counts['pass']} passed, {counts['FAIL']} failed, {counts['skipped']} skipped"
    parts = sorted({part for one in outcomes for part in one.skipped})
    without = [f"{sum(part in one.skipped for one in outcomes)} cases without {part}" for part in parts]
    return "; ".join([words, *without])


def as_json(client: str, outcomes: Sequence[Outcome]) -> str:
    """The whole run as one line of JSON."""
    cases = [
        {
            "case": one.case.name,
            "title": one.case.title,
            "result": one.result.lower(),
            "skipped": one.skipped,
            "problems": one.problems,
        }
        for one in outcomes
    ]
    counts = {
        name: sum(one.result == result for one in outcomes)
        for name, result in (("passed", "pass"), ("failed", "FAIL"), ("skipped", "skipped"))
    }
    return json.dumps({"client": client, **counts, "cases": cases}, ensure_ascii=False)
