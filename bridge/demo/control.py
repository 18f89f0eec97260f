"""HTTP client for the control interface of a simulated exchange: its true state, and its faults."""

from __future__ import annotations

from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import aiohttp

__all__ = ["UNREACHABLE", "Control"]

UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError)
"""What a call raises while the simulator is unreachable."""

_TIMEOUT = aiohttp.ClientTimeout(total=5)


class Control:
    """Calls the ``/sim`` paths of a simulator; ``url`` is their base, without a slash at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def state(self) -> dict[str, Any]:
        return await self._call("GET", "state")

    async def book(self, pair: str) -> dict[str, Any]:
        """The book that the streams should contain: ``{"bids":[["price","size"],…],"asks":…}``."""
        return await self._call("GET", "streams/book", params={"pair": pair})

    async def coins(self, pair: str) -> Decimal:
        """The base coins of a contract; 1 for spot."""
        answer = await self._call("GET", "book", params={"pair": pair, "levels": "1"})
        return Decimal(answer.get("contract_size") or 1)

    async def trades(self, pair: str) -> list[dict[str, Any]]:
        answer = await self._call("GET", "streams/trades", params={"pair": pair})
        return list(answer["trades"])

    async def subjects(self, account: str) -> dict[str, Any]:
        """For each subject of an account's streams, what they should contain."""
        answer = await self._call("GET", "streams/account", params={"account": account})
        return dict(answer["subjects"])

    async def pause(self) -> None:
        """Pause the market, and pass all of its messages to the sockets."""
        await self._call("POST", "pause", json={})

    async def fault(self, **settings: object) -> None:
        await self._call("POST", "faults", json=settings)

    async def _call(self, method: str, name: str, **arguments: Any) -> dict[str, Any]:
        async with self._session.request(method, f"{self.url}/{name}", **arguments) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer
