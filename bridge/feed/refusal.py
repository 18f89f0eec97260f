"""Answers to the WebSocket handshake that open none: status, headers and the beginning of the text, whatever they are.

Both libraries know HTTP/1.1, the statuses of the standards, and bodies of a limited size; what answers in an exchange's
place (load balancers, content delivery networks, maintenance pages) keeps to none of it.
"""

from __future__ import annotations

import re

from bridge.exchange_errors import HandshakeError
from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait

__all__ = ["BROKEN_OFF", "HeadReader", "not_a_websocket"]

BROKEN_OFF = "the connection was closed before the handshake was done"
_END = b"\r\n\r\n"
_MOST_HEAD = 64 * 1024
_MOST_TEXT = 200
_STATUS = re.compile(rb"HTTP/[0-9.]{1,5} +([1-9][0-9]{2})(?: |$)")


class HeadReader:
    """Reads along while a server answers, up to the end of its headers."""

    def __init__(self) -> None:
        self._data = b""
        self._end = -1

    @property
    def complete(self) -> bool:
        """Whether all headers have come."""
        return self._end >= 0

    @property
    def endless(self) -> bool:
        """Whether the headers are too many to be an answer."""
        return not self.complete and len(self._data) > _MOST_HEAD

    @property
    def refused(self) -> bool:
        """Whether there is an HTTP answer, and it is not the status 101."""
        return self.complete and self._status() not in (0, 101)

    def feed(self, data: bytes) -> int:
        """Take in what has come; returns how many bytes of it belong to the headers.

        What follows the headers is only looked at in the same piece.
        """
        if self.complete or self.endless:
            return 0
        before = len(self._data)
        self._data += data
        self._end = self._data.find(_END)
        return len(data) if self._end < 0 else self._end + len(_END) - before

    def refusal(self, exchange: str) -> HandshakeError:
        """The error for this answer, of the right kind."""
        lines = self._data[: self._end].split(b"\r\n")[1:]
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if colon:
                headers.setdefault(name.strip().lower().decode("latin-1"), value.strip().decode("latin-1"))
        body = self._data[self._end + len(_END) :][: 4 * _MOST_TEXT].decode(errors="replace")
        text = " ".join(body.split())[:_MOST_TEXT]
        if not text and "location" in headers:
            text = f"sent elsewhere, to {headers['location'][:_MOST_TEXT]}; set url to the new address"
        wait = seconds_to_wait(headers.get("retry-after", ""), headers.get("date", ""))
        return HandshakeError(exchange, self._status(), text or "no reason given", wait)

    def broken_off(self) -> str:
        """What went wrong where the headers have not come to an end; empty where nothing has come."""
        if self.endless:
            return "an answer without end"
        return BROKEN_OFF if self._data and not self.complete else ""

    def _status(self) -> int:
        match = _STATUS.match(self._data.split(b"\r\n", 1)[0])
        return int(match[1]) if match else 0


def not_a_websocket(exchange: str, reason: str) -> HandshakeError:
    """The error for an answer that is no WebSocket's, though it is no refusal."""
    return HandshakeError(exchange, 0, f"the answer is not a WebSocket's: {' '.join(reason.split())[:_MOST_TEXT]}")
