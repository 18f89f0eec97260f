"""The topics of a connection: asked for, served or refused each for itself, renewed, asked for again; as a table."""

from __future__ import annotations

import pytest

from bridge.exchanges.toolkit.sessions.topics import Topics
from tests.unit.core import SECOND, T0

ABCDE = ("a", "b", "c", "d", "e")


class Asked:
    """Topics, and what was asked of the exchange."""

    def __init__(self, names=ABCDE, most=2):
        self.topics = Topics(names, most)
        self.topics.begin(T0)

    def sent(self):
        """The requests since the last look: their ids, by what they are."""
        found = {("-" if r.op == "unsubscribe" else "+") + "".join(r.topics): r.ident for r in self.topics.requests}
        self.topics.requests.clear()
        return found

    def accept(self, *words):
        sent = self.sent()
        return [name for word in words or sent for name in self.topics.acknowledged(sent[word], T0)]

    def tick(self, at):
        return self.topics.tick(T0 + int(at * SECOND))


def test_it_asks_for_all_and_no_more_at_once_than_a_request_may_name():
    asked = Asked()
    assert list(asked.sent()) == ["+ab", "+cd", "+e"]
    assert not asked.topics.settled


@pytest.mark.parametrize("order", [("+ab", "+cd", "+e"), ("+e", "+ab", "+cd")])
def test_answers_may_come_in_any_order(order):
    asked = Asked()
    assert asked.accept(*order) == list("".join(order).replace("+", ""))
    assert asked.topics.settled
    assert asked.topics.served == set(ABCDE)


def test_an_answer_without_id_is_to_the_oldest_request():
    asked = Asked()
    assert asked.topics.acknowledged("", T0) == ["a", "b"]
    assert asked.topics.acknowledged("", T0) == ["c", "d"]


@pytest.mark.parametrize("ident", ["77", "x"])
def test_an_answer_to_nothing_is_none(ident):
    asked = Asked()
    assert asked.topics.acknowledged(ident, T0) == []
    assert asked.topics.rejected(ident, "no", "a", T0) == []
    assert asked.topics.standing(ident, "a", T0) == []
    assert (asked.topics.served, asked.topics.refused) == (set(), {})


def test_data_before_its_acknowledgement():
    asked = Asked()
    assert asked.topics.came("a", T0)
    assert not asked.topics.came("a", T0)
    assert not asked.topics.came("unknown", T0)
    assert asked.accept("+ab") == ["b"]


class TestRefusals:
    """Whether the good topics of a request that is refused stand is not known."""

    def test_the_named_one_is_refused_and_the_others_are_asked_for_one_by_one(self):
        asked = Asked(most=5)
        assert asked.topics.rejected(asked.sent()["+abcde"], "handler not found", "c", T0) == ["c"]
        assert asked.topics.refused == {"c": "handler not found"}
        assert list(asked.sent()) == ["+a", "+b", "+d", "+e"]

    def test_those_whose_data_came_stand(self):
        asked = Asked(most=5)
        asked.topics.came("a", T0)
        asked.topics.rejected(asked.sent()["+abcde"], "no", "c", T0)
        assert list(asked.sent()) == ["+b", "+d", "+e"]

    def test_who_is_meant_is_found_out_one_by_one(self):
        asked = Asked(most=3)
        assert asked.topics.rejected(asked.sent()["+abc"], "Invalid symbol", "Invalid symbol", T0) == []
        sent = asked.sent()
        assert list(sent) == ["+a", "+b", "+c"]
        assert asked.topics.rejected(sent["+b"], "Invalid symbol", "Invalid symbol", T0) == ["b"]

    def test_one_that_is_subscribed_already_is_as_good_as_accepted(self):
        asked = Asked(most=3)
        assert asked.topics.standing(asked.sent()["+abc"], "b", T0) == ["b"]
        assert list(asked.sent()) == ["+a", "+c"]
        assert asked.topics.served == {"b"}

    def test_it_is_asked_for_again_after_a_minute_and_said_once(self):
        asked = Asked(("a",))
        assert asked.topics.rejected(asked.sent()["+a"], "no", "a", T0) == ["a"]
        asked.tick(47)
        assert asked.sent() == {}
        asked.tick(73)
        sent = asked.sent()
        assert list(sent) == ["+a"]
        assert asked.topics.rejected(sent["+a"], "no", "a", T0 + 73 * SECOND) == []
        asked.tick(146)
        assert asked.topics.rejected(asked.sent()["+a"], "another reason", "a", T0) == ["a"]
        asked.tick(220)
        assert asked.accept("+a") == ["a"]
        assert asked.topics.refused == {}
        asked.tick(1000)
        assert asked.sent() == {}

    def test_its_data_shows_that_it_is_served_after_all(self):
        asked = Asked(("a",))
        asked.topics.rejected(asked.sent()["+a"], "no", "a", T0)
        assert asked.topics.came("a", T0)
        asked.tick(100)
        assert (asked.topics.refused, asked.sent()) == ({}, {})

    def test_no_answer_is_a_refusal_once_others_have_one(self):
        asked = Asked()
        asked.accept("+ab")
        assert asked.tick(9.9) == []
        assert asked.tick(10.1) == ["c", "d", "e"]
        assert set(asked.topics.refused.values()) == {"no answer to the subscription within 10 s"}
        assert not asked.topics.overdue(T0 + 11 * SECOND)

    def test_no_answer_at_all_is_the_connections(self):
        asked = Asked()
        assert not asked.topics.overdue(T0 + 10 * SECOND)
        assert asked.topics.overdue(T0 + 11 * SECOND)


