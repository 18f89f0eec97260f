"""Says, once, what a service was asked for and isn't there, what there is instead, and when it comes."""

from __future__ import annotations

import sys
from collections.abc import Collection
from difflib import get_close_matches

from bridge.printable import printable

__all__ = ["Notices"]

_MOST_NAMES = 10
_LONGEST = 128
"""Bytes of a name, or of what is wrong with it."""


class Notices:
    """What ``service`` waits for; messages go to stderr."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._missing: set[str] = set()
        self._problems: dict[str, str] = {}
        self._looked = False

    def report_missing(self, missing: Collection[str], there: Collection[str], hint: str = "") -> None:
        """Compare with what was missing before; ``there`` are the names that could have been meant.

        ``missing`` may hold an empty name: that of anything at all. ``hint`` is what to look at then.
        """
        if not self._looked:
            # Where all are started together, the connectors are just about to come.
            self._looked, missing = True, ()
        for name in sorted(set(missing) - self._missing):
            self._say(_message(name, there, hint))
        for name in sorted(self._missing - set(missing)):
            self._say(f"{_shown(name)} is there now" if name else "there are streams now")
        self._missing = set(missing)

    def report_problem(self, about: str, words: str) -> None:
        """Something is wrong with one of those that are wanted; the same is not said again, until ``forget``."""
        if self._problems.get(about) != words:
            self._problems[about] = words
            self._say(f"{_shown(about)}: {_shown(words)}; tried again")

    def clear_problem(self, about: str) -> None:
        """Nothing is wrong with it any more."""
        if self._problems.pop(about, None) is not None:
            self._say(f"{_shown(about)} is right again")

    def _say(self, words: str) -> None:
        print(f"{self._service}: {words}", file=sys.stderr, flush=True)


def _message(name: str, there: Collection[str], hint: str) -> str:
    if not name:
        return f"there is nothing to read yet, waiting; {hint}"
    words = f"there is no {_shown(name)} yet, waiting for it"
    names = there if ":" in name else {full.partition(":")[2] for full in there}
    nearest = get_close_matches(name, sorted(names), n=2, cutoff=0.6)
    if nearest:
        return f"{words}; did you mean {' or '.join(map(_shown, nearest))}?"
    listed = sorted(there)
    if not listed:
        return f"{words}; {hint}"
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return f"{words}; there is {', '.join(map(_shown, listed[:_MOST_NAMES]))}{more}"


def _shown(text: str) -> str:
    """Text from outside, as it may go to a terminal."""
    return printable(text, _LONGEST)
