"""Statistics of which an exchange sends the whole, and then only what changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bridge.model import Channel

__all__ = ["SparseTickers"]


class SparseTickers:
    """The merged statistics of many topics; a missing field is unchanged, an empty one unknown.

    ``fields`` are those that each channel is made of, for topics that feed several.
    """

    def __init__(self, fields: Mapping[Channel, Sequence[str]]) -> None:
        self._fields = fields
        self._known: dict[str, dict[str, str]] = {}
        self._said: dict[tuple[str, Channel], tuple[str, ...] | None] = {}
        self._nothing = {channel: ("",) * len(names) for channel, names in fields.items()}

    def fields_of(self, channels: Collection[Channel]) -> tuple[str, ...]:
        """The fields that these channels are made of."""
        return tuple(name for channel in self._fields if channel in channels for name in self._fields[channel])

    def whole(self, topic: str, given: Mapping[str, str]) -> None:
        """Take a snapshot: what it doesn't have is unknown."""
        self._known[topic] = dict(given)

    def change(self, topic: str, given: Mapping[str, str]) -> bool:
        """Take what has changed; whether that is of any use: without a snapshot before it, it isn't."""
        known = self._known.get(topic)
        if known is not None:
            known.update(given)
        return known is not None

    def news(self, topic: str, channel: Channel) -> tuple[str, ...] | None:
        """The values of the channel's fields, in their order.

        ``None`` where they are those of the last time, or where none was ever known.
        """
        known = self._known[topic]
        values = tuple([known.get(name, "") for name in self._fields[channel]])
        if values == self._said.get((topic, channel), self._nothing[channel]):
            return None
        self._said[topic, channel] = values
        return values

    def forget(self, topic: str) -> None:
        """Something was lost: of no use until the next snapshot, which is news whatever it says."""
        self._known.pop(topic, None)
        for channel in self._fields:
            if (topic, channel) in self._said:
                self._said[topic, channel] = None
