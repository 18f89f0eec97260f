from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.model import Channel
from bridge.publish.stream import StreamId
from bridge.publish.wire import command, head
from tests.unit.core import stream

NOW = 1_700_000_000_000


def words(text):
    return text.split("\r\n")[2::2]


class TestIds:
    def test_text(self):
        assert str(StreamId(5, 7)) == "5-7"
        assert str(StreamId()) == "0-0"
        assert StreamId.parse("5-7") == StreamId.parse(b"5-7") == StreamId(5, 7)
        assert StreamId() < StreamId(5, 7) < StreamId(6, 1)
        with pytest.raises(AttributeError):
            StreamId().seq = 7

    @pytest.mark.parametrize("text", ["", "5", "a-b", "5-"])
    def test_other_text(self, text):
        with pytest.raises(ValueError, match="invalid literal"):
            StreamId.parse(text)


def test_a_new_stream_has_nothing_and_limits_that_do_not_change():
    one = stream(Channel.TRADES)
    counts = (
        "ms",
        "seq",
        "bytes",
        "flying",
        "controls",
        "declared",
        "written_off",
        "conflicts",
        "published",
        "backlog",
    )
    assert [getattr(one, count) for count in counts] == [0] * len(counts)
    assert (one.oldest, one.cut, one.next_trim, one.gone) == (StreamId(), StreamId(), one.step, None)
    assert (one.blocked, one.ready, one.lost, len(one.waiting), len(one.snapshots)) == ("", False, {}, 0, 0)
    with pytest.raises(AttributeError):
        one.retention.max_age = 7.0


@pytest.mark.parametrize("channel", Channel)
def test_what_a_channel_says_of_its_stream(channel):
    one = stream(channel)
    assert one.public is (channel not in {Channel.ORDERS, Channel.FILLS, Channel.BALANCES, Channel.POSITIONS})
    assert one.is_book is (channel in {Channel.BOOK, Channel.BOOK10})
    heads = (head(one.key, channel), head(one.key, None), head(one.key, channel, more=1))
    assert (one.data_head, one.control_head, one.wide_head) == heads


class World:
    """A stream with its retention, and a list that the commands work on as a server would."""

    def __init__(self, channel, most, age):
        self.stream = stream(channel, entries=most, age=age)
        self.stream.resume(StreamId(), StreamId(NOW, 1))
        self.most, self.age_ms = most, int(age * 1000)
        self.entries: list[tuple[StreamId, bool]] = []
        self.now = NOW

    def add(self, *, snapshot=False):
        s = self.stream
        s.ms, s.seq = max(s.ms, self.now), s.seq + 1
        ident = StreamId(s.ms, s.seq)
        if snapshot and s.is_book:
            s.snapshots.append(ident)
        self.entries.append((ident, snapshot))
        if s.seq >= s.next_trim:
            self.trim()

    def trim(self):
        for text in self.stream.trim(self.now):
            name, key, how, exact, limit = words(text)
            assert (name, key, exact) == ("XTRIM", self.stream.key, "=")
            if how == "MAXLEN":
                self.entries = self.entries[-int(limit) :]
            else:
                self.entries = [e for e in self.entries if e[0] >= StreamId.parse(limit)]


STEPS = st.lists(
    st.one_of(st.integers(1, 40), st.just("snapshot"), st.just("trim"), st.sampled_from([100, 1_000, 30_000])),
    max_size=60,
)


