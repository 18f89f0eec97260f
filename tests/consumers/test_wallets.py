"""Wallets from scripted streams, and exact over restarts of the service and of Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import subprocess
import sys

import pytest

from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from consumers.reader import Reader
from consumers.wallet_lines import as_known, as_text
from consumers.wallets import Wallet, Wallets, main
from tests.consumers.accounts import Account, keeping
from tests.consumers.streams import gather, until
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

CLEAN = clean_environment(TICKBRIDGE_HTTP__PORT="off")


async def settle(server: RedisServer, account: Account) -> dict[str, str]:
    async with keeping(server, account):
        await until(account.done)
    return account.hash()


async def test_the_hash_holds_balances_open_orders_fills_and_positions(redis_server, account) -> None:
    account.balance("EUR", "1000.00", "5.00")
    account.balance("BTC", "0.5")
    last = account.balance("EUR", "990.00", "15.00")
    account.order("o1", "open")
    account.order("o2", "open")
    account.order("o1", "partially_filled", "0.4")
    account.order("o2", "cancelled")
    for _ in range(3):
        account.fill()
    account.position("long", "2")
    state = await settle(redis_server, account)
    assert json.loads(state["balance:EUR"]) == {
        "available": "990.00",
        "reserved": "15.00",
        "ts": "",
        "recv": f"{last.partition('-')[0]}000000",
    }
    assert json.loads(state["balance:BTC"])["available"] == "0.5"
    assert [name for name in state if name.startswith("order:")] == ["order:BTC-EUR:o1"]
    order = json.loads(state["order:BTC-EUR:o1"])
    assert (order["status"], order["filled"], order["price"], order["pair"]) == (
        "partially_filled",
        "0.4",
        "7994.50",
        "BTC-EUR",
    )
    assert state["fills"] == "3"
    assert json.loads(state["fill:last"])["fill_id"] == "f3"
    assert json.loads(state["position:BTC-PERP"])["side"] == "long"
    account.order("o1", "filled", "1.0")
    account.position("", "0")
    state = await settle(redis_server, account)
    assert not [name for name in state if name.startswith(("order:", "position:"))]


async def test_the_legs_of_a_hedged_pair_are_two_positions(redis_server, account) -> None:
    account.position("long", "2", leg="long")
    account.position("short", "5", leg="short")
    state = await settle(redis_server, account)
    assert {name: json.loads(text)["size"] for name, text in state.items() if name.startswith("position:")} == {
        "position:BTC-PERP:long": "2",
        "position:BTC-PERP:short": "5",
    }
    account.position("", "0", leg="long")
    state = await settle(redis_server, account)
    assert [name for name in state if name.startswith("position:")] == ["position:BTC-PERP:short"]


def test_orders_of_a_hash_of_an_earlier_version_get_their_new_names() -> None:
    known = '{"order_id":"7","client_id":"","pair":"BTC-EUR","status":"open"}'
    nameless = '{"order_id":"8","client_id":"","pair":"","status":"open"}'
    wallet = Wallet("key", {"order:7": known, "order:8": nameless, "order:9": "broken"})
    assert wallet.fields == {"order:BTC-EUR:7": known, "order:8": nameless, "order:9": "broken"}
    assert wallet.unsaved == {"order:7": None, "order:BTC-EUR:7": known}


async def test_what_the_stream_says_of_itself_stands_in_the_hash(redis_server, account) -> None:
    fills = account.streams[Channel.FILLS]
    fills.control("live")
    state = await settle(redis_server, account)
    assert state["state:fills"] == "live"
    assert "gaps:fills" not in state
    fills.control("down", "cut")
    assert (await settle(redis_server, account))["state:fills"] == "down: cut"
    fills.control("lost", "buffer full", "9")
    account.fill()
    fills.seq += 5
    account.fill()
    account.client.xadd(fills.key, {"type": "fill"}, id=fills.id(fills.seq + 1))
    fills.seq += 1
    state = await settle(redis_server, account)
    assert state["gaps:fills"] == "3"
    assert state["fills"] == "2"
    assert state["state:fills"].startswith("undecodable")
    fills.control("live")
    account.fill()
    account.fill()
    account.client.xtrim(fills.key, maxlen=1, approximate=False)
    state = await settle(redis_server, account)
    assert state["gaps:fills"] == "4"
    assert state["state:fills"] == "trimmed: 2 entries"


async def test_restarts_at_any_moment_count_no_fill_twice(redis_server, account) -> None:
    rng = random.Random(3)
    for _ in range(40):
        for _ in range(rng.randrange(20)):
            account.fill()
        async with keeping(redis_server, account):
            for _ in range(rng.randrange(6)):
                await asyncio.sleep(0)
            account.fill()
    state = await settle(redis_server, account)
    assert state["fills"] == str(account.streams[Channel.FILLS].seq)


async def test_a_lost_reply_counts_no_fill_twice(redis_server, account) -> None:
    for _ in range(5):
        account.fill()
    async with Reader(redis_server.url, block=0.05) as reader:
        wallets = Wallets(reader, Keys())
        for key in account.client.hkeys("bridge:catalog:accounts"):
            await wallets.found(key, Keys().parse(key))
        (wallet,) = wallets.wallets.values()
        async for batch in reader.batches():
            for item in batch:
                wallet.take(item)
            before = dict(wallet.unsaved)
            await wallet.save(reader.redis)
            wallet.unsaved = before
            await wallet.save(reader.redis)
            break
    assert account.hash()["fills"] == "5"


async def test_accounts_and_sub_accounts_are_chosen(redis_server, account) -> None:
    for subject, exchange in (("main/sub", "limitlex"), ("other", "limitlex"), ("main", "lmex")):
        Account(account.client, subject, exchange)
    account.client.hset("bridge:catalog", Keys().stream("limitlex", "BTC-EUR", Channel.TRADES), "{}")
    main_, sub, other, foreign = ("limitlex", "main"), ("limitlex", "main/sub"), ("limitlex", "other"), ("lmex", "main")
    cases = [
        ([], None, {main_, sub, other, foreign}),
        (["main"], None, {main_, sub, foreign}),
        (["limitlex:main"], None, {main_, sub}),
        (["main/sub", "other"], None, {sub, other}),
        ([], "lmex", {foreign}),
    ]
    for names, exchange, expected in cases:
        async with keeping(redis_server, account, *names, exchange=exchange) as wallets:
            assert set(wallets.wallets) == expected


@contextlib.contextmanager
def service(*arguments: str):
    command = [sys.executable, "-m", "consumers.wallets", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=CLEAN) as process:
        try:
            yield process
        finally:
            process.kill()


def test_killed_and_started_again_it_goes_on_exactly_and_finds_new_accounts(redis_server, account) -> None:
    total = 0
    for _ in range(3):
        with service("--redis", redis_server.url) as wallets:
            for _ in range(300):
                account.fill()
            total += 300
            assert json.loads(wallets.stdout.readline())["type"] == "fill"
            wallets.send_signal(signal.SIGKILL)
            wallets.wait(PATIENCE)
    sub = Account(account.client, "main/sub")
    with service("--redis", redis_server.url) as wallets:
        sub.balance("EUR", "7")
        asyncio.run(until(lambda: account.done() and sub.done()))
        wallets.send_signal(signal.SIGTERM)
        _, errors = wallets.communicate(timeout=PATIENCE)
        assert (wallets.returncode, errors) == (0, "")
    assert account.hash()["fills"] == str(total)
    assert json.loads(sub.hash()["balance:EUR"])["available"] == "7"


def test_it_prints_every_change_as_a_json_line(redis_server, account) -> None:
    account.balance("EUR", "1000.00", "5.00")
    account.streams[Channel.BALANCES].control("live")
    account.streams[Channel.BALANCES].seq += 1
    account.balance("EUR", "1.00")
    with service("--redis", redis_server.url) as wallets:
        lines = [json.loads(wallets.stdout.readline()) for _ in range(4)]
    assert {(line["exchange"], line["account"], line["channel"]) for line in lines} == {
        ("limitlex", "main", "balances")
    }
    assert [line["type"] for line in lines] == ["balance", "control", "hole", "balance"]
    assert (lines[0]["available"], lines[1]["event"], lines[2]["expected"]) == ("1000.00", "live", "3")


def test_at_the_start_it_shows_what_the_hash_holds_already(redis_server, account) -> None:
    account.balance("EUR", "1000.00", "5.00")
    account.order("o1", "open", "0.4")
    account.order("o2", "filled", "1.0")
    account.fill("0.25")
    account.position("long", "2")
    asyncio.run(settle(redis_server, account))
    with service("--redis", redis_server.url) as wallets:  # nothing changes any more
        rows = [json.loads(wallets.stdout.readline()) for _ in range(4)]
    assert all(row["known"] is True and row["account"] == "main" for row in rows)
    assert [row["type"] for row in rows] == ["balance", "fill", "order", "position"]
    assert (rows[0]["currency"], rows[0]["available"]) == ("EUR", "1000.00")
    assert (rows[2]["order_id"], rows[2]["filled"]) == ("o1", "0.4")
    assert (rows[3]["pair"], rows[3]["side"], rows[3]["size"]) == ("BTC-PERP", "long", "2")
    assert not any(type(value) in (int, float) for row in rows for value in row.values())
    lines = as_known(StreamKey("limitlex", "main", Channel.FILLS), account.hash(), as_json=False)
    assert [" ".join(line.split()) for line in lines] == [
        "limitlex:main balances EUR 1000.00 available, 5.00 reserved",
        "limitlex:main fills buy 0.25 BTC-EUR at 7994.50",
        "limitlex:main orders buy 0.4/1.0 BTC-EUR at 7994.50: open",
        "limitlex:main positions long 2 BTC-PERP from 1",
    ]


def test_a_hash_of_an_earlier_version_or_of_nobodys_is_no_obstacle() -> None:
    stream = StreamKey("limitlex", "main", Channel.FILLS)
    old = {
        "balance:EUR": '{"available":"1","reserved":"0","ts":null,"recv":1795302561793684206}',
        "balance:X": "[]",
        "order:1": "broken",
        "position:A": "{}",
        "odd": "1",
    }
    [row] = map(json.loads, as_known(stream, old, as_json=True))
    assert row["recv"] == "1795302561793684206"


def test_no_redis_exits_with_2_and_a_wrong_argument_with_1(capsys, monkeypatch) -> None:
    port = free_port()
    monkeypatch.setenv("TICKBRIDGE_REDIS__URL", f"redis://:hunter2@127.0.0.1:{port}/0")
    assert main([]) == 2
    error = capsys.readouterr().err
    assert f"wallets: Redis at redis://127.0.0.1:{port}/0" in error
    assert "hunter2" not in error
    with pytest.raises(SystemExit) as exited:
        main(["--nonsense"])
    assert exited.value.code == 1


async def test_on_a_terminal_each_change_is_a_line(redis_server, account) -> None:
    account.balance("EUR", "1000.00", "5.00")
    account.order("o1", "open")
    account.fill("0.25")
    account.fill("0.75", pair="")
    account.position("", "0")
    account.streams[Channel.FILLS].control("gap", "sequence")
    account.streams[Channel.FILLS].seq += 2
    account.fill()
    starts = dict.fromkeys((stream.key for stream in account.streams.values()), "0")
    async with Reader(redis_server.url, starts) as reader:
        lines = [as_text(item) for item in await gather(reader, 8)]
    assert {line.split()[0] for line in lines} == {"limitlex:main"}
    text = "\n".join(lines)
    for words in (
        "balances  EUR 1000.00 available, 5.00 reserved",
        "orders    buy 0/1.0 BTC-EUR at 7994.50: open",
        "fills     buy 0.25 BTC-EUR at 7994.50",
        "fills     buy 0.75 at 7994.50",
        "positions flat 0 BTC-PERP from 1",
        "fills     gap sequence",
        "fills     hole: entries are missing",
    ):
        assert words in text
