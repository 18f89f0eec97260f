"""Redis' clock, and clocks that are set: what is deleted, and what the IDs say."""

from __future__ import annotations

import time

import hiredis
import pytest

from bridge.clock import CLOCK
from bridge.model import Channel
from bridge.publish.batch import pack
from bridge.publish.clock import RedisClock
from bridge.publish.pending import DATA, Pending
from bridge.publish.stream import StreamId
from tests.unit.core import SECOND, T0, stream
from tests.unit.publishing import desk, hurry, raw, until

HOUR = 3600 * SECOND


def shown(at: int) -> list[bytes]:
    """The answer to ``TIME`` of a server whose clock shows this."""
    return [str(at // SECOND).encode(), str(at % SECOND // 1_000).encode()]


def told(clock: RedisClock, at: int, ahead: int, took: int = 0) -> None:
    """An answer that comes at ``at`` (steady), from a server that is so far ahead."""
    clock.told(shown(at - took // 2 + ahead), at - took, at)


class TestWhatIsBelieved:
    def test_nothing_is_known_at_first(self):
        clock = RedisClock()
        assert clock.milliseconds(T0) is None
        assert clock.lead(0) == 0
        assert clock.lead(7 * HOUR) == 7 * HOUR

    @pytest.mark.parametrize("ahead", [0, SECOND // 2, -5 * HOUR])
    def test_the_first_answer_is_and_it_goes_on_from_there(self, ahead):
        clock = RedisClock()
        told(clock, T0, ahead, took=SECOND)
        assert clock.milliseconds(T0 + 60 * SECOND) == (T0 + 60 * SECOND + ahead) // 1_000_000

    def test_a_clock_that_is_far_ahead_from_the_start_has_to_prove_it(self):
        """It may be Redis' that is wrong, and all that a stream holds would look old."""
        clock = RedisClock()
        for second in range(300):
            told(clock, T0 + second * SECOND, 30 * HOUR)
            assert clock.milliseconds(T0) == T0 // 1_000_000
        told(clock, T0 + 300 * SECOND, 30 * HOUR)
        assert clock.milliseconds(T0) == (T0 + 30 * HOUR) // 1_000_000

    def test_a_slow_drift_is_followed(self):
        clock = RedisClock()
        for minute in range(100):
            told(clock, T0 + minute * 60 * SECOND, minute * SECOND // 2)
        assert clock.milliseconds(T0) == (T0 + 99 * SECOND // 2) // 1_000_000

    @pytest.mark.parametrize("jump", [30 * HOUR, -30 * HOUR, 2 * SECOND])
    def test_a_jump_that_is_taken_back_is_not_followed(self, jump):
        clock = RedisClock()
        told(clock, T0, 0)
        for second in range(1, 290):
            told(clock, T0 + second * SECOND, jump)
            assert clock.milliseconds(T0) == T0 // 1_000_000
        told(clock, T0 + 290 * SECOND, 0)
        for second in range(291, 580):
            told(clock, T0 + second * SECOND, jump)
            assert clock.milliseconds(T0) == T0 // 1_000_000

    def test_a_jump_that_stands_is_in_the_end(self):
        clock = RedisClock()
        told(clock, T0, 0)
        for second in range(1, 303):
            told(clock, T0 + second * SECOND, 30 * HOUR)
        assert clock.milliseconds(T0) == (T0 + 30 * HOUR) // 1_000_000

    @pytest.mark.parametrize("reply", [None, [], [b"1"], [b"x", b"y"], [None, b"1"], b"OK", [b"1", b"2", b"3"], 7])
    def test_what_is_no_time_says_nothing(self, reply):
        clock = RedisClock()
        clock.told(reply, T0, T0)
        clock.told(hiredis.ReplyError("LOADING Redis is loading the dataset in memory"), T0, T0)
        assert clock.milliseconds(T0) is None

    def test_an_answer_that_took_long_says_nothing(self):
        clock = RedisClock()
        told(clock, T0, 0, took=6 * SECOND)
        assert clock.milliseconds(T0) is None

    def test_where_it_may_not_be_asked_the_steady_clock_stands_in(self):
        clock = RedisClock()
        clock.told(hiredis.ReplyError("NOPERM this user has no permissions to run the 'time' command"), T0, T0 + 10)
        assert clock.milliseconds(T0) == T0 // 1_000_000


class TestIds:
    @pytest.mark.parametrize(
        ("ahead", "shift", "lead"),
        [
            (0, 0, 0),
            (SECOND // 2, 0, 0),
            (0, 30 * HOUR, 0),
            (0, -2 * HOUR, 0),
            (30 * HOUR, 30 * HOUR, 30 * HOUR),
            (30 * HOUR, 0, 30 * HOUR),
            (-30 * HOUR, 0, -30 * HOUR),
        ],
    )
    def test_they_have_the_hosts_time_or_that_of_redis_where_the_two_differ(self, ahead, shift, lead):
        clock = RedisClock()
        told(clock, T0 - 300 * SECOND, ahead)
        told(clock, T0, ahead)
        assert clock.lead(shift) == lead
        entry = Pending(T0, "", DATA)
        pack([(stream(Channel.TRADES), [entry], entry.weight)], None, lead)
        assert entry.ms == (entry.recv + lead) // 1_000_000

    def test_they_never_go_back(self):
        trades = stream(Channel.TRADES)
        first, second = Pending(T0, "", DATA), Pending(T0 + SECOND, "", DATA)
        pack([(trades, [first], first.weight)], None, 30 * HOUR)
        pack([(trades, [second], second.weight)], None)
        assert second.ms == first.ms
        assert second.seq == first.seq + 1


class TestAge:
    @pytest.mark.parametrize("channel", [Channel.TRADES, Channel.BOOK])
    def test_nothing_is_too_old_while_the_time_is_unknown(self, channel):
        s = stream(channel, entries=1_000_000, age=60)
        s.resume(StreamId(1, 1), StreamId(1, 1))
        s.snapshots.extend([StreamId(1, 1), StreamId(2, 1)])
        assert s.trim(None) == []
        assert s.trim(120_000) != []

    @pytest.mark.parametrize("channel", [Channel.TRADES, Channel.BOOK])
    def test_a_new_stream_is_as_old_as_its_first_entry(self, channel):
        """Whatever this host's clock shows: the ID has the time by which it is judged."""
        s = stream(channel, entries=1_000_000, age=60)
        s.resume(StreamId(), StreamId(0, 1))
        assert s.trim(T0 // 1_000_000) == []
        s.ms, s.seq = T0 // 1_000_000, 3
        s.snapshots.append(StreamId(s.ms, 2))
        for second in (0, 1, 59):
            assert s.trim(T0 // 1_000_000 + second * 1_000) == []
        assert s.trim(T0 // 1_000_000 + 61_000) != []

    def test_an_age_beyond_all_times_is_none(self):
        s = stream(Channel.TRADES, entries=1_000_000, age=1e300)
        s.resume(StreamId(1, 1), StreamId(1, 1))
        assert s.trim(T0 // 1_000_000) == []

    @pytest.mark.parametrize("shift", [30 * HOUR, -30 * HOUR])
    async def test_a_host_whose_clock_is_set_deletes_nothing(self, own_server, monkeypatch, shift):
        hurry(monkeypatch)
        async with desk(own_server) as d:
            kept = await d.stream(age=3600)
            d.put(kept, 10)
            await d.drained()
            monkeypatch.setattr(CLOCK, "shift", shift)
            d.put(kept, 10)
            await d.drained()
            rounds = d.pipeline.upkeep.watch.rounds
            await until(lambda: d.pipeline.upkeep.watch.rounds > rounds + 3)
            monkeypatch.setattr(CLOCK, "shift", 0)
            d.put(kept, 10)
            await d.drained()
            await until(lambda: d.pipeline.upkeep.watch.rounds > rounds + 6)
            entries = d.entries(kept)
            assert [StreamId.parse(ident).seq for ident, _ in entries] == list(range(1, 31))
            for number, (ident, fields) in enumerate(entries):
                assert abs(StreamId.parse(ident).ms - time.time() * 1e3) < 60_000
                off = int(fields["recv"]) - time.time_ns() - (shift if 10 <= number < 20 else 0)
                assert abs(off) < 60 * SECOND

    async def test_what_is_old_by_redis_goes(self, own_server, monkeypatch):
        hurry(monkeypatch)
        async with desk(own_server) as d:
            kept = await d.stream(age=0.2)
            d.put(kept, 10)
            await d.drained()
            await until(lambda: d.entries(kept) == [])
            d.put(kept)
            await d.drained()

    async def test_an_entry_from_the_future_makes_no_other_old(self, own_server, monkeypatch):
        """A host whose clock was ahead has written it; those that follow are no older than it."""
        hurry(monkeypatch)
        with raw(own_server) as client:
            ahead = (time.time_ns() + 30 * HOUR) // 1_000_000
            client.xadd("md:{limitlex:BTC-EUR}:trades", {"type": "control"}, id=f"{ahead}-1")
        async with desk(own_server) as d:
            kept = await d.stream(age=3600)
            d.put(kept, 10)
            await d.drained()
            await until(lambda: d.pipeline.upkeep.watch.rounds > 3)
            assert [StreamId.parse(ident) for ident, _ in d.entries(kept)] == [StreamId(ahead, n) for n in range(1, 12)]
