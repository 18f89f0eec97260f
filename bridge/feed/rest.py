"""REST for sessions: drives their flows over one shared HTTP client."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace
from yarl import URL

from bridge.clock import CLOCK
from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import Flow, HttpRequest, HttpResponse
from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait
from bridge.feed.policies import RequestBudget
from bridge.feed.shared import SharedBudget
from bridge.feed.sockets import describe
from bridge.feed.tap import FeedTap
from bridge.feed.tunnel import open_tunnel
from bridge.proxies import Proxy

__all__ = ["MAX_BODY", "RestClient"]

T = TypeVar("T")

MAX_BODY = 32 * 1024 * 1024
"""Bytes of an answer; beyond that it is none."""
_TOO_MANY = (429, 418)
"""Statuses that call for silence; the second follows where the first was not heeded."""
_PLAIN = {"Accept-Encoding": "identity"}
"""A few kilobytes that unpack to gigabytes can't come where nothing is unpacked."""


_TUNNEL_SHARE = 0.8
"""Share of a call's time that a proxy gets for connecting: so it is the proxy that is named when it is silent."""


class _TunnelConnector(aiohttp.BaseConnector):
    """Connects through a proxy, in the way that WebSockets do; the library knows no SOCKS."""

    def __init__(self, proxy: Proxy, tls: ssl.SSLContext, within: float) -> None:
        super().__init__()
        self._proxy = proxy
        self._tls = tls
        self._within = within

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the library's own signature
    ) -> ResponseHandler:
        del traces, timeout
        host, port = req.url.host, req.url.port
        assert host is not None
        assert port is not None  # the scheme's, where the URL has none
        sock = await open_tunnel(self._proxy, host, port, within=self._within, tls=self._tls)
        encrypted = req.url.scheme == "https"
        _, protocol = await asyncio.get_running_loop().create_connection(
            self._factory,
            sock=sock,
            ssl=self._tls if encrypted else None,
            server_hostname=host if encrypted else None,
        )
        return protocol


class RestClient:
    """An exchange's REST API, at ``base`` (``https://limitlex.com/api``), through ``proxy`` if there is one.

    ``budget`` says when a request may go; all of the process that call the address have one, and ``shared`` is what other
    processes see of it.
    """

    def __init__(
        self,
        exchange: str,
        base: str,
        tls: ssl.SSLContext | None,
        timeout: float,
        tap: FeedTap | None,
        *,
        proxy: Proxy | None = None,
        budget: RequestBudget | None = None,
        shared: SharedBudget | None = None,
    ) -> None:
        self._exchange = exchange
        self._base = base.rstrip("/")
        self._tls = tls
        self._timeout = timeout
        self._tap = tap
        self._proxy = proxy
        self._budget = budget
        self._shared = shared
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        self._client = aiohttp.ClientSession(
            connector=self._connector(), timeout=timeout, trust_env=False, headers=_PLAIN, auto_decompress=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._client:
            await self._client.close()

    def _connector(self) -> aiohttp.BaseConnector:
        if self._proxy:
            tls = self._tls or ssl.create_default_context()
            return _TunnelConnector(self._proxy, tls, self._timeout * _TUNNEL_SHARE)
        return aiohttp.TCPConnector(ssl=self._tls) if self._tls else aiohttp.TCPConnector()

    async def drive(self, flow: Flow[T]) -> T:
        """Run a flow to its end; what the flow raises comes out.

        Where that is too many requests, and says how long there are to be none, nobody asks until then.

        Raises:
            RestError: no answer, or the exchange wants no request now; and the flow doesn't handle that.
        """
        try:
            request = next(flow)
            while True:
                try:
                    response = await self._fetch(request)
                except RestError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(response)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        except RestError as error:
            if error.kind is ErrorKind.REST_RATE_LIMITED and error.retry_after:
                await self._refused(error.retry_after)  # some say it in the answer only
            raise

    async def _fetch(self, request: HttpRequest) -> HttpResponse:
        if self._client is None:
            msg = "the client is not open"
            raise RuntimeError(msg)
        base = request.base or self._base
        url = URL(base + request.path, encoded=True)  # as it is signed: `%2C` stays what it is
        budget = self._budget
        if budget and (held := await budget.spend(request.weight, self._shared)):
            words = f"not asked: the exchange wants no requests for another {held:.0f} s"
            raise RestError(self._exchange, request.safe_path, 429, words, held)
        try:
            async with self._client.request(
                request.method, url, data=request.body or None, headers=request.headers, allow_redirects=False
            ) as answer:
                body = await self._body(request, answer)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                status = answer.status
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if budget:
                budget.failed()
            raise RestError(self._exchange, request.safe_path, 0, describe(error)) from None
        if budget:
            budget.worked()
            if status in _TOO_MANY:
                await self._refused(seconds_to_wait(headers.get("retry-after", ""), headers.get("date", "")))
        if self._tap and request.method == "GET":
            self._tap.http("rest", base + request.safe_path, body.decode(errors="replace"), CLOCK.now() / 1e9)
        return HttpResponse(status, body, headers, CLOCK.now())

    async def _refused(self, wait: float | None) -> None:
        """There were too many requests, for everybody who calls the address."""
        held = self._budget.refused(wait) if self._budget else 0.0
        if held and self._shared:
            await self._shared.refused(held)

    async def _body(self, request: HttpRequest, answer: aiohttp.ClientResponse) -> bytes:
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise RestError(
                self._exchange, request.safe_path, answer.status, f"the answer is packed ({encoding}), unasked"
            )
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY:
                message = f"the answer is larger than {MAX_BODY} bytes"
                raise RestError(self._exchange, request.safe_path, answer.status, message)
        return bytes(body)
