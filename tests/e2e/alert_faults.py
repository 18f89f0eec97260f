"""A real fault for every alert, and what the runbook says to do about it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import redis

from tests.e2e.alert_world import World
from tests.e2e.harness import eventually
from tests.servers import free_port

__all__ = ["FAULTS", "PAIRS", "Fault"]

BOOK, OTHER_BOOK = "md:{lmex:BTC-PERP}:book", "md:{lmex:BTC-USD}:book"
LMEX = {"exchange": "lmex", "connector": "lmex"}
LONG = 3600
"""Seconds: until it is cleared."""


class Fault(NamedTuple):
    """Goes wrong in a ``world``, fires ``alerts``, and is put right by the steps of their pages."""

    world: str
    alerts: tuple[str, ...]
    happen: Callable[[World], None]


PAIRS = {
    "exchange": ["BTC-USD", "ETH-USD", "BTC-PERP", "ETH-PERP"],
    "redis": ["BTC-USD", "BTC-PERP"],
}
"""World → the pairs of its connector."""
FAULTS: list[Fault] = []
"""In the order in which they happen."""


def fault(world: str, *alerts: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    def register(happen: Callable[[World], None]) -> Callable[[World], None]:
        FAULTS.append(Fault(world, tuple(f"Tickbridge{alert}" for alert in alerts), happen))
        return happen

    return register


@fault("exchange", "StreamsDown")
def a_pair_that_the_exchange_does_not_list(world: World) -> None:
    pairs = world.settings["pairs"]
    world.restart(pairs=[*pairs, "XRP-USD"])
    for channel in ("trades", "book", "quotes", "ticker"):
        world.alerting.fires("TickbridgeStreamsDown", **LMEX, channel=channel)
    assert any("no pair XRP-USD" in each for each in world.degraded())
    code, listed = world.command("pairs", "lmex", "--rest-url", world.settings["rest_url"])
    assert code == 0
    assert "BTC-USD" in listed
    assert "XRP-USD" not in listed
    world.restart(pairs=pairs)
    world.alerting.resolved("TickbridgeStreamsDown")


@fault("exchange", "Rejects")
def frames_that_are_cut_in_half(world: World) -> None:
    world.fault("corrupt", every=0.3)
    world.alerting.fires("TickbridgeRejects", **LMEX)
    rejects = world.client.xrevrange("bridge:rejects:lmex", count=5)
    assert len(rejects) == 5
    assert all(fields["error"] and fields["raw"] for _, fields in rejects)
    world.clear()
    world.alerting.resolved("TickbridgeRejects", **LMEX)


@fault("exchange", "Gaps")
def deltas_that_are_left_out(world: World) -> None:
    world.fault("gap", every=0.5)
    world.alerting.fires("TickbridgeGaps", **LMEX, channel="book")
    eventually(lambda: world.logged("book_resync"), "books that are mended")
    assert world.metric("tickbridge_event_loop_lag_seconds") < 1, "not our own slowness"
    world.clear()
    world.alerting.resolved("TickbridgeGaps", **LMEX)


@fault("exchange", "Reconnects")
def connections_that_do_not_last(world: World) -> None:
    world.fault("cut", every=1)
    world.alerting.fires("TickbridgeReconnects", **LMEX)
    assert world.metric("tickbridge_ws_reconnects_total", reason="closed") > 0
    world.clear()
    world.alerting.resolved("TickbridgeReconnects", **LMEX)


@fault("exchange", "Refused")
def a_log_in_that_is_refused(world: World) -> None:
    world.fault("refuse_login", count=LONG)
    world.fault("cut", sockets="private")
    world.alerting.fires("TickbridgeRefused", **LMEX, kind="login_refused")
    world.clear()
    world.alerting.resolved("TickbridgeRefused", **LMEX)


@fault("exchange", "FeedDown")
def an_exchange_that_takes_no_connections(world: World) -> None:
    world.fault("refuse", status=503, duration=LONG)
    world.fault("cut")
    world.alerting.fires("TickbridgeFeedDown", **LMEX)
    eventually(lambda: any("503" in str(line) for line in world.logged("connect_failed")), "the reason in the log")
    code, said = world.check()
    assert code == 2
    assert "503" in said
    world.clear()
    world.alerting.resolved("TickbridgeFeedDown", **LMEX)


@fault("exchange", "FeedStale")
def a_subscription_that_falls_silent(world: World) -> None:
    world.fault("mute", pair="BTC-PERP", every=0.3)
    world.alerting.fires("TickbridgeFeedStale", **LMEX, channel="book")
    assert any(line["pair"] == "BTC-PERP" for line in world.logged("stale"))
    world.clear()
    world.alerting.resolved("TickbridgeFeedStale", **LMEX)


@fault("exchange", "BookInvalid")
def snapshots_that_do_not_come(world: World) -> None:
    world.fault("no_snapshot", duration=LONG)
    world.fault("cut")
    world.alerting.fires("TickbridgeBookInvalid", **LMEX)
    assert not any("Redis" in each for each in world.missing())
    eventually(lambda: any(row["awaiting_snapshot"] for row in world.status()), "the books that wait")
    world.clear()
    world.alerting.resolved("TickbridgeBookInvalid", **LMEX)


@fault("exchange", "FeedLatencyHigh", "FeedLatencyCreeping")
def messages_that_come_late(world: World) -> None:
    """An hour ago all was well: two minutes ago, here."""
    world.fault("delay", seconds=4, duration=LONG)
    world.alerting.fires("TickbridgeFeedLatencyHigh", **LMEX, channel="trades")
    world.alerting.fires("TickbridgeFeedLatencyCreeping", **LMEX, channel="trades")
    assert abs(world.metric("tickbridge_clock_error_seconds")) < 1, "not the clock"
    assert world.metric("tickbridge_event_loop_lag_seconds") < 1, "not our own slowness"
    world.clear()
    world.alerting.resolved("TickbridgeFeedLatencyHigh", **LMEX)
    world.alerting.resolved("TickbridgeFeedLatencyCreeping", **LMEX)


@fault("redis", "ConnectorGone")
def a_connector_that_is_killed(world: World) -> None:
    world.connector.kill()
    world.alerting.fires("TickbridgeConnectorGone", **LMEX)
    assert not world.alive()
    world.start()
    world.alerting.resolved("TickbridgeConnectorGone", **LMEX)


@fault("redis", "ConnectorFailed")
def a_key_that_holds_something_else(world: World) -> None:
    """The connector of this stream fails; another one in its process goes on. Both stay until the end."""
    key, port = "md:{lmex:ETH-PERP}:trades", free_port()
    world.client.set(key, "a string")
    good = {**world.settings, "name": "good", "pairs": ["ETH-USD"], "channels": ["trades"]}
    good.pop("account")
    bad = {**good, "name": "bad", "pairs": ["ETH-PERP"]}
    process = world.process({**world.config, "connectors": [good, bad]}, port)
    world.alerting.watch(port)
    world.alerting.fires("TickbridgeConnectorFailed", exchange="lmex", connector="bad")
    failure = process.wait_for('"connector_failed"')
    assert key in failure
    assert "retry_in" in failure
    world.client.delete(key)
    world.alerting.resolved("TickbridgeConnectorFailed", exchange="lmex", connector="bad")
    assert process.running


@fault("redis", "RedisDown", "ConsumerRedisDown", "BufferFilling", "EventsLost")
def a_redis_that_is_stopped(world: World) -> None:
    world.server.stop()
    world.alerting.fires("TickbridgeRedisDown", **LMEX)
    world.alerting.fires("TickbridgeConsumerRedisDown", service="books")
    eventually(lambda: any("Redis" in each for each in world.missing()), "Redis' words in /readyz")
    eventually(lambda: world.logged("redis_lost") or world.logged("redis_unavailable"), "and in the log")
    code, said = world.check()
    assert code == 2
    assert "Redis" in said
    world.alerting.fires("TickbridgeBufferFilling", **LMEX)
    world.server.start()
    # What is dropped is counted when it is declared in the streams, once Redis is back.
    told = world.alerting.fires("TickbridgeEventsLost", **LMEX)
    assert told["labels"]["reason"] in ("buffer_full", "redis_away")
    for alert in ("RedisDown", "BufferFilling", "EventsLost"):
        world.alerting.resolved(f"Tickbridge{alert}", **LMEX)
    world.alerting.resolved("TickbridgeConsumerRedisDown", service="books")


@fault("redis", "RedisMemory")
def a_redis_that_is_nearly_full(world: World) -> None:
    used = int(world.client.info("memory")["used_memory"])
    world.client.config_set("maxmemory", int(used * 1.1))
    world.alerting.fires("TickbridgeRedisMemory", **LMEX)
    assert world.client.memory_usage(BOOK) > 0
    world.client.config_set("maxmemory", used * 100)
    world.alerting.resolved("TickbridgeRedisMemory", **LMEX)


@fault("redis", "PublishLatencyHigh")
def a_redis_that_is_busy_with_something_else(world: World) -> None:
    with slow_commands(world.server.client):
        world.alerting.fires("TickbridgePublishLatencyHigh", **LMEX)
        assert any(b"DEBUG" in entry["command"].upper() for entry in world.client.slowlog_get(20))
    world.alerting.resolved("TickbridgePublishLatencyHigh", **LMEX)


@contextlib.contextmanager
def slow_commands(client: Callable[[], contextlib.AbstractContextManager[redis.Redis]]) -> Iterator[None]:
    """Somebody gives the server commands that take longer than a third of a second, one after the other."""
    ended = threading.Event()

    def go() -> None:
        with client() as own:
            while not ended.wait(0.1):
                own.execute_command("DEBUG", "SLEEP", "0.35")

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@fault("redis", "ConsumerGone")
def a_consumer_that_is_killed(world: World) -> None:
    world.books.kill()
    world.alerting.fires("TickbridgeConsumerGone", service="books")
    assert not world.alive("books")
    world.start_books()
    world.alerting.resolved("TickbridgeConsumerGone", service="books")


@fault("redis", "ConsumerBehind")
def a_consumer_behind_a_narrow_line(world: World) -> None:
    """It is given fewer streams, and keeps up."""
    world.narrow(8000)
    world.alerting.fires("TickbridgeConsumerBehind", service="books", exchange="lmex", channel="book")
    assert world.books.stop() == 0
    world.narrow(None)
    world.start_books("BTC-USD")
    world.alerting.resolved("TickbridgeConsumerBehind", service="books")
    assert world.books.stop() == 0
    world.start_books()


@fault("redis", "ConsumerGaps", "LoopLag")
def processes_that_are_stopped_for_a_while(world: World) -> None:
    """Meanwhile entries that the consumer has not read are deleted and trimmed."""
    with world.frozen(world.books, 3):
        for key in (BOOK, OTHER_BOOK):
            length = world.client.xlen(key)
            eventually(lambda key=key, length=length: world.client.xlen(key) > length + 10, "more entries")
        world.client.xdel(BOOK, world.client.xrevrange(BOOK, count=3)[-1][0])
        world.client.xtrim(OTHER_BOOK, maxlen=2, approximate=False)
    with world.frozen(world.connector, 3):
        eventually(lambda: not world.alive(), "a process that is stopped")
    for process in (world.books, world.connector):
        world.alerting.fires("TickbridgeLoopLag", instance=world.instance(process))
    for kind in ("hole", "trimmed"):
        world.alerting.fires("TickbridgeConsumerGaps", service="books", kind=kind)
    world.alerting.resolved("TickbridgeConsumerGaps", service="books")
    world.alerting.resolved("TickbridgeLoopLag")


@fault("redis", "StandbyMissing")
def a_standby_that_is_not_there(world: World) -> None:
    """The last one: without a service manager, a writer that is displaced while Redis is away stays away."""
    double = {**world.settings, "name": "double", "pairs": ["ETH-USD"], "channels": ["book"], "standby": True}
    double.pop("account")
    config, ports = {**world.config, "connectors": [double]}, (free_port(), free_port())
    world.process(config, ports[0])
    world.alerting.watch(ports[0])
    world.alerting.fires("TickbridgeStandbyMissing", exchange="lmex", connector="double")
    assert not world.client.exists("bridge:connector:double:standby")
    world.process(config, ports[1])
    world.alerting.watch(ports[1])
    world.alerting.resolved("TickbridgeStandbyMissing", exchange="lmex", connector="double")
    assert world.client.hget("bridge:connector:double:standby", "state") == "standby"
