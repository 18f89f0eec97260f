"""Figures and states in few characters, for tables."""

from __future__ import annotations

import re

from bridge.overview.rows import ABANDONED, DEAD, LIVE, STARTING, UNKNOWN
from bridge.view.style import BAD, DIM, GOOD, WARN

__all__ = ["age_text", "count_text", "is_plain", "rate_text", "state_style"]

_STYLES = {LIVE: GOOD, STARTING: WARN, "degraded": WARN, "stale": WARN, "stop": DIM, "stopping": DIM, UNKNOWN: WARN}
_STYLES |= {DEAD: BAD, ABANDONED: BAD, "down": BAD}
_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0))
_SOON = 9.95
_PLAIN = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?", re.ASCII)
_MILLION = 1_000_000


def state_style(state: str) -> str:
    """The colour of a state of a stream or a connector."""
    return _STYLES.get(state, BAD)


def age_text(seconds: float | None) -> str:
    """``0.3s``, ``42s``, ``5m``, ``3h``, ``12d``; empty if it is unknown."""
    if seconds is None:
        return ""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.1f}s" if seconds < _SOON else f"{seconds:.0f}s"


def rate_text(rate: float) -> str:
    """Entries per second: ``0``, ``0.3``, ``12.5``, ``1,204``."""
    if not rate:
        return "0"
    return f"{rate:.1f}" if rate < 100 else f"{rate:,.0f}"


def count_text(count: float | None) -> str:
    """A count: ``1,204,331``, from a million on ``12.3M``; empty if it is unknown."""
    if count is None:
        return ""
    return f"{count:,.0f}" if count < 10 * _MILLION else f"{count / _MILLION:,.1f}M"


def is_plain(text: str) -> bool:
    """Whether it is a decimal number of a usual length, or empty (unknown).

    Streams may have entries of other programs: ``1e999999`` would fill the memory when it is formatted.
    """
    return not text or _PLAIN.fullmatch(text) is not None
