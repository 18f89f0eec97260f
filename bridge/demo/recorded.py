"""Exchanges that the demo plays from a recording, where others are simulated.

Some recordings are of real traffic. Of other exchanges there is none to show; theirs are made from the frames that they
document (`HeaderRow.made`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from bridge.recordings.recording import HeaderRow, read_recording

__all__ = ["RECORDED", "SIMULATED", "kind_of", "recorded_pairs", "replay_speed", "source_of", "sources"]

_SUFFIX = ".jsonl.zst"
RECORDED = dict(
    sorted(
        (path.name.removesuffix(_SUFFIX), path) for path in (Path(__file__).parent / "recordings").glob(f"*{_SUFFIX}")
    )
)
"""Exchange → its recording."""
SIMULATED = "simulated"
_REAL_SPEED = 0.2
"""Recordings of real traffic are short: some ten seconds of busy markets."""


def recorded_pairs(exchange: str) -> tuple[str, ...]:
    """The pairs in the recording of this exchange."""
    header = _header(exchange)
    assert header.config is not None
    return tuple(header.config[exchange]["pairs"])


def kind_of(exchange: str) -> str:
    """``simulated``, ``recorded`` (real traffic) or ``made-up``."""
    if exchange not in RECORDED:
        return SIMULATED
    return "made-up" if _header(exchange).made else "recorded"


def source_of(exchange: str) -> str:
    """Where the frames of its recording are from, in words."""
    header = _header(exchange)
    if header.made:
        return "made-up market in the frames of its documentation, not real traffic"
    return f"real traffic of {datetime.fromtimestamp(header.recorded or 0, UTC):%B %Y}"


def sources(exchanges: Iterable[str]) -> dict[str, list[str]]:
    """`source_of` those that are played from a recording → the exchanges."""
    found: dict[str, list[str]] = {}
    for exchange in exchanges:
        if exchange in RECORDED:
            found.setdefault(source_of(exchange), []).append(exchange)
    return found


def replay_speed(exchange: str) -> float:
    """How fast its recording is played, relative to the recorded times."""
    return 1.0 if _header(exchange).made else _REAL_SPEED


@cache
def _header(exchange: str) -> HeaderRow:
    header = next(read_recording(RECORDED[exchange]))
    assert isinstance(header, HeaderRow)
    return header
