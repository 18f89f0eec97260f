"""Laying what a standby has received over what the writer has left in the stream."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec import structs

from bridge.model import Channel, Control, ControlEvent, Fill, Trade
from bridge.sequencer import OVERLAP
from bridge.sequencer.splice import splice
from tests.unit.splicing import START, S, Standby

CUT_OFF = "the connector was cut off, and its standby"


def trade(at: float, price: str, ident: str = "") -> Trade:
    recv = START + int(at * S)
    return Trade("A-B", recv // S * S, recv, ident, "buy", price, "1")


def live(at: float = 0) -> Control:
    return Control("A-B", None, START + int(at * S), Channel.TRADES, ControlEvent.LIVE)


def later(events: list[Trade], ns: int) -> list[Trade]:
    """The same events, as received by another process."""
    return [Trade(e.subject, e.ts, e.recv + ns, e.id, e.side, e.price, e.size) for e in events]


@pytest.mark.parametrize("prices", [1, 2, 5, 1000])
@pytest.mark.parametrize("seed", range(10))
def test_two_parts_of_one_feed_meet_wherever_they_end(prices: int, seed: int) -> None:
    """Trades without ids, many of which are alike."""
    chance = random.Random(seed)
    feed = [trade(place * 0.05, str(chance.randrange(prices))) for place in range(300)]
    topic = Standby(Channel.TRADES).topic
    for _ in range(50):
        written_from, received_from = sorted(chance.randrange(200) for _ in range(2))
        written_to, received_to = (chance.randrange(received_from + 20, 300) for _ in range(2))
        written = later(feed[written_from:written_to], chance.randrange(10_000_000))
        received = feed[received_from:received_to]
        found = splice(written, received, topic.identity, received[0].recv)
        assert [received[place] for place in sorted(found.fresh)] == feed[written_to:received_to]
        assert [e.price for e in found.ahead] == [e.price for e in feed[received_to:written_to]]
        assert not found.unclear


def test_records_that_differ_further_back_do_not_repeat_the_last_event() -> None:
    """The writer missed events, went on for a few, and was cut off; the standby received the last one a little later."""
    topic = Standby(Channel.TRADES).topic
    feed = [trade(place * 0.3, str(place)) for place in range(12)]
    written = [*feed[:3], *feed[6:10]]
    found = splice(written, later(feed, 3_000_000), topic.identity, START)
    assert sorted(found.fresh) == [10, 11]
    assert found.last == 9
    assert found.unclear


def test_events_with_ids_may_come_in_another_order() -> None:
    topic = Standby(Channel.TRADES).topic
    one, two, three, four = (trade(place, str(place), f"t{place}") for place in range(4))
    found = splice([one, three], [one, two, three, four], topic.identity, START)
    assert sorted(found.fresh) == [1, 3]
    assert not found.unclear


def test_what_is_written_and_not_yet_received_comes_later_and_is_dropped() -> None:
    standby = Standby(Channel.TRADES)
    feed = [trade(place * 0.1, str(place % 3)) for place in range(40)]
    standby.take(*feed[:30])
    written = [live(), *later(feed[:36], 1_000_000)]
    assert standby.succeed(written, alive=feed[35].recv, now=feed[29].recv) == []
    standby.take(*feed[30:])
    assert standby.said() == feed[36:]
    assert standby.topic.received - standby.topic.withheld == 4


@pytest.mark.parametrize("held", [10, 30, 0.0])
@pytest.mark.parametrize("hangs", [3, 8, 20])
def test_a_connection_that_hangs_brings_later_what_is_written(held: float, hangs: float) -> None:
    """The standby's connection has brought nothing for a while, and then brings everything at once."""
    standby = Standby(Channel.TRADES)
    feed = [trade(place * 0.1, str(place % 3)) for place in range(500)]
    standby.window.put(standby.stream, live())
    stuck, killed = 200, 200 + int(hangs * 10)
    standby.take(*feed[:stuck])
    standby.window.forget(feed[stuck - 1].recv - int(held * S) + 1)
    begin = max(0, stuck - 45)  # as far back as the tail is read
    written = [live(), *later(feed[begin:killed], 1_000_000)]
    assert standby.succeed(written, alive=feed[killed - 3].recv, now=feed[killed].recv) == []
    at = feed[killed + 20].recv
    standby.take(*[Trade(e.subject, e.ts, at, e.id, e.side, e.price, e.size) for e in feed[stuck : killed + 20]])
    standby.take(*feed[killed + 20 :])
    prices = [event.price for event in standby.said()]
    assert prices == [event.price for event in feed[killed:]]