class TestRenewal:
    def test_it_is_given_back_first(self):
        asked = Asked()
        asked.accept()
        asked.topics.renew(["a", "b", "c"], T0)
        assert list(asked.sent()) == ["-ab", "-c", "+ab", "+c"]

    def test_what_is_refused_is_not_renewed(self):
        asked = Asked(most=1)
        sent = asked.sent()
        asked.topics.rejected(sent["+a"], "no", "a", T0)
        asked.topics.renew(["a", "b"], T0)
        assert list(asked.sent()) == ["-b", "+b"]

    def test_a_refusal_leaves_no_other_topic_behind(self):
        """They were given back: that they had been served says nothing."""
        asked = Asked(most=3)
        asked.accept()
        asked.topics.renew(["a", "b", "c"], T0)
        assert asked.topics.rejected(asked.sent()["+abc"], "no", "b", T0) == ["b"]
        assert list(asked.sent()) == ["+a", "+c"]

    def test_one_that_nobody_answers_is_no_refusal(self):
        """Its data is missed, or not: others see to that."""
        asked = Asked()
        asked.accept()
        asked.topics.renew(["a"], T0)
        assert asked.tick(11) == []
        assert asked.topics.settled


class TestQuiet:
    def test_once_in_a_while(self):
        asked = Asked(("a", "b", "c"))
        asked.accept("+ab")
        asked.topics.came("a", T0)
        asked.topics.came("b", T0 + 5 * SECOND)
        found = [asked.topics.quiet("abc", T0 + at * SECOND, 10 * SECOND) for at in (10, 11, 12, 16, 22)]
        assert found == [[], ["a"], [], ["b"], ["a"]]


class TestPace:
    """What is sent is paced, over all connections to an exchange: hundreds of requests take longer than an answer may."""

    def test_few_are_unanswered_at_a_time(self):
        asked = Asked([f"{number:02}" for number in range(30)], most=1)
        sent = asked.sent()
        assert len(sent) == 10
        first = list(sent.values())[:2]
        asked.topics.acknowledged(first[0], T0)
        asked.topics.rejected(first[1], "no", "01", T0)
        assert list(asked.sent()) == ["+10", "+11"]
        assert not asked.topics.settled

    def test_what_waits_to_be_asked_is_not_late(self):
        asked = Asked([f"{number:02}" for number in range(30)], most=1)
        asked.topics.came("29", T0)
        late = asked.tick(11)
        assert late == [f"{number:02}" for number in range(10)]
        assert list(asked.sent())[10:] == [f"+{number}" for number in range(10, 20)]

    def test_giving_back_waits_for_its_turn_only(self):
        asked = Asked([f"{number:02}" for number in range(11)], most=1)
        asked.topics.renew(["00"], T0)
        sent = asked.sent()
        assert list(sent)[:10] == [f"+{number:02}" for number in range(10)]
        assert len(sent) == 10
        asked.topics.acknowledged(sent["+00"], T0)
        assert list(asked.sent()) == ["+10", "-00"]


def test_requests_are_no_longer_than_they_may_be():
    topics = Topics(["a" * 10, "b" * 10, "c" * 10], 5, most_bytes=26)
    topics.begin(T0)
    assert [len(request.topics) for request in topics.requests] == [2, 1]
    topics.requests.clear()
    topics.renew(topics.names, T0)
    assert [len(request.topics) for request in topics.requests] == [2, 1, 2, 1]


def test_a_list_of_what_is_held_refuses_what_was_accepted_and_never_came():
    asked = Asked("abc", 3)
    asked.accept()
    asked.topics.came("b", T0)
    assert asked.topics.listed(["c"], "not there", T0) == ["a"]
    assert asked.topics.refused == {"a": "not there"}
    assert asked.topics.listed(["c"], "not there", T0) == []
    assert asked.tick(73) == []
    assert list(asked.sent()) == ["+a"]
