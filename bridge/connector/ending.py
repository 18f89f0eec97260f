"""The end of a connector: what is still to be written, as long as there is time for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from structlog.typing import FilteringBoundLogger

from bridge.errors import RedisUnavailableError
from bridge.process.lifecycle import end_tasks
from bridge.publish.publisher import Publisher
from bridge.redis.errors import FAILURES

__all__ = ["write_the_rest"]


async def write_the_rest(
    rest: Coroutine[Any, Any, None],
    publisher: Publisher,
    displaced: asyncio.Event,
    deadline: float,
    *,
    address: str,
    log: FilteringBoundLogger,
) -> None:
    """Wait until ``rest`` has written it, for ``deadline`` seconds at most, or until another process writes.

    ``address`` is Redis's.

    Raises:
        RedisUnavailableError: entries were left over.
    """
    writing = asyncio.create_task(rest, name="finish")
    given_up = asyncio.create_task(displaced.wait(), name="finish-displaced")
    try:
        async with asyncio.timeout(deadline):
            await asyncio.wait((writing, given_up), return_when=asyncio.FIRST_COMPLETED)
        if writing.done() and not displaced.is_set():
            writing.result()
    except (TimeoutError, *FAILURES) as error:
        left = publisher.waiting
        log.error("not_drained", waiting=left, error=str(error) or "the deadline passed")  # noqa: TRY400 - the words say all
        if left:
            message = f"{left} entries could not be written before the end"
            raise RedisUnavailableError(address, message) from None
    finally:
        await end_tasks((writing, given_up))
