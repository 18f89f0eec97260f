"""Streams that Redis refuses, case by case: when the entry at fault is found, tried again, and given up."""

from __future__ import annotations

import hiredis
import pytest
import structlog
from structlog.testing import LogCapture

from bridge.model import Channel
from bridge.publish.blocking import BlockedStreams
from bridge.publish.events import Totals
from bridge.publish.pending import CONTROL, DATA, SNAPSHOT, Pending
from bridge.publish.queue import Queue
from tests.unit.core import T0, stream
from tests.unit.publishing import Events

TOO_LARGE = "ERR max request size exceeded"
WEIGHT = 300


class Ward:
    """Two streams, `ill` and `well`, and what is blocked of them."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.events = Events()
        self.totals = Totals()
        self.capture = LogCapture()
        log = structlog.wrap_logger(None, processors=[self.capture])
        self.blocked = BlockedStreams(self.queue, self.events, self.totals, log)
        self.ill, self.well = stream(Channel.TRADES, "A-B"), stream(Channel.TRADES, "C-D")
        for one in (self.ill, self.well):
            self.queue.add(one)

    def put(self, where, *kinds: int):
        """An entry of each kind; returns them."""
        made = [Pending(T0 + number, "x" * 100, kind) for number, kind in enumerate(kinds)]
        where.waiting.extend(made)
        where.bytes += WEIGHT * len(made)
        where.controls += sum(kind >= CONTROL for kind in kinds)
        self.totals.bytes += WEIGHT * len(made)
        self.queue.wake(where)
        return made

    def said(self, event: str):
        return [line for line in self.capture.entries if line["event"] == event]

    def tried(self, most: int = 100, most_bytes: int = 1 << 30):
        """The entries of the next trial, which then waits again under its old numbers or none."""
        runs = self.blocked.next_trial(most, most_bytes)
        self.queue.put_back(runs)
        return [entry for _, entries, _ in runs for entry in entries]

    def refuse(self, culprit, words: str = TOO_LARGE, *, others: bool = False) -> None:
        """The first entry is tried and refused; ``others``: Redis has taken some of other streams before."""
        self.totals.published += others
        self.blocked.block(self.ill, words, culprit)

    @property
    def given_up(self) -> bool:
        """Whether the entry at fault is gone when the stream is tried next."""
        self.blocked.start_trials()
        self.tried()
        return bool(self.said("entry_given_up"))


@pytest.fixture
def ward():
    return Ward()


# --- a refusal -----------------------------------------------------------------------------------------------------


def test_a_stream_that_is_refused_waits_apart_and_that_is_said_once(ward):
    first, second = ward.put(ward.ill, DATA, DATA)
    ward.put(ward.well, DATA)
    ward.refuse(first)
    ward.refuse(first)
    ward.refuse(second, "ERR something else")
    assert (ward.ill.blocked, ward.well.blocked) == ("ERR something else", "")
    assert [run[0] for run in ward.queue.take(10, 1 << 30)] == [ward.well]
    [line] = ward.said("redis_refused")
    assert (line["errors"], line["log_level"]) == ([f"{ward.ill.key}: {TOO_LARGE}"], "error")
    assert line["waiting"] == 3


def test_only_blocked_streams_are_tried_and_each_once_in_a_round(ward):
    assert not ward.blocked.due
    [culprit] = ward.put(ward.ill, DATA)
    ward.put(ward.well, DATA)
    assert ward.tried() == []
    ward.refuse(culprit)
    assert not ward.blocked.due, "now and then, not at once"
    ward.blocked.start_trials()
    assert ward.blocked.due
    assert ward.tried() == [culprit]
    assert ward.blocked.tried is ward.ill
    assert not ward.blocked.due
    assert ward.tried() == []


def test_a_stream_that_is_free_meanwhile_is_not_tried(ward):
    [culprit] = ward.put(ward.ill, DATA)
    [other] = ward.put(ward.well, DATA)
    ward.refuse(culprit)
    ward.blocked.block(ward.well, TOO_LARGE, other)
    ward.blocked.start_trials()
    ward.queue.unblock(ward.ill)
    assert ward.tried() == [other]
    assert ward.tried() == []


def test_what_stands_before_the_entry_at_fault_goes_first_and_then_that_alone(ward):
    entries = ward.put(ward.ill, *[DATA] * 5)
    ward.refuse(entries[3])
    ward.blocked.start_trials()
    [(_, taken, size)] = ward.blocked.next_trial(100, 1 << 30)
    assert (taken, size) == (entries[:3], 3 * WEIGHT)
    ward.blocked.accepted()
    assert ward.blocked.tried is None
    assert ward.ill.blocked, "it has shown nothing yet"
    assert ward.blocked.due, "its turn comes at once"
    [(_, taken, _)] = ward.blocked.next_trial(100, 1 << 30)
    assert taken == [entries[3]]
    ward.blocked.accepted()
    assert ward.ill.blocked == ""
    assert [entry for _, some, _ in ward.queue.take(100, 1 << 30) for entry in some] == entries[4:]
    assert not ward.blocked.due


@pytest.mark.parametrize(
    ("most", "most_bytes", "taken"), [(2, 1 << 30, 2), (100, 2 * WEIGHT, 2), (100, 1, 1), (1, 1, 1)]
)
def test_a_trial_keeps_to_the_limits_of_a_batch(ward, most, most_bytes, taken):
    entries = ward.put(ward.ill, *[DATA] * 5)
    ward.refuse(entries[4])
    ward.blocked.start_trials()
    assert ward.tried(most, most_bytes) == entries[:taken]


def test_a_culprit_that_is_gone_leaves_one_entry_to_be_tried(ward):
    entries = ward.put(ward.ill, *[DATA] * 5)
    ward.refuse(Pending(T0, "gone", DATA))
    ward.blocked.start_trials()
    assert ward.tried() == entries[:1]


def test_a_stream_of_which_nothing_waits_any_more_is_free(ward):
    [culprit] = ward.put(ward.ill, DATA)
    ward.refuse(culprit)
    ward.queue.take_first(ward.ill, 1, 1 << 30)
    ward.blocked.start_trials()
    assert ward.tried() == []
    assert ward.ill.blocked == ""
    ward.put(ward.ill, DATA)
    assert ward.queue


def test_a_batch_of_no_trial_frees_nobody(ward):
    [culprit] = ward.put(ward.ill, DATA)
    ward.refuse(culprit)
    ward.blocked.accepted()
    assert ward.ill.blocked == TOO_LARGE


def test_a_new_refusal_ends_the_trial(ward):
    [culprit] = ward.put(ward.ill, DATA)
    ward.refuse(culprit)
    ward.blocked.start_trials()
    ward.tried()
    ward.refuse(culprit)
    assert ward.blocked.tried is None


# --- an entry is given up ------------------------------------------------------------------------------------------

BREAKS = "the connection breaks when its next entry is sent"
PATIENCE = {
    # words, whether Redis takes others meanwhile: after how many refusals the entry is given up
    (TOO_LARGE, True): 3,
    (TOO_LARGE, False): 12,
    (BREAKS, True): 5,
    (BREAKS, False): 12,
    ("WRONGTYPE it is a string", True): None,
    ("NOPERM it may not", True): None,
}


@pytest.mark.parametrize(("words", "others"), PATIENCE)
def test_when_an_entry_is_given_up(ward, words, others):
    culprit, after = ward.put(ward.ill, DATA, DATA)
    most = PATIENCE[words, others]
    for number in range(1, most or 20):
        ward.refuse(culprit, words, others=others)
        assert not ward.given_up, number
    ward.refuse(culprit, words, others=others)
    assert ward.given_up is (most is not None)
    if most is None:
        assert list(ward.ill.waiting) == [culprit, after]
        return
    lost, left = ward.ill.waiting
    assert left is after
    assert (lost.count, lost.loss, lost.recv) == (1, "entry_refused", culprit.recv)
    assert words in lost.body
    assert ward.totals.bytes == ward.ill.bytes == lost.weight + WEIGHT
    assert ward.events.drops == [ward.ill]
    [line] = ward.said("entry_given_up")
    assert (line["key"], line["reason"], line["events"]) == (ward.ill.key, words, 1)
    assert ward.blocked.tried is ward.ill, "what declares it goes at once"
    ward.blocked.accepted()
    assert ward.ill.blocked == ""


def test_only_refusals_after_which_redis_had_taken_others_count_for_much(ward):
    [culprit] = ward.put(ward.ill, DATA)
    for others in (False, True, False, False, True):
        assert not ward.given_up
        ward.refuse(culprit, others=others)
    assert ward.given_up


def test_another_entry_at_fault_is_another_case(ward):
    first, second = ward.put(ward.ill, DATA, DATA)
    for _ in range(5):
        ward.refuse(first, others=True)
    ward.refuse(second, others=True)
    assert not ward.given_up
    assert list(ward.ill.waiting) == [first, second]


def test_a_stream_that_went_elsewhere_begins_again(ward):
    [culprit] = ward.put(ward.ill, DATA)
    for _ in range(5):
        ward.refuse(culprit, others=True)
    ward.blocked.forget(ward.ill)
    ward.blocked.forget(ward.well)
    assert not ward.given_up


def test_one_that_was_taken_in_the_end_begins_again(ward):
    [culprit] = ward.put(ward.ill, DATA)
    for _ in range(2):
        ward.refuse(culprit, others=True)
    ward.blocked.start_trials()
    ward.blocked.next_trial(1, 1)
    ward.blocked.accepted()
    ward.ill.waiting.append(culprit)
    ward.refuse(culprit, others=True)
    assert not ward.given_up


def test_an_entry_is_given_up_only_in_its_turn(ward):
    _, culprit = ward.put(ward.ill, DATA, DATA)
    for _ in range(20):
        ward.refuse(culprit, others=True)
    assert not ward.given_up


def test_a_control_entry_is_never_given_up(ward):
    [culprit] = ward.put(ward.ill, CONTROL)
    for _ in range(20):
        ward.refuse(culprit, others=True)
    assert not ward.given_up
    assert (ward.events.drops, list(ward.ill.waiting)) == ([], [culprit])


def test_with_a_books_entry_goes_what_continues_it(ward):
    book = stream(Channel.BOOK)
    ward.queue.add(book)
    entries = ward.put(book, SNAPSHOT, DATA, DATA, SNAPSHOT)
    for _ in range(3):
        ward.totals.published += 1
        ward.blocked.block(book, TOO_LARGE, entries[0])
    assert ward.given_up
    assert (book.waiting[0].count, list(book.waiting)[1:]) == (3, entries[3:])
    assert ward.said("entry_given_up")[0]["events"] == 3


def test_words_without_end_are_cut(ward):
    [culprit] = ward.put(ward.ill, DATA)
    for _ in range(3):
        ward.refuse(culprit, str(hiredis.ReplyError("ERR " + "x" * 1000)), others=True)
    assert ward.given_up
    assert 150 < ward.ill.waiting[0].body.count("x") < 200


# --- a connection that breaks --------------------------------------------------------------------------------------


class TestBreaks:
    @pytest.fixture
    def alone(self, ward):
        """The same entry breaks the connection, and is all that is on its way."""
        [entry] = ward.put(ward.ill, DATA)
        return entry, lambda: ward.blocked.broke([(ward.ill, [entry], WEIGHT)])

    def test_three_times_in_a_row_with_the_same_entry_alone_are_suspicious(self, ward, alone):
        _, broke = alone
        for _ in range(2):
            broke()
            assert ward.ill.blocked == ""
        broke()
        assert ward.ill.blocked == BREAKS

    def test_after_a_suspicion_the_count_begins_again(self, ward, alone):
        _, broke = alone
        for _ in range(3):
            broke()
        ward.queue.unblock(ward.ill)
        for blocked in ("", "", BREAKS):
            broke()
            assert ward.ill.blocked == blocked

    def test_another_entry_is_another_suspect(self, ward, alone):
        _, broke = alone
        [other] = ward.put(ward.well, DATA)
        broke()
        broke()
        ward.blocked.broke([(ward.well, [other], WEIGHT)])
        broke()
        broke()
        assert (ward.ill.blocked, ward.well.blocked) == ("", "")

    @pytest.mark.parametrize("runs", ["none", "two entries", "two streams"])
    def test_a_larger_batch_says_nothing(self, ward, alone, runs):
        entry, broke = alone
        broke()
        broke()
        run = (ward.ill, [entry], WEIGHT)
        more = {
            "none": [],
            "two entries": [(ward.ill, [entry, entry], 2 * WEIGHT)],
            "two streams": [run, (ward.well, [entry], WEIGHT)],
        }
        for _ in range(5):
            ward.blocked.broke(more[runs])
        assert ward.ill.blocked == ""

    def test_at_a_trial_once_is_enough(self, ward, alone):
        entry, broke = alone
        ward.refuse(entry)
        ward.blocked.start_trials()
        ward.tried()
        broke()
        assert (ward.ill.blocked, ward.blocked.tried) == (BREAKS, None)

    def test_the_trial_of_another_stream_is_not_its_own(self, ward, alone):
        _, broke = alone
        [other] = ward.put(ward.well, DATA)
        ward.blocked.block(ward.well, TOO_LARGE, other)
        ward.blocked.start_trials()
        assert ward.tried() == [other]
        broke()
        assert (ward.ill.blocked, ward.blocked.tried) == ("", None)

    def test_whatever_breaks_the_trial_is_over(self, ward, alone):
        entry, _ = alone
        ward.refuse(entry)
        ward.blocked.start_trials()
        ward.tried()
        ward.blocked.broke([])
        assert ward.blocked.tried is None
        assert ward.ill.blocked == TOO_LARGE
