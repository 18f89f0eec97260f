"""What shows that a book without numbers is wrong: the best prices told beside it, and a fresh book."""

from __future__ import annotations

import pytest

from bridge.book import Book
from bridge.exchanges.api import BestPrices
from bridge.model import BookDelta
from bridge.sequencer.agreement import Agreement, LateChanges
from tests.unit.core import PAIR, SECOND, T0

BIDS, ASKS = [("10", "1")], [("11", "1")]
WINDOW = 2


def book(bids=BIDS, asks=ASKS):
    made = Book()
    made.replace(bids, asks)
    return made


class TestLateChanges:
    """Two connections needn't agree on what has changed within the last moment."""

    def differing(self, at, *, bids=BIDS, asks=ASKS, changed_bids=(), changed_asks=()):
        """How many levels differ after so many seconds, where these have changed at first."""
        late = LateChanges(WINDOW)
        late.note(BookDelta(PAIR, None, T0, "", list(changed_bids), list(changed_asks)))
        return late.differences(book(), book(bids, asks), T0 + at)

    @pytest.mark.parametrize(("at", "found"), [(0, 0), (WINDOW * SECOND - 1, 0), (WINDOW * SECOND, 1)])
    def test_a_level_that_has_just_changed_is_no_difference(self, at, found):
        assert self.differing(at, bids=[("10", "2")], changed_bids=[("10.0", "1")]) == found
        assert self.differing(at, asks=[("11", "2")], changed_asks=[("11.0", "1")]) == found

    def test_a_change_excuses_its_own_side_only(self):
        assert self.differing(1, bids=[("10", "2")], changed_asks=[("10", "0")]) == 1
        assert self.differing(1, asks=[("11", "2")], changed_bids=[("11", "0")]) == 1

    def test_a_level_that_is_missing_or_further_differs(self):
        assert self.differing(0, bids=[], asks=[*ASKS, ("12", "1")]) == 2

    def test_it_is_the_newest_change_that_counts(self):
        late = LateChanges(WINDOW)
        for seconds in (0, 3):
            late.note(BookDelta(PAIR, None, T0 + seconds * SECOND, "", BIDS, []))
        assert late.differences(book(), book([("10", "2")]), T0 + 4 * SECOND) == 0

    def test_changes_of_many_levels_are_forgotten_when_they_are_old_and_only_then(self):
        late = LateChanges(WINDOW)
        late.note(BookDelta(PAIR, None, T0, "", [(str(price), "1") for price in range(20, 5_000)], []))
        late.note(BookDelta(PAIR, None, T0 + SECOND, "", BIDS, []))
        late.note(BookDelta(PAIR, None, T0 + 2 * SECOND, "", [], ASKS))
        assert len(late._at) == 2
        assert late.differences(book(), book([("10", "2")], [("11", "2")]), T0 + 2 * SECOND) == 0


class TestAgreement:
    def told(self, *, known=True):
        agreement = Agreement(WINDOW)
        agreement.told(BestPrices(PAIR, None, T0, "9", "11", known=known))
        return agreement

    def looked(self, agreement, seconds, looked_at=None):
        """What it finds wrong in the end, looked at once a second."""
        return [agreement.trouble(looked_at or book(), T0 + second * SECOND) for second in range(seconds + 1)][-1]

    def test_it_differs_for_as_long_as_is_allowed(self):
        assert self.looked(self.told(), WINDOW - 1) == ""
        wrong = "the book's best prices 10 11 are not 9 11, which the exchange tells"
        assert self.looked(self.told(), WINDOW) == wrong

    def test_what_the_exchange_no_longer_tells_and_what_was_told_of_another_book_do_not_count(self):
        assert self.looked(self.told(known=False), WINDOW) == ""
        agreement = self.told()
        agreement.begin()
        assert self.looked(agreement, WINDOW) == ""

    def test_a_fresh_book_has_its_own_time(self):
        agreement = self.told()
        assert self.looked(agreement, WINDOW) != ""
        agreement.begin()
        agreement.told(BestPrices(PAIR, None, T0, "9", "11"))
        assert agreement.trouble(book(), T0 + WINDOW * SECOND) == ""

    def test_a_side_may_be_empty(self):
        agreement = Agreement(WINDOW)
        agreement.told(BestPrices(PAIR, None, T0, "", "11"))
        assert self.looked(agreement, WINDOW, book([])) == ""

    def test_a_crossed_book_is_wrong_whatever_is_told(self):
        assert self.looked(Agreement(WINDOW), WINDOW, book([("12", "1")])) == "the book is crossed"
