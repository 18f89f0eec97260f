"""Serves one of the markets until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from bridge.process.lifecycle import end_on_signals, run_loop
from bridge.simulator import Simulator, SimulatorConfig
from bridge.simulator.exchange import SimulatedExchange
from bridge.simulator.scenario import Scenario
from bridge.simulator.specs import MarketConfig, market_config
from tests.markets.bybit import Bybit
from tests.markets.coinbase import Coinbase
from tests.markets.market import NoOptions, PublicMarket

_CHANNELS = ["trades", "book", "quotes", "ticker"]


def _market(pairs: Iterable[str], **settings: Any) -> MarketConfig:
    """Without accounts; a market that is started again goes on with other ids."""
    return market_config(pairs, accounts=(), activity=0.0, trade_ids_after=int(time.time() * 1000) * 10, **settings)


def _exchange(name: str, dialect: type[PublicMarket], *pairs: str) -> SimulatedExchange:
    scenario = Scenario(lambda _: iter(()), lambda *_: [])
    return SimulatedExchange(name, dialect, NoOptions, pairs, _market, scenario)


_MARKETS = {
    "coinbase": _exchange("coinbase", Coinbase, "BTC-USD", "ETH-USD"),
    "bybit": _exchange("bybit", Bybit, "BTC-USDT", "ETH-USDT"),
}


async def _serve(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    end_on_signals(lambda _: stop.set())
    exchange = _MARKETS[options.exchange]
    tls = options.tls_dir
    simulator = Simulator(SimulatorConfig(exchange, rate=options.rate, tls=tls is not None, tls_dir=tls))
    async with simulator.serve(options.host, options.port) as urls:
        connector = {
            "name": exchange.name,
            "exchange": exchange.name,
            "pairs": [*exchange.pairs],
            "channels": _CHANNELS,
        }
        connector |= {"url": urls.ws, "rest_url": urls.rest}
        config = {"redis": {"url": options.redis_url}, "connectors": [connector]}
        options.write_config.write_text(yaml.safe_dump(config))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exchange", choices=_MARKETS)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--tls-dir", type=Path)
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--write-config", type=Path, required=True)
    return run_loop(_serve(parser.parse_args()))


if __name__ == "__main__":
    raise SystemExit(main())
