"""Routers as connectors have them, on a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import yaml

from bridge.config import load_settings
from bridge.connector.router import Router
from bridge.connector.store import Store
from bridge.connector.wiring import build_exchange
from tests.patience import PATIENCE
from tests.servers import RedisServer


@asynccontextmanager
async def opened(server: RedisServer, folder: Path, *, served: bool = True, **more: Any) -> AsyncIterator[Router]:
    """A router whose streams are open, and whose name is given back at the end, without a `stop`.

    ``served``: with sub-accounts; ``more`` are further settings of its connector.
    """
    path = folder / "config.yaml"
    connector = {"name": "one", "exchange": "limitlex", "pairs": ["BTC-EUR"], "account": "main", **more}
    account = {"exchange": "limitlex", "api_key": "k", "api_secret": "s", "subaccounts": served}
    config = {"redis": {"url": server.url}, "connectors": [connector], "accounts": {"main": account}}
    path.write_text(yaml.safe_dump(config))
    settings = load_settings(path, {})
    exchange = build_exchange(settings, settings.connectors[0])
    log = structlog.get_logger()
    async with Store(settings, "one", "limitlex", log) as store:
        router = Router(exchange, settings.connectors[0], store, settings, log)
        await router.open()
        publishing = asyncio.create_task(router._publisher.run())
        try:
            yield router
            async with asyncio.timeout(PATIENCE):
                while router._subaccounts._tasks:
                    await asyncio.gather(*router._subaccounts._tasks)
                await router._publisher.drained()
                await router.holder.show()
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])
            await store.presence.leave()
            router.failed.cancel()
