"""Exchanges of which the demo has a recording: it plays real traffic, where the others are simulated."""

from __future__ import annotations

from pathlib import Path

from bridge.recordings.recording import HeaderRow, read_recording

__all__ = ["RECORDED", "recorded_pairs"]

_SUFFIX = ".jsonl.zst"
RECORDED = {
    path.name.removesuffix(_SUFFIX): path for path in sorted((Path(__file__).parent / "recordings").glob(f"*{_SUFFIX}"))
}
"""Exchange → its recording."""


def recorded_pairs(exchange: str) -> tuple[str, ...]:
    """The pairs in the recording of this exchange."""
    header = next(read_recording(RECORDED[exchange]))
    assert isinstance(header, HeaderRow)
    assert header.config is not None
    return tuple(header.config[exchange]["pairs"])
