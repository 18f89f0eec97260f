"""Ids that rise by one: what a hole is, and what isn't one."""

from __future__ import annotations

from bridge.exchanges.api import Subscription
from bridge.exchanges.toolkit.consecutive import ConsecutiveIds
from bridge.model import Channel
from tests.unit.core import T0

BTC, ETH = Subscription(Channel.TRADES, "BTC-EUR"), Subscription(Channel.TRADES, "ETH-EUR")


def missing(ids: ConsecutiveIds, *numbers: int, stream: Subscription = BTC) -> list[int | None]:
    return [gap.count for number in numbers for gap in ids.note(stream, number, T0)]


def test_a_hole_is_a_gap_of_its_size() -> None:
    ids = ConsecutiveIds()
    assert missing(ids, 7, 8, 9) == []
    [gap] = ids.note(BTC, 12, T0)
    assert (gap.count, gap.subject, gap.channel, gap.reason) == (
        2,
        "BTC-EUR",
        Channel.TRADES,
        "id 9 was last, then came 12",
    )
    assert missing(ids, 13) == []


def test_a_repeat_is_none_and_streams_count_for_themselves() -> None:
    ids = ConsecutiveIds()
    assert missing(ids, 7, 8, 7, 8, 9) == []
    assert missing(ids, 100, 102, stream=ETH) == [1]
    assert missing(ids, 10) == []


def test_what_was_told_is_not_told_again() -> None:
    ids = ConsecutiveIds()
    missing(ids, 1)
    missing(ids, 1, stream=ETH)
    ids.forget(BTC)
    assert missing(ids, 5, 7) == [1]
    assert missing(ids, 3, stream=ETH) == [1]
    ids.forget()
    assert missing(ids, 50) == missing(ids, 60, stream=ETH) == []
