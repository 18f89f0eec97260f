"""Simulated exchanges beside the gateway: their true books, and what may be done to them, for the page's faults.

There are some only if the gateway was started with their addresses (``--simulator``), as the demo starts it. The demo
also says where its processes can be killed (``TICKBRIDGE_WEB_PROCESSES``). Nothing here writes to Redis.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import web
from msgspec import Struct

from bridge.keys import Keys
from bridge.model import BOOKS
from bridge.printable import printable
from consumers.web.guard import Guard, json_answer, problem
from consumers.web.tokens import Access, NoAccessError, Tokens

__all__ = ["Simulators", "local_address", "simulator_address"]

_TIMEOUT = aiohttp.ClientTimeout(total=5)
_LARGEST_REQUEST = 4_096
_LONGEST_QUOTED = 100
_ACTIONS = ("fault", "pause", "resume", "kill")
_UNREACHABLE = (aiohttp.ClientError, OSError)


class _Action(Struct, forbid_unknown_fields=True):
    """What is asked for; ``settings`` are those of a fault, with its name as ``fault``, or the ``name`` of a process."""

    action: str
    exchange: str = ""
    settings: dict[str, str | int | float | bool] = {}


class _RefusedError(Exception):
    """A request that is answered with a status and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def simulator_address(text: str) -> tuple[str, str]:
    """``EXCHANGE=URL``: the exchange, and the base of its control paths.

    Raises:
        ValueError: it is not that, or the address is not on this machine.
    """
    exchange, equals, url = text.partition("=")
    if not (exchange and equals):
        raise ValueError(f"give EXCHANGE=http://127.0.0.1:PORT/sim, not {printable(text, _LONGEST_QUOTED)!r}")
    return exchange, local_address(url)