@pytest.mark.parametrize("reread", [True, False], ids=["told again", "not"])
@pytest.mark.parametrize("ids", [True, False], ids=["with ids", "without ids"])
def test_what_a_standby_that_was_frozen_has_received_is_older_than_it_seems(reread: bool, ids: bool) -> None:
    """It was stopped, and then got at once what had come until its connection hung: that has the time of its receipt."""
    standby = Standby(Channel.TRADES)
    standby.window.put(standby.stream, live())
    feed = [trade(place * 0.2, str(place % 7), f"t{place}" * ids) for place in range(400)]
    frozen, hangs, killed, now = 50, 58, 88, START + 18 * S
    woken = feed[killed - 5].recv
    standby.take(*feed[20:frozen])
    standby.take(*[structs.replace(event, recv=woken) for event in feed[frozen:hangs]])
    written = [live(), *feed[25:killed]]
    assert standby.succeed(written, alive=feed[killed - 3].recv, now=now, reread=reread) == []
    standby.take(*[structs.replace(event, recv=now + S) for event in feed[hangs : killed + 10]])
    standby.take(*feed[killed + 10 :])
    assert [event.ts for event in standby.said()] == [event.ts for event in feed[killed:]]


def test_where_the_records_differ_what_only_the_writer_has_is_still_to_come() -> None:
    standby = Standby(Channel.TRADES)
    feed = [trade(place * 0.3, str(place)) for place in range(30)]
    standby.take(*feed[:8], trade(2.5, "which the writer has not received"))
    written = [live(), *feed[:7], trade(2.2, "which the standby has not received"), *feed[8:20]]
    assert standby.succeed(written, alive=feed[19].recv, now=feed[20].recv) == ["gap"]
    standby.take(*[structs.replace(event, recv=feed[21].recv) for event in feed[8:]])
    assert standby.said()[1:] == [structs.replace(event, recv=feed[21].recv) for event in feed[20:]]


def test_what_was_fetched_again_does_not_tell_that_nothing_was_missed() -> None:
    """A standby was cut off; once it was connected, it fetched what the writer had written. The writer wrote nothing more."""
    standby = Standby(Channel.FILLS)
    fills = [Fill("main", None, START + n * S, str(n), "1", "A-B", "buy", "1", "1", "0", "A") for n in range(22)]
    standby.topic.go_live(START)
    standby.take(*fills[1:9])
    standby.topic.down(START + 9 * S, "connection broken")
    fetched = START + 20 * S
    standby.take(*[structs.replace(fill, recv=fetched) for fill in [*fills[6:14], *fills[15:18]]])
    begun = Control("main", None, START, Channel.FILLS, ControlEvent.LIVE)
    said = standby.succeed([begun, *fills[1:14]], alive=START + 13 * S, now=START + 21 * S)
    assert said[:2] == ["down", "live"]
    assert [fill.fill_id for fill in said[2:]] == ["15", "16", "17"]


def test_what_one_connection_fetched_again_does_not_make_older_what_another_brought() -> None:
    """An account has two; one of them was down for longer, and fetched much that is written."""
    standby = Standby(Channel.FILLS)
    times = [START + n * S for n in range(22)]
    fills = [Fill("main", at, at, str(n), "1", "A-B", "buy", "1", "1", "0", "A") for n, at in enumerate(times)]
    standby.topic.go_live(START)
    standby.topic.down(START + 5 * S, "connection broken")
    standby.take(structs.replace(fills[14], recv=times[15]), fills[16])
    standby.take(*[structs.replace(fill, recv=times[20]) for fill in fills[6:14]])
    begun = Control("main", None, START, Channel.FILLS, ControlEvent.LIVE)
    said = standby.succeed([begun, *fills[4:14]], alive=times[13], now=times[21])
    assert [fill.fill_id for fill in said if isinstance(fill, Fill)] == ["14", "16"]


def test_what_the_writer_did_not_write_follows() -> None:
    standby = Standby(Channel.TRADES)
    feed = [trade(place * 0.1, str(place % 3)) for place in range(40)]
    standby.take(*feed)
    assert standby.succeed([live(), *feed[:33]], alive=feed[32].recv, now=feed[39].recv) == feed[33:]
    assert standby.topic.received - standby.topic.withheld == 7


