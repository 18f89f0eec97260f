"""Streams and connectors as plain data, and how their state follows from the catalog and the heartbeats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from bridge.keys import StreamKey
from bridge.model import ControlEvent

__all__ = [
    "ABANDONED",
    "DEAD",
    "LIVE",
    "STARTING",
    "UNKNOWN",
    "ConnectorRow",
    "StreamRow",
    "Tail",
    "entry_of",
    "state_of",
]

LIVE = str(ControlEvent.LIVE)
DEAD = "dead"
"""There is no heartbeat: the connector or the service was killed, or its host is gone."""
STARTING = "starting"
"""The connector has begun, and has not opened its streams yet."""
ABANDONED = "abandoned"
"""The connector runs, but its present process does not write this stream."""
UNKNOWN = "unknown"
"""The catalog does not say: its entry is not of Tickbridge, or of another version."""


class Tail(Struct, frozen=True):
    """The end of a stream.

    ``ms`` is when its last entry was received (milliseconds since the epoch); ``rate`` is entries per second over the
    last seconds. ``trouble`` says why it cannot be read: the other fields are empty then.
    """

    last_id: str = ""
    ms: int = 0
    seq: int = 0
    rate: float = 0.0
    trouble: str = ""


class StreamRow(Struct, frozen=True):
    """A stream of the catalog; ``entry`` is what the catalog says, ``state`` follows from that and the heartbeat."""

    key: str
    stream: StreamKey
    state: str
    connector: str
    entry: dict[str, str]

    @property
    def writer(self) -> str:
        """What writes it: the name of its connector, or of the service (``candles``)."""
        return self.connector or self.entry.get("service", "")

    @property
    def ended(self) -> bool:
        """Whether it is the stream of a service that was stopped, which is no fault of any connector."""
        return not self.connector and self.state == ControlEvent.STOP

    @property
    def live(self) -> bool:
        return self.state == LIVE

    @property
    def name(self) -> tuple[str, str, str]:
        """By what streams are ordered: exchange, pair or account, channel."""
        return self.stream.exchange, self.stream.subject, self.stream.suffix


class ConnectorRow(Struct, frozen=True):
    """A connector that the catalog names; ``fields`` is its heartbeat, empty without one, or if it may not be read.

    ``standby`` is what the process shows that stands by for it; empty if there is none.
    """

    name: str
    exchange: str
    fields: dict[str, str]
    readable: bool = True
    standby: dict[str, str] = {}

    @property
    def alive(self) -> bool:
        return bool(self.fields)

    @property
    def state(self) -> str:
        """Its own word for its state, `DEAD`, or `UNKNOWN` if its heartbeat may not be read."""
        if not self.fields:
            return DEAD if self.readable else UNKNOWN
        return self.fields.get("state", UNKNOWN)

    @property
    def standby_state(self) -> str:
        """``ready`` if another process could take over at once, otherwise that one's state; empty without one."""
        state = self.standby.get("state", UNKNOWN) if self.standby else ""
        return "ready" if state == "standby" else state

    def number(self, name: str) -> float | None:
        """A figure of the heartbeat; ``None`` if it is unknown."""
        with suppress(ValueError):
            found = float(self.fields.get(name) or math.nan)
            return found if math.isfinite(found) else None
        return None

    def count(self, name: str) -> int:
        """A count of the heartbeat; 0 if it is unknown."""
        return int(self.number(name) or 0)


def entry_of(text: str) -> dict[str, str]:
    """The catalog's entry of a stream; empty if it is not one."""
    try:
        said: Any = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {str(name): str(value) for name, value in said.items()}


def state_of(entry: Mapping[str, str], heartbeat: Mapping[str, str] | None) -> str:
    """The state of a stream: what the catalog says, unless no process keeps it up to date any more.

    ``heartbeat`` is that of the connector, or of the service that writes the stream; ``None`` if it may not be read:
    then the catalog is believed.
    """
    said = entry.get("state", "")
    if not said or not (entry.get("connector") or entry.get("service")):
        return UNKNOWN
    if said == ControlEvent.STOP or heartbeat is None:
        return said
    if not heartbeat:
        return DEAD
    if entry.get("instance", "") != heartbeat.get("instance", ""):
        return STARTING if heartbeat.get("state") == STARTING else ABANDONED
    return said
