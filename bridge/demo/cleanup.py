"""Removes the demo's keys from a server that is not its own."""

from __future__ import annotations

from redis.exceptions import RedisError

from bridge.errors import BridgeError
from consumers.connection import make_client, safe_url

__all__ = ["remove_keys"]


async def remove_keys(url: str, namespace: str) -> None:
    """Remove all keys of a demo's namespace.

    Raises:
        BridgeError: Redis is unreachable or refuses; the message says which keys remain.
    """
    client = make_client(url)
    try:
        found = [key async for key in client.scan_iter(f"{namespace}:*", count=1000)]
        if found:
            await client.unlink(*found)
    except (RedisError, OSError) as error:
        msg = f"the demo's keys {namespace}:* are still in Redis at {safe_url(url)}: {error}"
        raise BridgeError(msg) from None
    finally:
        await client.aclose()