def test_a_quiet_stream_has_no_gap() -> None:
    standby = Standby(Channel.TRADES)
    standby.take(trade(0, "1"))
    standby.window.forget(START + 30 * S)
    assert standby.succeed([live(), trade(0, "1")], alive=START + 60 * S, now=START + 61 * S) == []


def test_a_standby_that_came_too_late_says_that_something_may_be_missing() -> None:
    standby = Standby(Channel.TRADES)
    fresh = trade(9.5, "2")
    standby.take(fresh)  # live since then, when the writer may be dead already
    assert standby.succeed([live(), trade(0, "1")], alive=START + 10 * S, now=START + 11 * S) == ["gap", fresh]


def test_a_standby_that_is_live_after_the_writer_was_gone_says_that_the_stream_was_down() -> None:
    standby = Standby(Channel.TRADES)
    fresh = trade(10.5, "2")
    standby.take(fresh)
    said = standby.succeed([live(), trade(0, "1")], alive=START + 10 * S, now=START + 11 * S)
    assert said == ["down", "live", fresh]


def test_what_was_let_go_and_is_not_written_is_a_gap() -> None:
    standby = Standby(Channel.TRADES, most=2_000)
    feed = [trade(place * 0.5, str(place)) for place in range(40)]
    standby.take(*feed)
    said = standby.succeed([live(), feed[0]], alive=feed[1].recv, now=feed[39].recv)
    assert said[0] == "gap"
    assert said[1:] == feed[-len(said[1:]) :]


@pytest.mark.parametrize("ids", [True, False])
def test_what_was_let_go_shortly_after_the_newest_written_is_a_gap(ids: bool) -> None:
    """Redis was set back by a failover, to less than a second before it."""
    standby = Standby(Channel.TRADES)
    feed = [trade(place * 0.4, str(place), f"t{place}" * ids) for place in range(60)]
    standby.window.put(standby.stream, live())
    standby.take(*feed[:30])
    standby.window.forget(feed[21].recv)
    written = [live(), *feed[:19]]
    assert standby.succeed(written, alive=feed[29].recv, now=feed[29].recv)[0] == "gap"


def test_what_was_let_go_and_told_again_is_written_before() -> None:
    standby = Standby(Channel.TRADES)
    feed = [trade(place, str(place), f"t{place}") for place in range(60)]
    standby.window.put(standby.stream, live())
    standby.take(*feed[:30], *[structs.replace(event, recv=feed[30].recv) for event in feed[20:22]], *feed[40:45])
    standby.window.forget(feed[35].recv)
    assert standby.succeed([live(), *feed[27:45]], alive=feed[44].recv, now=feed[45].recv) == []


def test_a_standby_that_is_not_connected_says_so() -> None:
    standby = Standby(Channel.TRADES)
    assert standby.succeed([live(), trade(0, "1")], alive=START, now=START + S) == ["down"]
    assert standby.sink.entries[0].reason.startswith(CUT_OFF)


def test_a_stream_that_was_down_is_live_again_with_its_standby() -> None:
    standby = Standby(Channel.TRADES)
    feed = [trade(place, str(place)) for place in range(9)]
    standby.take(*feed)
    down = Control("A-B", None, feed[4].recv, Channel.TRADES, ControlEvent.DOWN, "closed")
    said = standby.succeed([live(), *feed[:5], down], alive=feed[8].recv, now=feed[8].recv)
    assert said == ["live", *feed[5:]]


def test_a_stream_that_has_data_and_is_down_is_live_again_with_its_standby() -> None:
    """One of an account's two connections was down; what came over the other does not make the stream live."""
    standby = Standby(Channel.FILLS)
    fills = [Fill("main", None, START + n * S, str(n), "1", "A-B", "buy", "1", "1", "0", "A") for n in range(6)]
    standby.take(*fills)
    states = [Control("main", None, START, Channel.FILLS, event) for event in (ControlEvent.LIVE, ControlEvent.DOWN)]
    assert standby.succeed([*states, *fills[:4]], alive=fills[4].recv, now=fills[5].recv) == ["live", *fills[4:]]


@pytest.mark.parametrize("down", [True, False])
def test_the_catalog_says_whether_a_stream_is_down_whose_newest_entries_do_not(down: bool) -> None:
    standby = Standby(Channel.FILLS)
    fills = [Fill("main", None, START + n * S, str(n), "1", "A-B", "buy", "1", "1", "0", "A") for n in range(6)]
    standby.take(*fills)
    said = standby.succeed(fills[:4], alive=fills[4].recv, now=fills[5].recv, down=down)
    assert said == ["live"] * down + fills[4:]


