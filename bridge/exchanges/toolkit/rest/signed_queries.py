"""REST of an exchange that takes the time and the signature of a call in its query."""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import quote

from msgspec import structs

from bridge.exchange_errors import RestError
from bridge.exchanges.api import ClockReading, Credentials, Flow, HttpRequest, HttpResponse
from bridge.exchanges.toolkit.rest.rest import asked
from bridge.exchanges.toolkit.rest.signatures import Signer
from bridge.exchanges.toolkit.values.fields import Row, decode_rows, fields_of
from bridge.exchanges.toolkit.values.numbers import MILLISECOND
from bridge.exchanges.toolkit.values.salvage import readable

__all__ = ["SignedQueries"]


class SignedQueries:
    """The calls of one account: ``<query>&recvWindow=…&timestamp=…&signature=…``, with the key in a header.

    Args:
        exchange: its name, for errors.
        account: whose calls they are.
        header: the name of the header with the key.
        window: milliseconds for which a signature counts.
        clock: reads the exchange's clock.
        failure: what is wrong with an answer to this path; ``None`` where nothing is.
        late: the exchange's code for a time that it doesn't take.
    """

    def __init__(
        self,
        exchange: str,
        account: Credentials,
        *,
        header: str,
        window: int,
        clock: Callable[[], Flow[ClockReading]],
        failure: Callable[[str, HttpResponse], RestError | None],
        late: int,
    ) -> None:
        self.account = account
        self.signer = Signer(account)
        self.window = window
        self.clock_offset = 0
        """The exchange's clock less ours (ns); 0 while it is unknown."""
        self._exchange = exchange
        self._header = header
        self._clock = clock
        self._failure = failure
        self._late = late
        self._latest = 0
        """When the newest answer came (ns): a run of calls takes longer than a signature counts."""

    def timestamp(self, now: int) -> int:
        """The exchange's time (ms) of our ``now`` (ns), or of the newest answer where that is later."""
        return (max(now, self._latest) + self.clock_offset) // MILLISECOND

    def read_clock(self, now: int) -> Flow[None]:
        """Find out how far our clock is off."""
        reading = yield from self._clock()
        self.clock_offset = reading.at - max(now, self._latest)

    def rows(
        self,
        path: str,
        query: str,
        now: int,
        *,
        method: str = "GET",
        weight: int = 1,
        field: str = "",
        none: Collection[int] = (),
        signed: bool = True,
        base: str = "",
    ) -> Flow[list[Row]]:
        """The rows of an answer; where our clock is what is wrong with the call, it is signed once more.

        Args:
            path: what is asked.
            query: its query.
            now: the time (ns).
            method: of HTTP.
            weight: of the call.
            field: the field of the answer that holds the rows; empty: they are the answer.
            none: codes for that there are no rows.
            signed: whether the call is signed; it bears the key all the same.
            base: as `HttpRequest.base`.

        Raises:
            RestError: as `asked`.
        """

        def read(response: HttpResponse) -> list[Row]:
            self._latest = response.recv
            body = readable(response.body)
            return decode_rows(fields_of(body)[field] if field else body)

        def ask() -> Flow[list[Row]]:
            request = self._request(method, path, query, now, signed=signed)
            request = structs.replace(request, weight=weight, base=base)
            return (yield from asked(self._exchange, request, self._failure, read))

        try:
            return (yield from ask())
        except RestError as error:
            if error.code in none:
                return []
            if error.code != self._late:
                raise
        yield from self.read_clock(now)
        return (yield from ask())

    def _request(self, method: str, path: str, query: str, now: int, *, signed: bool) -> HttpRequest:
        shown = f"{path}?{query}".rstrip("?")
        if signed:
            query = f"{query}&recvWindow={self.window}&timestamp={self.timestamp(now)}".lstrip("&")
            query += f"&signature={quote(self.signer.sign(query), safe='')}"
        whole, headers = f"{path}?{query}".rstrip("?"), {self._header: self.account.api_key}
        return HttpRequest(method, whole, headers=headers, shown=shown)
