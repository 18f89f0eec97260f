"""REST: answers that are good or raise, calls that are signed with the time or with a nonce, and lists of pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar
from urllib.parse import urlencode

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Credentials, Flow, HttpRequest, HttpResponse
from bridge.exchanges.toolkit.rest.nonces import Nonces
from bridge.exchanges.toolkit.values.fields import Row
from bridge.exchanges.toolkit.values.numbers import MILLISECOND
from bridge.exchanges.toolkit.values.salvage import WRONG

__all__ = ["NoncedRest", "TimedRest", "asked"]

_MOST_PAGES = 100
AnswerT = TypeVar("AnswerT")


def asked(
    exchange: str,
    request: HttpRequest,
    failure: Callable[[str, HttpResponse], RestError | None],
    read: Callable[[HttpResponse], AnswerT],
) -> Flow[AnswerT]:
    """What an answer says.

    Args:
        exchange: its name, for errors.
        request: the call.
        failure: what is wrong with an answer to a path; ``None`` where nothing is.
        read: understands a good one; raises one of `WRONG` where it can't.

    Raises:
        RestError: REST is away, refuses, or answers with what can't be understood.
    """
    response = yield request
    path = request.safe_path.partition("?")[0]
    if wrong := failure(path, response):
        raise wrong
    try:
        return read(response)
    except WRONG as error:
        words = f"the answer can't be understood: {type(error).__name__}: {error}"
        raise RestError(exchange, path, response.status, words) from None


class TimedRest(ABC, Generic[AnswerT]):
    """GET calls, public and signed; ``late`` are the exchange's codes for a time that it doesn't take."""

    def __init__(self, late: tuple[int, ...]) -> None:
        self._late = late
        self.clock_offset = 0
        """The exchange's clock less ours (ns), for signing; 0 while it is unknown."""
        self.headers: dict[str, str] = {}
        """Sent with every call."""
        self.told = 0
        """The exchange's time in its newest answer (ms)."""
        self.recv = 0
        """When the newest answer came (ns, our time)."""

    def get(self, path: str, query: str = "", now: int = 0, account: Credentials | None = None) -> Flow[AnswerT]:
        """A call; where our clock is what is wrong with it, it is signed once more.

        Raises:
            RestError: REST is away, refuses, or answers with what can't be understood.
        """
        try:
            return (yield from self._call(path, query, now, account))
        except RestError as error:
            if error.code not in self._late or not self.told:
                raise
            self.clock_offset = self.told * MILLISECOND - now
        return (yield from self._call(path, query, now, account))

    def pages(
        self,
        path: str,
        query: str,
        now: int = 0,
        account: Credentials | None = None,
        *,
        name: Callable[[Row], str] | None = None,
    ) -> Flow[tuple[list[Row], bool]]:
        """The rows of a list, page by page, and whether they are all there.

        With ``name``, which tells rows apart, a page that brings no other ones than those before is the end.

        Raises:
            RestError: as `get`.
        """
        rows: list[Row] = []
        seen: set[str] = set()
        more = ""
        for _ in range(_MOST_PAGES):
            before = more
            found, more = self._page((yield from self.get(path, (query + more).removeprefix("&"), now, account)))
            rows += found
            if not more:
                return rows, True
            names = set(map(name, found)) if name else {more}
            if more == before or names <= seen:
                break  # the same page again
            seen |= names
        return rows, False

    def _call(self, path: str, query: str, now: int, account: Credentials | None) -> Flow[AnswerT]:
        headers = self.headers
        if account is not None:
            # A long list takes longer than a signature counts: later pages have the time of the one before.
            at = str(max((now + self.clock_offset) // MILLISECOND, self.told))
            headers = {**headers, **self._sign(account, at, path, query)}
        response = yield HttpRequest("GET", f"{path}?{query}" if query else path, headers=headers)
        self.recv = max(self.recv, response.recv)
        return self._read(path, response)

    @abstractmethod
    def _sign(self, account: Credentials, at: str, path: str, query: str) -> dict[str, str]:
        """The headers of a signed call at this time (ms)."""

    @abstractmethod
    def _read(self, path: str, response: HttpResponse) -> AnswerT:
        """An answer that is good; ``told`` is set to its time.

        Raises:
            RestError: it isn't.
        """

    @abstractmethod
    def _page(self, answer: AnswerT) -> tuple[list[Row], str]:
        """The rows of an answer, and what is to be added to the query for the next ones; empty, if there are none."""


class NoncedRest(ABC, Generic[AnswerT]):
    """Public GET calls, and POST calls of a form that begins with a nonce.

    Args:
        unit: the nonces' unit (ns).
        wrong_nonce: the words of a refusal for the nonce: calls that were made at the same time have overtaken each other.
    """

    def __init__(self, unit: int, wrong_nonce: str) -> None:
        self._nonces = Nonces(unit)
        self._wrong_nonce = wrong_nonce

    def get(self, path: str) -> Flow[AnswerT]:
        """The answer to a public call; the limit is one of signed calls.

        Raises:
            RestError: REST is away, refuses, or answers with what can't be understood.
        """
        return self._read(path, (yield HttpRequest("GET", path, weight=0)))

    def post(self, account: Credentials, path: str, now: int, weight: int = 1, **fields: object) -> Flow[AnswerT]:
        """The answer to a signed call; where the nonce is what is wrong with it, it is made once more.

        Raises:
            RestError: as `get`.
        """
        for again in (True, False):
            nonce = self._nonces.next(now)
            body = urlencode({"nonce": nonce, **fields})
            headers = self._sign(account, path, nonce, body)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            response = yield HttpRequest("POST", path, body, headers, weight=weight)
            try:
                return self._read(path, response)
            except RestError as error:
                if not (again and self._wrong_nonce in error.message):
                    raise
                now = max(now, response.recv)
        raise AssertionError

    @abstractmethod
    def _sign(self, account: Credentials, path: str, nonce: str, body: str) -> dict[str, str]:
        """The headers of a signed call."""

    @abstractmethod
    def _read(self, path: str, response: HttpResponse) -> AnswerT:
        """An answer that is good.

        Raises:
            RestError: it isn't.
        """
