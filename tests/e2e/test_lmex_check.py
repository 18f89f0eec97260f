"""``tickbridge check --connect`` against an LMEX that plays the documented frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Run
from tests.e2e.lmex_exchange import KEY, LmexExchange
from tests.servers import RedisServer
from tests.unit import lmex_frames as frames

WALLET = "/spot/api/v3.2/user/wallet"
ANSWERS = {
    "/spot/api/v3.2/market_summary": b'[{"symbol":"BTC-USD","last":76653.10}]',
    "/spot/api/v3.2/user/open_orders": b"[]",
    "/spot/api/v3.2/user/trade_history": b"[]",
    WALLET: b'[{"currency":"BTC","total":1.50,"available":1.20}]',
}


def accept(op: str, topics: list[str]) -> list[bytes]:
    return [json.dumps({"event": op, "channel": topics}).encode()]


@pytest.fixture
def exchange() -> Iterator[LmexExchange]:
    with LmexExchange({"/ws/oss/spot": accept, "/ws/spot": accept}, dict(ANSWERS)) as served:
        yield served


class Check:
    def __init__(self, run: Run, server: RedisServer, directory: Path, exchange: LmexExchange) -> None:
        self.run, self.server, self.directory, self.exchange = run, server, directory, exchange

    def __call__(self, secret: str = frames.SECRET) -> tuple[int, str]:
        connector = {
            "name": "lmex",
            "exchange": "lmex",
            "pairs": ["BTC-USD"],
            "account": "main",
            "url": self.exchange.url,
            "rest_url": self.exchange.rest_url,
        }
        account = {"exchange": "lmex", "api_key": KEY, "api_secret": secret}
        settings = {"redis": {"url": self.server.url}, "connectors": [connector], "accounts": {"main": account}}
        config = self.directory / "lmex.yaml"
        config.write_text(yaml.safe_dump(settings))
        process = self.run("check", "--connect", "--config", str(config))
        return process.ended(), process.output


@pytest.fixture
def check(run: Run, redis_server: RedisServer, tmp_path: Path, exchange: LmexExchange) -> Check:
    return Check(run, redis_server, tmp_path, exchange)


def test_all_is_well(check: Check) -> None:
    code, _ = check()
    assert code == 0


def test_a_wrong_secret_is_the_users_mistake(check: Check) -> None:
    code, output = check(secret="not-the-secret-of-this-key")
    assert code == 1
    assert (
        "spot-account:main: the log-in is refused (success is false); are the account's key and secret right?" in output
    )
    assert "not-the-secret" not in output


def test_a_key_that_may_not_read_the_wallet(check: Check, exchange: LmexExchange) -> None:
    exchange.answers[WALLET] = frames.AUTH_FAILED
    code, output = check()
    assert code == 1
    assert f"REST {WALLET}: 400: -7 Authenticate failed" in output