@pytest.mark.parametrize("channel", [Channel.TRADES, Channel.BOOK])
@given(STEPS, st.integers(1, 120), st.sampled_from([1.0, 30.0, 86400.0]))
@example(["snapshot", 3, 100, 30000, "trim", 100, 100, 100], 3, 30.0)
def test_retention(channel, steps, most, age):
    world = World(channel, most, age)
    for step in steps:
        before = list(world.entries)
        if step == "snapshot":
            world.add(snapshot=True)
        elif step == "trim":
            world.trim()
        elif step >= 100:
            world.now += step
        else:
            for _ in range(step):
                world.add()
        gone = [e for e in before if e not in world.entries]
        for ident, is_snapshot in gone:
            # What is beyond one of the limits goes; and a book's deltas that have no snapshot left.
            beyond = world.stream.seq - ident.seq >= most or ident.ms < world.now - world.age_ms
            assert beyond or (channel is Channel.BOOK and not is_snapshot)
        if channel is Channel.TRADES:
            assert len(world.entries) <= most + world.stream.step
        elif gone:
            assert world.entries[0][1], "a book starts with a snapshot, or deltas stand for nothing"
        assert not gone or all(world.stream.was_trimmed(ident.ms, ident.seq) for ident, _ in gone)
        assert not any(world.stream.was_trimmed(ident.ms, ident.seq) for ident, _ in world.entries)
    world.trim()
    if channel is Channel.TRADES:
        assert len(world.entries) <= most
        slack = world.age_ms + int(age * 10)
        assert all(ident.ms >= world.now - slack for ident, _ in world.entries)


def test_a_book_is_cut_to_the_first_snapshot_within_the_limits():
    world = World(Channel.BOOK, 100, 86400)
    for _ in range(10):
        world.add(snapshot=True)
        for _ in range(29):
            world.add()
    world.trim()
    assert world.entries[0] == (StreamId(NOW, 211), True)
    assert len(world.entries) == 90


@pytest.mark.parametrize(
    ("first_kept", "age", "cut"),
    [
        (11, 100, 11),  # just the first that may stay
        (12, 100, 21),
        (1, 20, 11),  # by age alone
        (1, 19, 21),
        (1, 5, 31),
        (25, 20, 31),
        (11, 10, 21),
        (99, 1, 31),  # none is within the limits: the newest one
        (1, 1, 31),
    ],
)
def test_a_book_is_cut_where_both_limits_allow(first_kept, age, cut):
    """Snapshots have numbers 1, 11, 21, 31, and are 30, 20, 10 and 0 s old; beyond the last there are none."""
    one = stream(Channel.BOOK, entries=100 - first_kept, age=float(age))
    one.resume(StreamId(NOW, 99), StreamId(NOW - 30_000, 1))
    one.snapshots.extend(StreamId(NOW - 30_000 + n * 10_000, 1 + n * 10) for n in range(4))
    kept = [ident for ident in one.snapshots if ident.seq >= cut]
    assert one.trim(NOW) == [command("XTRIM", one.key, "MINID", "=", str(kept[0]))]
    assert (one.oldest, list(one.snapshots), one.cut) == (kept[0], kept, StreamId(0, cut))
    assert one.trim(NOW) == [], "once is enough"


def test_a_book_with_one_old_snapshot_keeps_it():
    world = World(Channel.BOOK, 50, 1)
    for _ in range(5):
        world.add()
    world.add(snapshot=True)
    for _ in range(500):
        world.now += 100
        world.add()
    world.trim()
    assert world.entries[0] == (StreamId(NOW, 6), True)
    assert len(world.entries) == 501


def test_after_a_restart_only_new_snapshots_are_cut_to():
    world = World(Channel.BOOK, 10, 86400)
    world.stream.resume(StreamId(NOW, 1000), StreamId(NOW, 500))
    for _ in range(300):
        world.add()
    world.trim()
    assert len(world.entries) == 300
    world.add(snapshot=True)
    world.trim()
    assert len(world.entries) == 1


def test_numbers_that_were_set_back_are_no_snapshots_any_more():
    world = World(Channel.BOOK, 10, 86400)
    world.add(snapshot=True)
    world.add()
    world.add(snapshot=True)
    world.stream.set_back(StreamId(NOW, 1))
    assert list(world.stream.snapshots) == [StreamId(NOW, 1)]
    assert world.stream.seq == 1


def test_quiet_streams_cost_nothing():
    world = World(Channel.TRADES, 10, 1000)
    world.add()
    assert [len(world.stream.trim(world.now + 100 * n)) for n in range(50)] == [0] * 50
