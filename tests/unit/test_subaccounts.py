"""Sub-accounts that an exchange tells of: their streams are opened as they come, up to a limit."""

from __future__ import annotations

import asyncio

import structlog
import yaml

from bridge import router as router_module
from bridge.config import load_settings
from bridge.model import Balance
from bridge.router import Router
from bridge.store import Store
from bridge.wiring import build_exchange
from tests.patience import PATIENCE
from tests.servers import RedisServer


def balance(sub: str) -> Balance:
    return Balance(ts=None, recv=1, subject=f"main/{sub}", currency="EUR", available="1", reserved="0")


async def test_sub_accounts_without_end_open_no_streams_without_end(redis_server: RedisServer, tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    connector = {"name": "one", "exchange": "limitlex", "pairs": ["BTC-EUR"], "account": "main"}
    account = {"exchange": "limitlex", "api_key": "k", "api_secret": "s", "subaccounts": True}
    config = {"redis": {"url": redis_server.url}, "connectors": [connector], "accounts": {"main": account}}
    path.write_text(yaml.safe_dump(config))
    settings = load_settings(path, {})
    exchange = build_exchange(settings, settings.connectors[0])
    log = structlog.get_logger()
    async with Store(settings, "one", "limitlex", log) as store:
        router = Router(exchange, settings.connectors[0], store, settings, log)
        await router.open()
        standing = len(router._topics)
        monkeypatch.setattr(router_module, "_MOST_STREAMS", standing + 2)
        for number in range(50):
            router.event(balance(f"sub{number}"))
        async with asyncio.timeout(PATIENCE):
            while router._openings:
                await asyncio.gather(*router._openings)
        assert len(router._topics) == standing + 2
        router.event(balance("sub1"))  # one that stands goes on
        assert router.report.unknown == {"a sub-account beyond the limit of streams": 48}
        router.failed.cancel()