def test_what_a_standby_missed_is_told_where_redis_has_lost_what_the_writer_wrote() -> None:
    """Its connection was down while the writer lived; of both, Redis has nothing any more."""
    standby = Standby(Channel.FILLS)
    fills = [Fill("main", None, START + n * S, str(n), "1", "A-B", "buy", "1", "1", "0", "A") for n in range(6)]
    standby.topic.go_live(START - S)
    standby.take(*fills[:2])
    standby.topic.down(START + 2 * S, "cut off")
    standby.topic.go_live(START + 3 * S)
    standby.take(*fills[4:])
    said = standby.succeed([], alive=START + 5 * S, now=START + 6 * S)
    assert said == ["live", *fills[:2], "down", "live", *fills[4:]]


def test_the_connections_of_the_standby_while_the_writer_wrote_are_not_told() -> None:
    standby = Standby(Channel.TRADES)
    feed = [trade(place * 0.5, str(place)) for place in range(20)]
    standby.take(*feed[:5])
    standby.topic.down(feed[5].recv, "closed")
    standby.take(*feed[7:14])
    standby.topic.down(feed[16].recv, "closed again")
    standby.take(feed[19])
    said = standby.succeed([live(), *feed[:12]], alive=feed[11].recv, now=feed[19].recv)
    assert said == [*feed[12:14], "down", "live", feed[19]]


def test_the_window_keeps_its_limit_and_lets_the_oldest_go() -> None:
    standby = Standby(Channel.TRADES, most=50_000)
    feed = [trade(place, str(place)) for place in range(1_000)]
    standby.take(*feed)
    assert 40_000 < standby.window.bytes <= 50_000
    held = standby.window.release(standby.stream)
    assert list(held.events) == feed[-len(held.events) :]
    assert standby.window.bytes == 0
    assert held.said is not None
    assert held.said.event == ControlEvent.LIVE
    assert held.received == 1_000


def test_the_overlap_is_longer_than_connections_differ() -> None:
    assert OVERLAP >= 4 * S


def ids(count: int) -> list[Trade]:
    return [trade(place * 0.1, str(place % 7), f"t{place}") for place in range(count)]


def read(written: list[Trade]) -> list[Any]:
    """What is read of a stream when a standby takes over."""
    return [live(), *(event for event in written if event.recv >= written[-1].recv - OVERLAP)]


@pytest.mark.parametrize("with_ids", [True, False])
@pytest.mark.parametrize("seconds", [1, 3, 5])
def test_a_writer_that_was_late_loses_nothing(seconds: int, *, with_ids: bool) -> None:
    """It was slow before it died: its times of receipt are later than the standby's."""
    standby = Standby(Channel.TRADES)
    feed = ids(200) if with_ids else [trade(place * 0.1, str(place % 7)) for place in range(200)]
    standby.take(*feed)
    written = later(feed[: 190 - 10 * seconds], seconds * S)
    assert standby.succeed(read(written), alive=written[-1].recv, now=feed[-1].recv) == feed[len(written) :]


@pytest.mark.parametrize("seconds", [1, 3])
def test_a_standby_that_is_late_repeats_nothing(seconds: int) -> None:
    standby = Standby(Channel.TRADES)
    feed = ids(200)
    mine = later(feed, seconds * S)
    standby.take(*mine[: 190 - 10 * seconds])
    assert standby.succeed(read(feed[:190]), alive=feed[189].recv, now=feed[189].recv) == []
    standby.take(*mine[190 - 10 * seconds :])
    assert standby.said() == mine[190:]


def test_records_that_have_nothing_in_common_are_a_gap() -> None:
    """The writer was later than the window goes back."""
    standby = Standby(Channel.TRADES)
    feed = ids(300)
    standby.take(*feed)
    standby.window.forget(feed[150].recv)
    written = later(feed[:100], 12 * S)
    assert standby.succeed(read(written), alive=written[-1].recv, now=feed[-1].recv)[0] == "gap"


def test_a_writer_that_was_stuck_and_died_as_it_went_on_loses_nothing() -> None:
    standby = Standby(Channel.TRADES)
    feed = ids(200)
    standby.take(*feed)
    burst = [Trade(e.subject, e.ts, feed[170].recv, e.id, e.side, e.price, e.size) for e in feed[120:140]]
    written = [live(), *burst]  # what it has written before is older than what is read
    assert standby.succeed(written, alive=feed[170].recv, now=feed[-1].recv) == feed[140:]
