"""What grew that should not: memory and open files of the processes, keys and connections of Redis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from bridge.chaos.usage import open_files, rss
from bridge.keys import Keys
from bridge.model import PUBLIC_CHANNELS, Channel

__all__ = ["Usage", "leaked_keys"]

_MORE_FILES = 64
"""Open files that a process may have more than one of its kind has once it is ready: connections that are replaced, clients of a replica."""
_MORE_MEMORY = 96 * 1024
"""KiB that it may take more: windows of recent events, records of what was acknowledged."""


class Usage(Struct):
    """Processes of a kind: what they had when they were first ready, and at the end."""

    first: dict[str, tuple[int, int]] = field(default_factory=dict)
    last: dict[str, tuple[int, int]] = field(default_factory=dict)

    def measure(self, pids: Mapping[str, int]) -> None:
        """Measure processes, by name."""
        for name, pid in pids.items():
            try:
                self.last[name] = (rss(pid), open_files(pid))
            except (OSError, StopIteration):  # it has just ended
                continue
            self.first.setdefault(name, self.last[name])

    def leaks(self) -> list[str]:
        """What grew too much, in words."""
        found = []
        for name, (memory, files) in self.last.items():
            before, open_before = self.first[name]
            if memory - before > _MORE_MEMORY:
                found.append(f"{name} takes {memory // 1024} MiB, at the start {before // 1024} MiB")
            if files - open_before > _MORE_FILES:
                found.append(f"{name} has {files} open files, at the start {open_before}")
        return found


def leaked_keys(
    found: Iterable[str], keys: Keys, exchanges: Mapping[str, Iterable[str]], accounts: Mapping[str, Iterable[str]]
) -> list[str]:
    """The keys that should not be there once all connectors and consumers have ended.

    ``exchanges`` are the pairs, ``accounts`` the subjects of accounts, by exchange; connectors are named after exchanges.
    What processes share of an address' limits expires by itself.
    """
    limits = keys.limits_used("").partition("{")[0]
    known = {keys.catalog(), keys.accounts_catalog()}
    for exchange, pairs in exchanges.items():
        known |= {keys.fence(exchange), keys.rejects(exchange)}
        for pair in pairs:
            known |= {keys.snapshot(exchange, pair), keys.instrument(exchange, pair)}
            known |= {keys.stream(exchange, pair, channel) for channel in PUBLIC_CHANNELS if channel != Channel.CANDLES}
        for subject in accounts[exchange]:
            known.add(keys.wallet(exchange, subject))
            known |= {keys.stream(exchange, subject, channel) for channel in Channel if channel not in PUBLIC_CHANNELS}
    return [f"the key {key} should not be there" for key in sorted(set(found) - known) if not key.startswith(limits)]
