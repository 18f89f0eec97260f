"""Messages to the user of a service: which streams are missing or unusable, each reported once."""

from __future__ import annotations

import sys
from collections.abc import Collection
from difflib import get_close_matches

from bridge.printable import printable

__all__ = ["Notices"]

_MAX_NAMES = 10
_MAX_BYTES = 128
"""Limit for a name or an error message from outside."""


class Notices:
    """The messages of one service, printed to stderr."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._missing: set[str] = set()
        self._problems: dict[str, str] = {}
        self._looked = False

    def report_missing(self, missing: Collection[str], there: Collection[str], hint: str = "") -> None:
        """Report what has become missing or available since the last call.

        ``there`` are the names that exist, for suggestions. An empty name in ``missing`` means that there is nothing at
        all to read; ``hint`` then says what to check.
        """
        if not self._looked:
            # If everything was started together, the connectors are about to appear.
            self._looked, missing = True, ()
        for name in sorted(set(missing) - self._missing):
            self._say(_message(name, there, hint))
        for name in sorted(self._missing - set(missing)):
            self._say(f"{_shown(name)} is there now" if name else "there are streams now")
        self._missing = set(missing)

    def report_problem(self, about: str, words: str) -> None:
        """Report a problem with a stream or hash; it is not repeated until ``clear_problem`` is called."""
        if self._problems.get(about) != words:
            self._problems[about] = words
            self._say(f"{_shown(about)}: {_shown(words)}; tried again")

    def clear_problem(self, about: str) -> None:
        """Report that a reported problem is solved."""
        if self._problems.pop(about, None) is not None:
            self._say(f"{_shown(about)} can be used again")

    def problems(self) -> list[str]:
        """The problems that are not solved."""
        return [f"{about}: {words}" for about, words in sorted(self._problems.items())]

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
    more = f" and {len(listed) - _MAX_NAMES} more" if len(listed) > _MAX_NAMES else ""
    return f"{words}; there is {', '.join(map(_shown, listed[:_MAX_NAMES]))}{more}"


def _shown(text: str) -> str:
    """Text from outside, made safe for a terminal."""
    return printable(text, _MAX_BYTES)
