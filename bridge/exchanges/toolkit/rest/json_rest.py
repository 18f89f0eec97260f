"""REST whose answers are JSON objects with one list each, whose pages have cursors, and which is signed call by call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from msgspec import Raw

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Credentials, Flow, HttpResponse
from bridge.exchanges.toolkit.rest.rest import TimedRest
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT, seconds_to_wait
from bridge.exchanges.toolkit.values.fields import Row, decode_rows
from bridge.exchanges.toolkit.values.remains import fields_in, rows_in, text_in

__all__ = ["JsonRest"]


class JsonRest(TimedRest[dict[str, Raw]]):
    """Calls of one account, or of none.

    Errors are HTTP statuses, with ``{"error":…,"message":…}`` or ``{"errors":[{"id":…,"message":…}]}``. A 401 may be our
    clock's fault: the call is signed once more with the time of the answer's ``Date``.

    Args:
        exchange: its name, for errors.
        lists: the names under which answers have their lists.
        account: whose the signed calls are.
    """

    def __init__(self, exchange: str, lists: Sequence[str], account: Credentials | None) -> None:
        super().__init__(late=(401,))
        self._exchange = exchange
        self._lists = lists
        self.account = account

    def listed(self, path: str, query: str, now: int) -> Flow[list[Row]]:
        """All rows of a signed list.

        Raises:
            RestError: as `get`, or there are too many.
        """
        rows, whole = yield from self.pages(path, query, now, self.account)
        if not whole:
            raise RestError(self._exchange, path, 200, "the list has no end")
        return rows

    def one(self, path: str, name: str, now: int) -> Flow[list[Row]]:
        """The one object that a signed call returns under a name.

        Raises:
            RestError: as `get`.
        """
        return decode_rows((yield from self.get(path, "", now, self.account)).get(name, Raw(b"")))

    def _read(self, path: str, response: HttpResponse) -> dict[str, Raw]:
        headers, status, fields = response.headers, response.status, fields_in(response.body)
        date = headers.get("date", "")
        with suppress(ValueError, TypeError, IndexError, OverflowError):
            self.told = int(parsedate_to_datetime(date).timestamp()) * 1000
        if status < 400 and fields:
            return fields
        errors = rows_in(fields.get("errors"))
        fields = fields_in(errors[0]) if errors else fields
        parts = [text_in(fields.get(name)) for name in ("id", "error", "error_details", "message")]
        words = ": ".join(dict.fromkeys(filter(None, parts))) or response.body[:200].decode(errors="replace")
        wait = seconds_to_wait(headers.get("retry-after", ""), date)
        if status == 429:
            wait = seconds_to_wait(headers.get("x-ratelimit-reset", ""), date) or wait or LONG_WAIT
        raise RestError(self._exchange, path, status, words or "no reason given", wait, code=status)

    def _page(self, answer: dict[str, Raw]) -> tuple[list[Row], str]:
        name = next((name for name in self._lists if bytes(answer.get(name, b""))[:1] == b"["), "")
        if not name:
            raise RestError(self._exchange, "", 200, "the answer holds no list")
        pages = fields_in(answer.get("pagination")) or answer
        cursor = text_in(pages.get("next_cursor")) or text_in(pages.get("cursor"))
        more = cursor and bytes(pages.get("has_next", b"true")) != b"false"
        return decode_rows(answer[name]), f"&cursor={quote(cursor, safe='')}" if more else ""
