"""What an exchange does to its clients: the streams say so, and the books come right again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Bench
from tests.e2e.harness import eventually
from tests.e2e.observing import check_streams, controls, flowing, heartbeat, settled, stopped

BOOK = "md:{limitlex:BTC-EUR}:book"
TRADES = "md:{limitlex:BTC-EUR}:trades"


@pytest.mark.parametrize(
    ("fault", "fields", "said"),
    [
        ("cut", {}, (TRADES, "down")),
        ("close", {}, (BOOK, "down")),
        ("corrupt", {"type": "last_trade"}, (TRADES, "gap")),
        ("drop", {"type": "order_book", "count": 20}, (BOOK, "gap")),
        ("duplicate", {"type": "order_book"}, None),
        ("unknown", {}, None),
    ],
    ids=["cut", "close", "corrupt", "drop", "duplicate", "unknown"],
)
def test_a_fault(fault: str, fields: dict[str, Any], said: tuple[str, str] | None, bench: Bench) -> None:
    simulated = bench.simulate(rate=600)
    connector = bench.run(options={"resnapshot": "6s", "mismatch": "500ms"})
    client = bench.client
    flowing(client, 300)
    simulated.fault(fault, pair="BTC-EUR", **fields)
    eventually(lambda: fault in simulated.state()["faults_done"], "the fault")
    if fault == "drop":
        simulated.pause()  # later changes of the same levels would cover up what is missing
    if said:
        eventually(lambda: said[1] in controls(client, said[0]), f"{said[1]} in {said[0]}")
    else:
        flowing(client, heartbeat(client)["published"] + 300)
        assert controls(client, TRADES) == ["live"]
    settled(client, simulated)
    check_streams(client, simulated)
    counts = stopped(client, connector)
    # The account's own connection lists the pair too, so it gets the fault as well.
    assert bool(counts["rejected"]) == (fault == "corrupt")
    assert bool(counts["unknown"]) == (fault == "unknown")


def test_a_frozen_exchange_is_down_and_comes_back(bench: Bench) -> None:
    """Mute: pongs come, data doesn't; the silence limit says so."""
    simulated = bench.simulate(rate=600)
    connector = bench.run(silence={"book": "1s"}, options={"resnapshot": 600})
    client = bench.client
    flowing(client, 300)
    simulated.fault("mute", pair="BTC-EUR", duration=4)
    eventually(lambda: "stale" in controls(client, BOOK), "stale")
    eventually(lambda: controls(client, BOOK)[-1] == "live", "live again")
    settled(client, simulated)
    check_streams(client, simulated)
    stopped(client, connector)


def test_a_refusing_exchange(bench: Bench) -> None:
    simulated = bench.simulate(rate=600)
    connector = bench.run()
    client = bench.client
    flowing(client, 300)
    simulated.fault("refuse", duration=2)
    simulated.fault("cut")
    eventually(lambda: all("down" in controls(client, f"md:{{limitlex:{p}}}:book") for p in simulated.pairs), "down")
    eventually(
        lambda: all(controls(client, f"md:{{limitlex:{p}}}:book")[-1] == "live" for p in simulated.pairs), "live again"
    )
    settled(client, simulated)
    check_streams(client, simulated)
    assert stopped(client, connector)["gaps"] == 0


def test_rejected_frames_are_kept(bench: Bench) -> None:
    simulated = bench.simulate()
    bench.run()
    client = bench.client
    flowing(client, 100)
    simulated.fault("corrupt", pair="ETH-EUR")

    def rejects() -> list[dict[str, str]]:
        return [f for _, f in client.xrange("bridge:rejects:limitlex") if f["connection"] == "ETH-EUR"]

    eventually(rejects, "a rejected frame")
    [fields] = rejects()
    assert fields["raw"]
    assert "limitlex" in fields["error"]


def test_tokens_expire(bench: Bench) -> None:
    """The private connection is replaced before its token's end, and nothing of the account is missed."""
    simulated = bench.simulate("--token-lifetime", "3", "--cut-expired", rate=600)
    connector = bench.run()
    client = bench.client
    eventually(lambda: connector.output.count("the token expires") >= 3, "three renewals")
    settled(client, simulated)
    assert controls(client, "acct:{limitlex:main}:fills") == ["live"]
    account = simulated.account("main")
    for subject, true in account.items():
        entries = client.xrange(f"acct:{{limitlex:{subject}}}:fills")
        fills = [(f["side"], f["price"], f["size"]) for _, f in entries if f["type"] == "fill"]
        assert fills
        assert fills == [(f["side"], f["price"], f["size"]) for f in true["fills"][-len(fills) :]], subject


def test_a_dead_peer(bench: Bench) -> None:
    """Freeze: the socket stays open, and not even pongs come."""
    simulated = bench.simulate(rate=600)
    connector = bench.run(ping_interval="500ms", dead_after="2s")
    client = bench.client
    flowing(client, 300)
    simulated.fault("freeze", duration=60)
    eventually(
        lambda: all(controls(client, f"md:{{limitlex:{p}}}:book").count("live") == 2 for p in simulated.pairs),
        "live again",
    )
    [reason] = [f["reason"] for _, f in client.xrange(TRADES) if f.get("event") == "down"]
    assert reason == "no frame for 2 s"
    settled(client, simulated)
    check_streams(client, simulated)
    stopped(client, connector)
