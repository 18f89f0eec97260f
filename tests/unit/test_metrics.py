from __future__ import annotations

from bridge.model import Channel
from bridge.observe.metrics import BridgeMetrics
from bridge.publish.batch import grouped, settle
from bridge.publish.pending import LOSSES
from tests.unit.core import T0, stream
from tests.unit.doc_pages import CONTROL, METRICS, rows, ticked


def test_every_documented_reason_of_a_loss_has_a_word_of_its_own():
    reasons = [
        ticked(cells[1])[0]
        for cells in rows(CONTROL, "## Reasons")
        if cells[0] == "`lost`" and cells[1].startswith("`")
    ]
    words = [stream(Channel.TRADES).lost_entry(T0, 1, reason).loss for reason in reasons]
    assert sorted(words) == sorted(LOSSES.values())
    [meaning] = [
        cells[-1] for cells in rows(METRICS, "## Metrics of connectors") if cells[0] == "`tickbridge_lost_total`"
    ]
    assert set(ticked(meaning)) == {*LOSSES.values(), "other"}


def test_losses_count_for_their_stream_once_they_are_declared():
    trades, book = stream(Channel.TRADES), stream(Channel.BOOK)
    entries = [
        (trades, trades.lost_entry(T0, 3, "Redis was away for more than 300 s")),
        (trades, trades.lost_entry(T0, 2, "the buffer of 1 bytes is full")),
        (book, book.lost_entry(T0, 5, "for a reason that nobody knows")),
    ]
    trades.flying, book.flying = 2, 1
    assert (trades.backlog, book.backlog) == (5, 5)
    assert settle(grouped(entries)) == ([], 10)
    assert (trades.backlog, book.backlog) == (0, 0)
    assert trades.lost == {"redis_away": 3, "buffer_full": 2}
    assert book.lost == {"other": 5}


def test_published_never_falls():
    """Redis may lose acknowledged entries; a counter that fell would look like a restart, and its rate like a burst."""
    metrics = BridgeMetrics(list)
    seen = [metrics._never_decreasing({("one",): value})["one",] for value in (-4, 7, 3, 8)]
    assert seen == [0, 7, 7, 8]
