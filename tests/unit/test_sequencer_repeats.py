from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bridge.model import Channel, Control, ControlEvent, Fill, Liquidation
from tests.unit.core import PAIR, SECOND, T0, Rig, trade


class TestIds:
    def test_an_id_stands_once(self):
        rig = Rig(Channel.TRADES)
        for ident in ("a", "b", "a", "c", "b"):
            rig.topic.accept(trade(1, ident))
        assert [e.id for e in rig.sink.data] == ["a", "b", "c"]
        assert (rig.topic.received, rig.topic.repeated) == (3, 2)

    def test_a_fill_stands_once(self):
        rig = Rig(Channel.FILLS)
        fill = Fill("main", T0, T0, "f1", "o1", PAIR, "buy", "10", "1", "", "")
        rig.topic.accept(fill)
        rig.topic.accept(fill)
        assert len(rig.sink.data) == 1

    def test_liquidations_by_their_ids_or_else_by_what_they_say(self):
        """Two like ones at one moment are two; of a connection that takes over, each stands once."""
        rig = Rig(Channel.LIQUIDATIONS)
        named = Liquidation(PAIR, T0, T0, "l1", "sell", "10", "1")
        bare = Liquidation(PAIR, T0, T0 + SECOND, "", "sell", "10", "1")
        inverse = [Liquidation(PAIR, T0, T0 + SECOND, "", "sell", "10", "", contracts=str(n)) for n in (100, 200)]
        for event in (named, named, bare, bare, *inverse):
            rig.topic.accept(event)
        assert rig.sink.data == [named, bare, bare, *inverse]
        rig.topic.reopened(T0 + SECOND)
        for event in (bare, bare, *inverse, bare):
            rig.topic.accept(event)
        assert rig.sink.data[5:] == [bare]
        assert rig.topic.repeated == 5

    def test_all_fills_of_the_last_minutes_are_remembered_however_many(self):
        """After a reconnect those of the last minute are asked for again."""
        rig = Rig(Channel.FILLS)
        fills = [Fill("main", T0, T0 + n, f"f{n}", "o1", PAIR, "buy", "10", "1", "", "") for n in range(30_000)]
        for fill in (*fills, *fills):
            rig.topic.accept(fill)
        assert len(rig.sink.data) == len(fills)

    def test_fills_of_before_a_restart_are_remembered_beside_as_many_new_ones(self):
        rig = Rig(Channel.FILLS)
        known = [Fill("main", T0, T0, f"f{n}", "o1", PAIR, "buy", "10", "1", "", "") for n in range(6_000)]
        new = [Fill("main", T0, T0 + SECOND, f"n{n}", "o1", PAIR, "buy", "10", "1", "", "") for n in range(12_000)]
        rig.topic.seed(known, T0)
        for fill in (*new, *known):
            rig.topic.accept(fill)
        assert [fill.fill_id for fill in rig.sink.data] == [fill.fill_id for fill in new]

    @pytest.mark.parametrize("ids", [("7", "8", "9", "10", "11", "12"), ("q", "a", "x", "c", "z", "b")])
    def test_a_process_that_begins_does_not_write_again_what_redis_has_lost(self, ids):
        """The exchange tells six trades again. The stream has the third of them and the fifth: the fourth was missed."""
        rig = Rig(Channel.TRADES)
        told = [structs.replace(trade(number, ident), replay=True) for number, ident in enumerate(ids)]
        lost = Control(PAIR, None, T0, Channel.TRADES, ControlEvent.LOST, "Redis lost acknowledged entries", 2)
        rig.topic.seed([trade(0, "older"), lost, told[2], told[4]], T0)
        for event in told:
            rig.topic.accept(event)
        assert rig.sink.data == [told[3], told[5]]
        assert rig.topic.repeated == 4

    def test_nor_if_it_is_told_a_second_time_without_being_marked(self):
        rig = Rig(Channel.TRADES)
        lost, read, new = trade(0, "7"), trade(1, "8"), trade(2, "9")
        rig.topic.seed([read], T0 + 5 * SECOND)
        for replay in (True, False):
            for event in (lost, read, new):
                rig.topic.accept(structs.replace(event, recv=T0 + 6 * SECOND, replay=replay))
        assert [event.id for event in rig.sink.data] == [new.id]

    def test_a_process_that_begins_takes_older_trades_that_are_no_replay(self):
        rig = Rig(Channel.TRADES)
        rig.topic.seed([trade(5, "9")], T0)
        rig.topic.accept(trade(1, "8"))
        assert [e.id for e in rig.sink.data] == ["8"]

    def test_ids_are_remembered_for_thousands_of_trades(self):
        rig = Rig(Channel.TRADES)
        for number in range(12_000):
            rig.topic.accept(trade(0, str(number)))
        rig.topic.reopened(0)
        for number in range(7_001, 12_000):
            rig.topic.accept(trade(0, str(number)))
        assert len(rig.sink.data) == 12_000

    def test_like_trades_without_ids_are_as_many_as_came(self):
        rig = Rig(Channel.TRADES)
        for _ in range(3):
            rig.topic.accept(trade(1))
        assert len(rig.sink.data) == 3

    def test_a_replay_without_ids_is_matched_one_to_one(self):
        rig = Rig(Channel.TRADES)
        rig.topic.accept(trade(1))
        rig.topic.accept(trade(1))
        rig.topic.down(T0, "cut")
        rig.topic.reopened(0)
        for _ in range(3):
            rig.topic.accept(trade(1))
        rig.topic.accept(trade(2))
        assert len([e for e in rig.sink.data if e.ts == T0 + SECOND]) == 3
        assert rig.topic.repeated == 2

    def test_a_takeover_matches_what_both_connections_brought(self):
        rig = Rig(Channel.TRADES)
        rig.topic.accept(trade(10, size="1"))
        rig.topic.accept(trade(20, size="2"))  # the second connection was opened before this one
        rig.topic.reopened(T0 + 15 * SECOND)
        rig.topic.accept(trade(20, size="2"))
        rig.topic.accept(trade(20, size="2"))  # a second one like it, which only the new connection had
        assert [e.size for e in rig.sink.data] == ["1", "2", "2"]

    def test_a_connection_that_is_seconds_behind_the_one_before_it_repeats_nothing(self):
        """The machine is busy, or the network is slow: what happened at the same time is still to come."""
        rig = Rig(Channel.TRADES)
        old = [trade(second, size=size) for second, size in ((10, "1"), (11, "2"), (11, "3"))]
        for event in old:
            rig.topic.accept(event)
        rig.topic.reopened(T0 + 5 * SECOND)
        late = [structs.replace(event, recv=event.recv + 4 * SECOND) for event in old]
        for event in (*late, trade(11, size="4", recv=T0 + 16 * SECOND), trade(16, size="2"), trade(16, size="3")):
            rig.topic.accept(event)
        assert [e.size for e in rig.sink.data] == ["1", "2", "3", "4", "2", "3"]
        assert rig.topic.repeated == 3

    def test_a_takeover_drops_the_history_that_the_exchange_replays(self):
        """Whether recent trades come again after each connect isn't known: if they do, they stand already."""
        rig = Rig(Channel.TRADES)
        for number in range(1, 6):
            rig.topic.accept(trade(number))
        rig.topic.reopened(T0 + 60 * SECOND)
        for number in range(1, 6):
            rig.topic.accept(trade(number, recv=T0 + 60 * SECOND))
        rig.topic.accept(trade(61))
        assert [e.ts for e in rig.sink.data] == [T0 + n * SECOND for n in (1, 2, 3, 4, 5, 61)]

    def test_what_came_before_the_new_connection_was_subscribed_stands_for_nothing(self):
        """It was opened, but the exchange had not got its request yet: a like trade afterwards is a new one."""
        rig = Rig(Channel.TRADES)
        ms = SECOND // 1000
        rig.topic.accept(trade(10, recv=T0 + 100 * ms))
        rig.topic.accept(trade(10, recv=T0 + 300 * ms))
        rig.topic.reopened(T0)
        rig.topic.accept(trade(10, recv=T0 + 301 * ms))
        rig.topic.accept(trade(10, recv=T0 + 500 * ms))
        assert len(rig.sink.data) == 3

    def test_trades_without_a_time_are_matched_too(self):
        rig = Rig(Channel.TRADES)
        timeless = structs.replace(trade(0), ts=None)
        rig.topic.accept(timeless)
        rig.topic.reopened(0)
        for _ in range(2):
            rig.topic.accept(timeless)
        assert (rig.topic.repeated, len(rig.sink.data)) == (1, 2)

    def test_at_a_second_takeover_each_copy_counts_once_all_the_same(self):
        rig = Rig(Channel.TRADES)
        rig.topic.accept(trade(0, recv=T0))
        rig.topic.reopened(T0)
        rig.topic.reopened(T0 + 5)
        for late in (10, 20):
            rig.topic.accept(trade(0, recv=T0 + late))
        assert (rig.topic.repeated, len(rig.sink.data)) == (1, 2)

    def test_a_busy_process_takes_both_connections_in_bursts(self):
        rig = Rig(Channel.TRADES)
        for number in range(5):
            rig.topic.accept(trade(10, recv=T0 + number))
        rig.topic.reopened(T0)
        for number in range(6):
            rig.topic.accept(trade(10, recv=T0 + 1000 + number))
        assert len(rig.sink.data) == 6

    def test_a_history_that_is_replayed_at_a_takeover_stands_once(self):
        """The trades of the newest second too: nothing has shown that the exchange doesn't replay."""
        rig = Rig(Channel.TRADES)
        trades = [trade(10, size=str(number), recv=T0 + 10 * SECOND + number) for number in range(1, 6)]
        for event in trades:
            rig.topic.accept(event)
        for round_ in range(1, 4):
            rig.topic.reopened(T0 + 10 * SECOND + 100 * round_)
            for event in trades[-3:]:
                rig.topic.accept(structs.replace(event, recv=T0 + 10 * SECOND + 100 * round_ + 10))
            trades.append(trade(10, size=f"9{round_}", recv=T0 + 10 * SECOND + 100 * round_ + 20))
            rig.topic.accept(trades[-1])
        assert [event.size for event in rig.sink.data] == [event.size for event in trades]

    def test_a_like_trade_right_after_a_takeover_is_no_replay(self):
        """Once two connections began with something new, the exchange replays nothing."""
        rig = Rig(Channel.TRADES)
        for second in (8, 9):
            rig.topic.accept(trade(second, recv=T0 + second * SECOND))
            rig.topic.reopened(T0 + second * SECOND + 1)
        rig.topic.accept(trade(10, recv=T0 + 10 * SECOND + 100_000_000))
        rig.topic.reopened(T0 + 10 * SECOND + 200_000_000)
        rig.topic.accept(trade(10, recv=T0 + 10 * SECOND + 300_000_000))
        assert len(rig.sink.data) == 4


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["", "id"])), max_size=40), st.data())
def test_trades_are_published_or_repeats(draws, data):
    rig = Rig(Channel.TRADES)
    for offered, (number, kind) in enumerate(draws, 1):
        if data.draw(st.booleans()):
            rig.topic.reopened(0)
        rig.topic.accept(trade(number, f"{kind}{number}" if kind else ""))
        assert rig.topic.received == len(rig.sink.data)
        assert offered == rig.topic.received + rig.topic.repeated
    idents = [event.id for event in rig.sink.data if event.id]
    assert len(idents) == len(set(idents))
