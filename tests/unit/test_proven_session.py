"""A session that takes acknowledgements for claims: what a wrong path, a canary and a list of subscriptions mean."""

from __future__ import annotations

import json
from typing import Any

from bridge.exchanges.api import Output, Reconnect, Replace, Send, Subscription
from bridge.exchanges.toolkit.sessions.pings import NoPings
from bridge.exchanges.toolkit.sessions.proven_session import ProvenSession
from bridge.exchanges.toolkit.sessions.topics import Request, Topics
from bridge.model import Channel, Trade
from tests.unit.core import SECOND, T0, Apart, faults

A, B = Subscription(Channel.TRADES, "A-EUR"), Subscription(Channel.TRADES, "B-EUR")
STREAMS = {"a": [A], "b": [B]}


class Scripted(ProvenSession):
    """``{"topic":"a"}`` is a trade, ``{"ack":"1"}`` an acknowledgement, ``{"list":["a"]}`` the list."""

    def __init__(self, canary: str = "", listing: str = "", most: int = 10) -> None:
        streams = {**STREAMS, **({canary: []} if canary else {})}
        super().__init__("x", "wss://x/path", streams, Topics(streams, most), NoPings())
        self._canary, self._listing = canary, listing

    def connected(self, now: int) -> list[Output]:
        return self._begin(now)

    def _request(self, request: Request) -> str:
        return request.ident

    def _decode(self, frame: bytes) -> tuple[str, Any]:
        message = json.loads(frame)
        return message.get("topic", ""), message

    def _answer(self, message: Any, recv: int) -> list[Output]:
        if "list" in message:
            return self._listed(message["list"], recv)
        return self._acknowledged(message["ack"], recv)

    def _data(self, topic: str, message: Any, recv: int) -> list[Output]:
        del message
        return [Trade(of.subject, None, recv, "", "buy", "1", "1") for of in self._streams[topic]]


def begun(**more: str) -> Apart:
    session = Apart(Scripted(**more))
    session.connected(T0)
    return session


def said(session: Apart, *, at: int = 0, **message: Any) -> list[str]:
    events = session.receive(json.dumps(message).encode(), T0 + at * SECOND)
    return [f"{event.subject} {getattr(event, 'event', 'trade')}" for event in events]


def ended(session: Apart) -> list[Any]:
    return [action for action in session.actions if isinstance(action, Reconnect | Replace)]


def sent(session: Apart) -> list[str]:
    return [action.text for action in session.actions if isinstance(action, Send)]


def test_without_a_canary_an_acknowledgement_is_enough() -> None:
    session = begun()
    assert said(session, ack="1") == ["A-EUR live", "B-EUR live"]
    assert session.ready
    assert sent(session) == ["1"]
    session.tick(T0 + 3_600 * SECOND)
    assert ended(session) == []


def test_with_one_nothing_is_live_before_anything_has_come() -> None:
    session = begun(canary="c")
    assert said(session, ack="1") == []
    assert not session.ready
    assert said(session, topic="c") == ["A-EUR live", "B-EUR live"]
    assert session.ready


def test_any_topic_is_proof_and_its_data_follow() -> None:
    session = begun(canary="c")
    said(session, ack="1")
    assert said(session, topic="b") == ["A-EUR live", "B-EUR live", "B-EUR trade"]


def test_data_before_the_acknowledgement_prove_only_themselves() -> None:
    session = begun(canary="c")
    assert said(session, topic="b") == ["B-EUR live", "B-EUR trade"]
    assert said(session, ack="1") == ["A-EUR live"]


def test_a_path_that_says_nothing_is_given_up() -> None:
    session = begun(canary="c")
    said(session, ack="1", at=5)
    session.tick(T0 + 13 * SECOND)
    assert ended(session) == []
    session.tick(T0 + 13 * SECOND + 1)
    [end] = ended(session)
    assert isinstance(end, Reconnect)
    assert end.reason == "acknowledged, but nothing came within 8 s: is wss://x/path the right path?"


def test_one_that_goes_silent_later_is_replaced() -> None:
    session = begun(canary="c")
    said(session, ack="1")
    said(session, topic="c", at=1)
    session.tick(T0 + 61 * SECOND)
    assert ended(session) == []
    for seconds in (62, 63):
        session.tick(T0 + seconds * SECOND)
    assert ended(session) == [Replace("nothing came for 60 s")]


def test_what_is_not_in_the_list_is_refused_but_for_what_has_come() -> None:
    session = begun(listing="LIST")
    said(session, ack="1")
    assert sent(session) == ["1", "LIST"]
    said(session, topic="b")
    assert said(session, list=[]) == ["A-EUR down"]
    [fault] = faults(session)
    assert fault[2:] == ("a", "acknowledged, and yet not among the subscriptions")
    assert said(session, list=["a", "b"]) == []
    assert sent(session) == ["1", "LIST"]


def test_the_list_is_asked_for_once_everything_is_acknowledged() -> None:
    session = Apart(Scripted(listing="LIST", most=1))
    session.connected(T0)
    said(session, ack="1")
    assert sent(session) == ["1", "2"]
    said(session, ack="2")
    assert sent(session) == ["1", "2", "LIST"]
