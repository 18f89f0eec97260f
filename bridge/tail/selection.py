"""Selects streams by key, by pattern, by exchange and pair."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable

from bridge.keys import Keys

__all__ = ["Selection", "glob_of", "text_of"]

_GLOB = frozenset("*?[")
_PART = re.compile(r"\\.|\[\^?(?:\\.|[^\]\\])*\]|.", re.DOTALL)


def text_of(raw: bytes) -> str:
    r"""A key or a value as text; bytes that are not UTF-8 are shown as ``\xff``."""
    return raw.decode("utf-8", "backslashreplace")


def glob_of(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of Redis (``*``, ``?``, ``[a-c]``, ``[^x]``, a backslash before a literal character)."""
    parts = []
    for part in _PART.findall(pattern):
        if part == "*":
            parts.append(".*")
        elif part == "?":
            parts.append(".")
        elif len(part) > 1 and part[0] == "[":
            inner = part[2:-1] if part[1] == "^" else part[1:-1]
            inner = re.sub(r"([\[\]^&~|])", r"\\\1", inner)
            parts.append(f"[{'^' if part[1] == '^' else ''}{inner}]" if inner else "(?!)")
        else:
            parts.append(re.escape(part[-1]))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:  # such as the empty range [z-a]
        return re.compile("(?!)")


class Selection:
    """The selected streams; ``wanted`` are keys and patterns, with or without the namespace.

    ``exchanges`` and ``pairs`` (none: all) limit it to streams of these exchanges (and their rejects), and to market
    data of these pairs.
    """

    def __init__(
        self, keys: Keys, wanted: Iterable[str] = (), exchanges: Collection[str] = (), pairs: Collection[str] = ()
    ) -> None:
        prefix = f"{keys.namespace}:" if keys.namespace else ""
        named = [name if name.startswith(prefix) else prefix + name for name in wanted]
        self.exact = [os.fsencode(name) for name in named if not _GLOB & set(name)]
        self.patterns = [os.fsencode(name) for name in named if _GLOB & set(name)]
        self.exchanges = frozenset(exchanges)
        self.pairs = frozenset(pairs)
        self._keys = keys
        self._globs = [glob_of(text_of(pattern)) for pattern in self.patterns]
        self._rejects = {keys.rejects(exchange) for exchange in self.exchanges}

    @property
    def everything(self) -> bool:
        """Whether no key is given, so that all streams of the catalogs are selected."""
        return not self.exact and not self.patterns

    def admits(self, key: bytes) -> bool:
        """Whether exchange and pair are selected."""
        if not self.exchanges and not self.pairs:
            return True
        name = text_of(key)
        stream = self._keys.parse(name)
        if stream is None:
            return not self.pairs and name in self._rejects
        fits = not self.exchanges or stream.exchange in self.exchanges
        return fits and (not self.pairs or (stream.public and stream.subject in self.pairs))

    def matches(self, key: bytes) -> bool:
        """Whether one of the patterns matches."""
        return any(glob.fullmatch(text_of(key)) for glob in self._globs)
