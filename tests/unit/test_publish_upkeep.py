"""A pipeline's chores: what goes with which batch, what becomes of trimming, and what is said of others' deeds."""

from __future__ import annotations

import time

import hiredis
import pytest
import structlog
from structlog.testing import LogCapture

from bridge.clock import CLOCK
from bridge.model import Channel
from bridge.publish.batch import Batch
from bridge.publish.connection import open_connection
from bridge.publish.queue import Queue
from bridge.publish.stream import StreamId
from bridge.publish.upkeep import Upkeep
from bridge.publish.wire import command
from tests.patience import PATIENCE
from tests.unit.core import SECOND, T0, stream
from tests.unit.publishing import Events, raw

REFUSED = hiredis.ReplyError("NOPERM it may not")


class Chores:
    """The upkeep of three streams, each of which keeps ten entries and has twelve."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.events = Events()
        self.capture = LogCapture()
        self.upkeep = Upkeep(self.queue, self.events, structlog.wrap_logger(None, processors=[self.capture]))
        self.streams = [stream(Channel.TRADES, subject, entries=10, age=60.0) for subject in ("A-B", "C-D", "E-F")]
        for one in self.streams:
            one.resume(StreamId(T0 // 10**6, 12), StreamId(T0 // 10**6, 1))
            self.queue.add(one)

    @property
    def trimming(self):
        return [(one, command("XTRIM", one.key, "MAXLEN", "=", 10)) for one in self.streams]

    def batch(self, now: float = 1000.0, asked: int = 7) -> Batch:
        """What goes with a batch of no entries."""
        made = Batch([], [], 0)
        self.upkeep.add_to(made, now, asked)
        return made

    def said(self, event: str):
        return [line for line in self.capture.entries if line["event"] == event]


@pytest.fixture
def chores():
    return Chores()


# --- a round -------------------------------------------------------------------------------------------------------


def test_before_the_first_round_nothing_is_due(chores):
    assert not chores.upkeep.due
    batch = chores.batch()
    assert (batch.trims, batch.looks, batch.questions) == ([], [], [])


def test_a_round_goes_with_one_batch(chores):
    chores.upkeep.start_round(T0)
    assert chores.upkeep.due
    batch = chores.batch()
    assert batch.trims == chores.trimming
    assert batch.commands == [text for _, text in chores.trimming]
    assert batch.looks == [(one, 12) for one in chores.streams]
    assert batch.asked_time == 7
    assert batch.questions == [*(command("XLEN", one.key) for one in chores.streams), command("TIME")]
    assert not chores.upkeep.due
    again = chores.batch()
    assert (again.trims, again.looks, again.asked_time) == ([], [], 0)


def test_the_time_alone_is_reason_enough(chores):
    for one in chores.streams:
        chores.queue.remove(one)
    chores.upkeep.start_round(T0)
    assert chores.upkeep.due
    assert chores.batch().questions == [command("TIME")]


def test_looks_alone_are_reason_enough(chores):
    chores.upkeep.looks = chores.streams
    assert chores.upkeep.due


def test_what_is_still_to_be_trimmed_is_not_found_a_second_time(chores):
    chores.upkeep.start_round(T0)
    for one in chores.streams:
        one.seq = 24
    chores.upkeep.start_round(T0)
    assert chores.batch().trims == chores.trimming
    chores.upkeep.start_round(T0)
    assert chores.batch().trims == chores.trimming, "what has come since"


def test_age_is_by_redis_clock(chores):
    for one in chores.streams:
        one.resume(StreamId(T0 // 10**6, 3), StreamId(T0 // 10**6, 1))
    later = T0 + 61 * SECOND
    chores.upkeep.start_round(later)
    assert chores.batch().trims == [], "its time is not known yet"
    shown = [b"%d" % (T0 // SECOND), b"0"]
    chores.upkeep.clock.told(shown, later, later)
    chores.upkeep.start_round(later)
    assert chores.batch().trims == [], "it is a minute behind"
    chores.upkeep.start_round(later + 61 * SECOND)
    texts = [text for _, text in chores.batch().trims]
    assert texts == [command("XTRIM", one.key, "MINID", "=", f"{T0 // 10**6 + 1000}-0") for one in chores.streams]


# --- what becomes of trimming --------------------------------------------------------------------------------------


def test_what_was_trimmed_is_counted_and_what_was_not_applied_is_due_again(chores):
    first, second, third = chores.streams
    for one in chores.streams:
        one.gone = 0
    chores.upkeep.trimmed(chores.trimming, [2, None, 3], 1000.0)
    assert (first.gone, second.gone, third.gone) == (2, 0, 3)
    assert chores.upkeep.due
    assert chores.batch().trims == [chores.trimming[1]]
    assert chores.said("redis_refused") == []


def test_what_redis_does_not_let_us_trim_is_left_for_a_minute(chores):
    replies = [hiredis.ReplyError(f"NOPERM {word}") for word in ("b", "a")]
    for one in chores.streams:
        one.gone = 0
    chores.upkeep.trimmed([chores.trimming[n] for n in (0, 0, 1, 1, 2)], [*replies, None, 5, replies[0]], 1000.0)
    [line] = chores.said("redis_refused")
    first, second, third = chores.streams
    assert line["errors"] == [f"{first.key}: NOPERM a", f"{first.key}: NOPERM b", f"{third.key}: NOPERM b"]
    assert (line["log_level"], line["waiting"]) == ("error", 0)
    assert (first.gone, second.gone, third.gone) == (None, 5, None)
    assert not chores.upkeep.due, "not even what was not applied"
    for now, trims in ((1059.9, []), (1060.0, chores.trimming)):
        for one in chores.streams:
            one.oldest = StreamId(T0 // 10**6, 1)
        chores.upkeep.start_round(T0)
        batch = chores.batch(now)
        assert (batch.trims, len(batch.looks)) == (trims, 3)


def test_each_trimming_has_its_answer(chores):
    with pytest.raises(ValueError, match="shorter"):
        chores.upkeep.trimmed(chores.trimming, [1, 2], 0.0)
    assert not chores.upkeep.due


def test_of_many_errors_ten_are_said(chores):
    trims = [(stream(Channel.TRADES, f"A-{number:02}"), "") for number in range(12)]
    chores.upkeep.trimmed(trims, [REFUSED] * 12, 0.0)
    [line] = chores.said("redis_refused")
    assert line["errors"] == [f"{one.key}: {REFUSED}" for one, _ in trims[:10]]


# --- what others do ------------------------------------------------------------------------------------------------


async def test_the_time_is_asked_for(any_server):
    chores = Chores()
    connection = await open_connection(any_server.url, "test", PATIENCE)
    await chores.upkeep.ask_time(connection)
    connection.abort("done")
    now = CLOCK.now()
    assert abs(chores.upkeep.clock.milliseconds(now) - time.time() * 1000) < PATIENCE * 1000


async def test_a_look_says_what_others_have_done(redis_server, chores):
    written, trimmed, blocked = chores.streams
    for one in chores.streams:
        one.ms, one.seq, one.gone = 5, 3, 0
    with raw(redis_server) as client:
        for seq in (1, 2, 3):
            client.xadd(written.key, {"a": "b"}, id=f"5-{seq}")
        client.xadd(written.key, {"a": "b"}, id="5-9")
        client.xadd(trimmed.key, {"a": "b"}, id="5-3")
    blocked.blocked = "WRONGTYPE"
    connection = await open_connection(redis_server.url, "test", PATIENCE)
    await chores.upkeep.examine(connection, chores.streams)
    connection.abort("done")
    assert [one.conflicts for one in chores.streams] == [1, 0, 0]
    assert chores.events.disturbances == [(written, "somebody else wrote to this stream: 1 entry, up to 5-9", None)]
    lines = [(line["key"], line["reason"], line["added"], line["deleted"]) for line in chores.said("stream_changed")]
    assert lines == [
        (written.key, "somebody else wrote to this stream: 1 entry, up to 5-9", 1, 0),
        (trimmed.key, "somebody else trimmed this stream", 0, 2),
    ]
    assert chores.events.conflicts == []


async def test_what_is_gone_is_said_with_its_number(redis_server, chores):
    one = chores.streams[0]
    one.ms, one.seq, one.gone = 5, 3, 0
    connection = await open_connection(redis_server.url, "test", PATIENCE)
    await chores.upkeep.examine(connection, [one])
    connection.abort("done")
    assert chores.events.disturbances == [(one, "somebody else deleted from this stream: 3 entries", 3)]


@pytest.mark.parametrize(("conflicts", "said"), [(9, False), (10, False), (11, True)])
async def test_who_writes_again_and_again_is_a_second_connector(redis_server, chores, conflicts, said):
    one, other, _ = chores.streams
    one.conflicts = conflicts
    chores.upkeep.written_by_others([other, one])
    assert chores.events.conflicts == [one] * said
    assert chores.events.disturbances == [(s, "somebody else wrote to this stream", None) for s in (other, one)]
    assert [line["added"] for line in chores.said("stream_changed")] == [1, 1]
    connection = await open_connection(redis_server.url, "test", PATIENCE)
    other.ms, other.seq, other.gone, other.conflicts = 5, 0, 0, conflicts
    with raw(redis_server) as client:
        client.xadd(other.key, {"a": "b"}, id="6-1")
    await chores.upkeep.examine(connection, [other])
    connection.abort("done")
    assert chores.events.conflicts == [one] * said + [other] * (conflicts >= 10)
