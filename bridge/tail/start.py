"""Converts ``--from`` to an entry ID."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

from bridge.config.units import parse_duration

__all__ = ["NOW", "START", "parse_start"]

NOW, START = "now", "start"

_LARGEST = 2**64 - 1
_ID = re.compile(r"([0-9]+)(?:-([0-9]+))?", re.ASCII)
_AGO = re.compile(r"[0-9.]+(?:ms|[smhd])(?:[0-9.]+(?:ms|[smhd]))*", re.ASCII)
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?", re.ASCII)
_HELP = (
    "write now, start, how long ago (5m, 1h30m), a time of day (10:30), a date and time (2026-11-28T10:30, with Z or "
    "+01:00 for a time zone other than this machine's), or an entry ID (1786309548030-7)"
)


def parse_start(text: str, now: datetime | None = None) -> str:
    """``NOW``, ``START``, or the entry ID after which to read.

    ``now`` has a time zone, which applies to dates and times without one (default: this machine's time and zone). A time
    of day is within the last 24 hours.

    Raises:
        ValueError: it is none of these; the message lists the valid forms.
    """
    text = text.strip()
    if text in (NOW, START):
        return text
    if match := _ID.fullmatch(text):
        if any(int(part) > _LARGEST for part in match.groups("0")):
            raise ValueError(f"{text!r} is too large for an entry ID")
        return text
    now = datetime.now(UTC).astimezone() if now is None else now
    try:
        return _before(_moment(text, now))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a position to start from: {_HELP}") from None


def _moment(text: str, now: datetime) -> datetime:
    if _AGO.fullmatch(text):
        return now - timedelta(seconds=parse_duration(text))
    if _CLOCK.fullmatch(text):
        clock = time.fromisoformat(f"0{text}" if text[1] == ":" else text)
        moment = _local(datetime.combine(now.date(), clock), now)
        return moment if moment <= now else _local(datetime.combine(now.date() - timedelta(days=1), clock), now)
    return _local(datetime.fromisoformat(text), now)


def _local(moment: datetime, now: datetime) -> datetime:
    """The moment with a time zone: its own, or that of ``now`` (the machine's, with daylight saving of that day)."""
    if moment.tzinfo is not None:
        return moment
    machine = datetime.now(UTC).astimezone().tzinfo
    return moment.astimezone() if now.tzinfo == machine else moment.replace(tzinfo=now.tzinfo)


def _before(moment: datetime) -> str:
    """The largest ID before this moment, so that entries from the moment on are read."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    ms = since // timedelta(milliseconds=1)
    return f"{ms - 1}-{_LARGEST}" if ms > 0 else "0-0"
