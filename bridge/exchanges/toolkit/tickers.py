"""Statistics of which an exchange sends the whole, and then only what changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["SparseTickers"]


class SparseTickers:
    """The merged statistics of many topics, each with the same ``fields``; a missing one is unchanged, an empty one unknown."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._known: dict[str, dict[str, str]] = {}
        self._said: dict[str, tuple[str, ...]] = {}

    def whole(self, topic: str, given: Mapping[str, str]) -> None:
        """Take a snapshot: what it doesn't have is unknown."""
        self._known[topic] = {**dict.fromkeys(self._fields, ""), **given}

    def change(self, topic: str, given: Mapping[str, str]) -> bool:
        """Take what has changed; whether that is of any use: without a snapshot before it, it isn't."""
        known = self._known.get(topic)
        if known is not None:
            known.update(given)
        return known is not None

    def news(self, topic: str) -> tuple[str, ...] | None:
        """The values of the fields, in their order; ``None`` where they are those of the last time."""
        values = tuple(self._known[topic].values())
        if self._said.get(topic) == values:
            return None
        self._said[topic] = values
        return values

    def forget(self, topic: str) -> None:
        """Something was lost: of no use until the next snapshot, which is news whatever it says."""
        self._known.pop(topic, None)
        self._said.pop(topic, None)
