"""Topics of answers that name them: which of the forms is asked for, what is refused, what is awaited."""

from __future__ import annotations

import pytest

from bridge.exchanges.toolkit.sessions.named_topics import NamedTopics
from tests.unit.core import SECOND, T0

FORMS = {"a3": ("a3", "a2", "a1"), "b1": ("b1",)}
NO = "not accepted"


class Asked:
    """Topics that are asked for, and the forms of each request, in their order."""

    def __init__(self, **options):
        self.topics = NamedTopics(FORMS, 10, **options)
        self.topics.begin(T0)
        self.found = [["a3", "b1"]]
        assert self.sent() == self.found

    def sent(self):
        """The forms of the requests since the last look."""
        found = [[self.topics.form(name) for name in request.topics] for request in self.topics.requests]
        self.topics.requests.clear()
        return found


@pytest.fixture
def asked():
    return Asked(left_out=NO)


class TestForms:
    def test_the_newest_is_asked_for_and_served(self, asked):
        assert asked.topics.accepted(["b1", "a3"], T0) == (["b1", "a3"], [])
        assert asked.sent() == []
        assert asked.topics.settled

    def test_one_that_is_left_out_is_asked_for_in_its_older_forms_then_refused(self, asked):
        assert asked.topics.accepted(["b1"], T0) == (["b1"], [])
        assert asked.sent() == [["a2"]]
        assert asked.topics.accepted([], T0) == ([], [])
        assert asked.sent() == [["a1"]]
        assert not asked.topics.settled
        assert asked.topics.accepted([], T0) == ([], ["a3"])
        assert asked.topics.refused == {"a3": NO}
        assert asked.topics.form("a3") == "a1", "which was asked for last"
        assert asked.topics.settled

    def test_a_minute_later_it_begins_with_the_newest(self, asked):
        for _ in range(3):
            asked.topics.accepted([], T0)
        asked.sent()
        asked.topics.tick(T0 + 73 * SECOND)
        assert sorted(asked.sent()) == [["a3"], ["b1"]]

    def test_an_error_is_answered_by_the_older_form_while_the_others_are_awaited(self, asked):
        assert asked.topics.rejected_topic("a3", "no", T0) == []
        assert asked.sent() == [["a2"]]
        assert asked.topics.accepted(["b1"], T0) == (["b1"], [])
        assert asked.topics.accepted(["a3"], T0) == (["a3"], [])
        assert asked.topics.settled

    def test_one_that_was_served_is_refused_where_it_has_no_older_form(self, asked):
        asked.topics.accepted(["a3", "b1"], T0)
        assert asked.topics.rejected_topic("b1", "no", T0) == ["b1"]
        assert asked.topics.served == {"a3"}

    def test_an_error_of_what_nobody_waits_for_says_nothing(self, asked):
        asked.topics.accepted(["a3"], T0)
        assert asked.topics.rejected_topic("b1", "no", T0) == []
        assert asked.topics.refused == {"b1": NO}


class TestAnswers:
    def test_data_is_an_answer(self, asked):
        assert asked.topics.came("a3", T0)
        assert not asked.topics.settled
        assert asked.topics.came("b1", T0)
        assert asked.topics.settled

    def test_what_has_sent_data_is_not_left_out(self, asked):
        asked.topics.came("a3", T0)
        assert asked.topics.accepted(["b1"], T0) == (["b1"], [])
        assert asked.sent() == []

    def test_where_only_errors_refuse_the_rest_is_awaited_until_its_time_is_over(self):
        asked = Asked(limit=2.0)
        assert asked.topics.accepted(["a3"], T0) == (["a3"], [])
        assert asked.topics.tick(T0 + 2 * SECOND) == []
        assert asked.topics.tick(T0 + 2 * SECOND + 1) == ["b1"]
        assert asked.topics.refused == {"b1": "no answer to the subscription within 2 s"}

    def test_our_clock_may_be_set_back(self):
        asked = Asked(limit=2.0)
        asked.topics.accepted(["a3"], T0)
        back = T0 - 7200 * SECOND
        assert asked.topics.tick(back) == []
        assert asked.topics.tick(back + 3 * SECOND) == ["b1"]
        asked.topics.tick(back - 7200 * SECOND)
        assert asked.sent() == []
        asked.topics.tick(back - 7200 * SECOND + 73 * SECOND)
        assert asked.sent() == [["b1"]]
