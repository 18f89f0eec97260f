"""Every way in which LMEX says that something is wrong: frame, typed error, log line, count, and ``down`` where it is dead."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from bridge.exchange_errors import ErrorKind, ExchangeError, HandshakeError, ReportedError, RestError
from bridge.exchanges.api import ConnectionPlan
from bridge.exchanges.limitlex.pair import PUBLIC, kind_of
from bridge.exchanges.lmex import Lmex
from bridge.feed.connection import Connection
from bridge.feed.context import FeedContext
from bridge.feed.policies import Pacer
from bridge.model import Control, ControlEvent
from tests.unit import lmex_frames as frames
from tests.unit.core import T0
from tests.unit.lmex_sessions import account, books_session, trades


def errors(*rows: dict[str, Any], key: str = "errors") -> bytes:
    return json.dumps({"severity": "ERROR", key: list(rows)}).encode()


def of_topic(code: int) -> bytes:
    return errors({"arg": "update:BTC-PERP_0", "error": {"code": code, "message": "words"}})


class Shell:
    """A connection with the session of an `Apart` that is subscribed, and all that comes of its frames."""

    def __init__(self, session: Any) -> None:
        self.events: list[Any] = []
        self.counts: Counter[str] = Counter()
        self.logs = LogCapture()
        receiver = SimpleNamespace(event=self.events.append, fault=self.count, unknown=lambda _: None)
        context = FeedContext(
            exchange=Lmex,  # type: ignore[arg-type]
            receiver=receiver,  # type: ignore[arg-type]
            rest=None,  # type: ignore[arg-type]
            pacer=Pacer(0.0, lambda: 0.0),
            log=structlog.wrap_logger(None, processors=[self.logs]),
            now=lambda: T0,
        )
        plan = ConnectionPlan("market", (), lambda: session.session)
        self.connection = Connection(plan, context, asyncio.Event(), hold=False)

    def count(self, error: ExchangeError) -> None:
        self.counts[error.kind] += 1

    def frame(self, data: bytes) -> Shell:
        self.connection.frame(data)
        return self

    @property
    def said(self) -> list[tuple[Any, ...]]:
        assert all(entry["log_level"] == "warning" for entry in self.logs.entries)
        rows = [entry for entry in self.logs.entries if entry["event"] == "exchange_error"]
        return [(row["kind"], row.get("code"), row.get("topic"), row["message"]) for row in rows]

    @property
    def down(self) -> set[str]:
        return {
            event.reason for event in self.events if isinstance(event, Control) and event.event is ControlEvent.DOWN
        }


OSS = [
    (of_topic(1000), ("unknown_market", 1000, "update:BTC-PERP_0", "words"), "1000: words", ""),
    (of_topic(1005), ("unknown_topic", 1005, "update:BTC-PERP_0", "words"), "1005: words", ""),
    (of_topic(1009), ("bad_request", 1009, "update:BTC-PERP_0", "words"), "", ""),
    (of_topic(4711), ("reported", 4711, "update:BTC-PERP_0", "words"), "4711: words", ""),
    (
        errors({"arg": "update:BTC-PERP_0", "errorCode": "MARKET_PAIR_NOT_SUPPORT"}, key="error"),
        ("unknown_market", "MARKET_PAIR_NOT_SUPPORT", "update:BTC-PERP_0", ""),
        "MARKET_PAIR_NOT_SUPPORT",
        "",
    ),
    (
        errors({"arg": "update:BTC-PERP_0", "errorCode": "SOMETHING_ELSE"}, key="error"),
        ("reported", "SOMETHING_ELSE", "update:BTC-PERP_0", ""),
        "SOMETHING_ELSE",
        "",
    ),
    (
        frames.OP_ERROR,
        ("bad_request", 1001, None, "Operation provided is currently not supported"),
        "",
        "",
    ),
    (errors({"error": {"code": 1002, "message": "Bad request"}}), ("bad_request", 1002, None, "Bad request"), "", ""),
    (errors({"error": {"code": 1007, "message": "full"}}), ("buffer_full", 1007, None, "full"), "", "1007: full"),
    (of_topic(1007), ("buffer_full", 1007, "update:BTC-PERP_0", "words"), "", "1007: words"),
    (errors({"error": {"code": 1008}}), ("too_many_failures", 1008, None, ""), "", "1008"),
    (
        frames.EXPIRED,
        ("session_expired", 10002, None, "User session is expired. Please login again"),
        "",
        "10002: User session is expired. Please login again",
    ),
    (frames.AUTH_FAILED, ("login_refused", -7, None, "Authenticate failed"), "", ""),
    (b'{"code":7,"message":"no"}', ("reported", 7, None, "no"), "", ""),
    (b'{"success":false,"message":"no"}', ("reported", None, None, "no"), "", ""),
    (b'{"status":429,"message":"slow down"}', ("too_many_requests", 429, None, "slow down"), "", ""),
    (b'{"status":503}', ("reported", 503, None, ""), "", ""),
]


@pytest.mark.parametrize(("frame", "said", "down", "lost"), OSS)
async def test_over_the_books_endpoint(frame, said, down, lost):
    shell = Shell(books_session("BTC-PERP")).frame(frame)
    assert shell.said == [said]
    assert shell.counts == {said[0]: 1}
    assert shell.down == ({down} if down else set())
    assert lost in shell.connection.lost_reason
    assert bool(lost) == bool(shell.connection.lost_reason)


async def test_a_topic_that_the_ack_leaves_out():
    shell = Shell(trades("BTC-PERP"))
    for _ in range(3):
        shell.frame(frames.EMPTY_ACK)
    why = "the exchange doesn't accept the topic"
    assert shell.said == [("topic_left_out", None, "tradeHistoryApi:BTC-PERP", why)]
    assert shell.counts == {"topic_left_out": 1}
    assert shell.down == {why}


async def test_private_topics_that_the_ack_leaves_out():
    shell = Shell(account()).frame(frames.LOGGED_IN)
    for _ in range(7):
        shell.frame(frames.EMPTY_ACK)
    assert shell.counts == {"topic_left_out": 3}
    assert [entry["consequence"] for entry in shell.logs.entries] == [
        f"no {channel} of main" for channel in ("fills", "orders", "positions")
    ]
    assert shell.down == {"the exchange accepts none of the channel's topics"}


@pytest.mark.parametrize("frame", [frames.LOGIN_FAILED, frames.AUTH_FAILED, b'{"code":1001,"message":"no"}'])
async def test_a_log_in_that_is_refused(frame):
    shell = Shell(account()).frame(frame).frame(frame)
    assert shell.counts == {"login_refused": 2}
    assert [topic for _, _, topic, _ in shell.said] == ["authKeyExpires", "login"]
    assert shell.connection.lost_reason.startswith("the log-in is refused")
    assert frames.SECRET not in repr(shell.logs.entries)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(0, "unreachable"), (400, "handshake_refused"), (429, "handshake_rate_limited"), (503, "handshake_refused")],
)
def test_handshakes(status, kind):
    error = HandshakeError("lmex", status, "no", 7.0)
    assert (error.kind, error.status, error.retry_after) == (kind, status, 7.0)


async def test_a_handshake_that_blocks():
    """HTTP 400 keeps everybody away for ten minutes."""
    shell = Shell(books_session("BTC-PERP"))
    error = await shell.connection._hold_back(HandshakeError("lmex", 400, "abnormal usage"))
    assert (error.kind, error.message) == ("blocked", "abnormal usage")
    assert error.retry_after >= 600
    refused = await shell.connection._hold_back(HandshakeError("lmex", 503, "no"))
    assert refused.kind == "handshake_refused"


@pytest.mark.parametrize(
    ("status", "more", "kind"),
    [
        (0, {}, "rest_no_answer"),
        (429, {}, "rest_rate_limited"),
        (401, {}, "rest_login_refused"),
        (400, {"kind": ErrorKind.REST_LOGIN_REFUSED, "code": "10002"}, "rest_login_refused"),
        (500, {}, "rest_failed"),
        (200, {}, "rest_failed"),
    ],
)
def test_rest(status, more, kind):
    error = RestError("lmex", "/user/wallet", status, "no", 9.0, **more)
    assert (error.kind, error.topic, error.retry_after) == (kind, "/user/wallet", 9.0)
    assert error.code == more.get("code")


def test_kinds_are_short_words_of_their_own():
    assert all(kind.value.isidentifier() and kind.value.islower() and kind.meaning for kind in ErrorKind)
    assert f"{ErrorKind.BLOCKED}" == "blocked"


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [(b'{"error":{"message":"busy"}}', None, "busy"), (b'{"t":"oops","error":"no"}', None, "no")],
)
def test_limitlex_may_say_errors_too(frame, code, words):
    outputs = []
    assert kind_of(frame, frame, PUBLIC, outputs) == ""
    [said] = outputs
    assert isinstance(said.error, ReportedError)
    assert (said.error.code, said.error.message) == (code, words)
