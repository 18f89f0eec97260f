"""Suggests the closest known word for an unknown one, for messages about mistakes. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = ["did_you_mean", "nearest"]

_FEW = 12
"""If no known word is close, up to this many are all listed."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The closest known word, ignoring case; ``None`` if none is close."""
    by_folded = {name.casefold(): name for name in known}
    found = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.55)
    return by_folded[found[0]] if found else None


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A hint: the closest known word, or all of them if there are few, or nothing."""
    close = nearest(word, known)
    if close is not None:
        return f"did you mean {close!r}?"
    return f"known: {', '.join(known)}" if 0 < len(known) <= _FEW else ""