def local_address(url: str) -> str:
    """An HTTP address on this machine, without a slash at its end.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or not parts.port or not (host == "localhost" or _is_loopback(host)):
        raise ValueError("the address should be http://127.0.0.1:PORT/…, on this machine")
    return url.rstrip("/")


class Simulators:
    """The handlers of ``/api/simulators``; ``addresses``: exchange → the base of its control paths.

    ``processes`` is where the demo lets its processes be killed; empty outside of it. Enter it before requests come.
    """

    def __init__(
        self, addresses: Mapping[str, str], keys: Keys, guard: Guard, tokens: Tokens, processes: str = ""
    ) -> None:
        self._addresses = dict(addresses)
        self._processes = processes
        self._keys = keys
        self._guard = guard
        self._tokens = tokens
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    @property
    def exchanges(self) -> list[str]:
        """The exchanges that are simulated."""
        return sorted(self._addresses)

    def routes(self) -> list[web.RouteDef]:
        """A route for each page; without simulators, none."""
        if not self._addresses:
            return []
        return [
            web.get("/api/simulators", self._answering(self._list)),
            web.get("/api/simulators/book", self._answering(self._book)),
            web.post("/api/simulators", self._answering(self._act)),
        ]

    def _answering(
        self, page: Callable[[web.Request, Access], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await page(request, self._guard.access(request))
            except _RefusedError as error:
                return problem(error.status, str(error))
            except NoAccessError as error:
                return problem(403, str(error))

        return answer

    def _may_act(self, access: Access) -> bool:
        return access.everything or not self._tokens.configured

    async def _list(self, _: web.Request, access: Access) -> web.Response:
        rows = await asyncio.gather(*(self._describe(exchange) for exchange in self.exchanges))
        processes: list[Any] = []
        if self._processes:
            with suppress(_RefusedError):  # the demo ends
                processes = (await self._fetch("GET", f"{self._processes}/processes", "the demo")).get("processes", [])
        return json_answer({"simulators": rows, "processes": processes, "may_act": self._may_act(access)})

    async def _describe(self, exchange: str) -> dict[str, Any]:
        try:
            state, faults = await self._call("GET", exchange, "state"), await self._call("GET", exchange, "faults")
        except _RefusedError as error:
            return {"exchange": exchange, "error": str(error)}
        return {
            "exchange": exchange,
            "pairs": sorted(state.get("pairs", {})),
            "paused": state.get("paused") is True,
            "active": state.get("faults_active", []),
            "faults": faults.get("faults", {}),
        }

    async def _book(self, request: web.Request, access: Access) -> web.Response:
        key = request.query.get("key", "")
        stream = self._keys.parse(key)
        if stream is None or stream.channel not in BOOKS:
            raise _RefusedError(400, f"key should be that of a book, not {printable(key, _LONGEST_QUOTED)!r}")
        access.check(stream)
        found = await self._call("GET", stream.exchange, "streams/book", params={"pair": stream.subject})
        return json_answer({"key": key, "bids": found.get("bids", []), "asks": found.get("asks", [])})

    async def _act(self, request: web.Request, access: Access) -> web.Response:
        """Pages of other sites cannot come here: a form cannot send JSON, and a script would have to be let in first."""
        if request.content_type != "application/json":
            raise _RefusedError(415, "send JSON, with Content-Type: application/json")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise _RefusedError(403, "pages of other sites may not do this")
        if not self._may_act(access):
            raise _RefusedError(403, 'what happens to a simulator concerns everybody: its token needs accounts = ["*"]')
        body = bytearray()
        async for chunk in request.content.iter_chunked(_LARGEST_REQUEST):
            body += chunk
            if len(body) > _LARGEST_REQUEST:
                raise _RefusedError(413, f"a request has at most {_LARGEST_REQUEST} bytes")
        try:
            action = msgspec.json.decode(body, type=_Action)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise _RefusedError(400, f"not a request: {printable(str(error), 2 * _LONGEST_QUOTED)}") from None
        if action.action not in _ACTIONS:
            shown = printable(action.action, _LONGEST_QUOTED)
            raise _RefusedError(400, f"no action {shown!r}; there are {', '.join(_ACTIONS)}")
        if action.action == "kill":
            if not self._processes:
                raise _RefusedError(404, "only the demo lets its processes be killed")
            done = await self._fetch("POST", f"{self._processes}/kill", "the demo", json=action.settings)
            return json_answer({"action": "kill", "answer": done})
        path = "faults" if action.action == "fault" else action.action
        done = await self._call("POST", action.exchange, path, json=action.settings)
        return json_answer({"exchange": action.exchange, "action": action.action, "answer": done})

    async def _call(self, method: str, exchange: str, path: str, **arguments: Any) -> dict[str, Any]:
        """What a simulator answers.

        Raises:
            _RefusedError: it refuses, does not answer, or there is none.
        """
        if exchange not in self._addresses:
            shown = printable(exchange, _LONGEST_QUOTED)
            raise _RefusedError(404, f"{shown!r} is not simulated here; there are {', '.join(self.exchanges)}")
        url = f"{self._addresses[exchange]}/{path}"
        return await self._fetch(method, url, f"the simulator of {exchange}", **arguments)

    async def _fetch(self, method: str, url: str, whose: str, **arguments: Any) -> dict[str, Any]:
        assert self._session is not None
        try:
            async with self._session.request(method, url, allow_redirects=False, **arguments) as response:
                body = await response.read()
        except TimeoutError:
            raise _RefusedError(502, f"{whose} does not answer within {_TIMEOUT.total:g} s") from None
        except _UNREACHABLE as error:
            words = printable(str(error) or type(error).__name__, 2 * _LONGEST_QUOTED)
            raise _RefusedError(502, f"{whose} does not answer: {words}") from None
        try:
            found = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise _RefusedError(502, f"{whose} did not answer with JSON") from None
        if response.status != 200:
            raise _RefusedError(400, printable(str(found.get("error", f"status {response.status}")), 500))
        return found


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
