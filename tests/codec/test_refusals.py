"""Calls that an exchange refuses, or leaves unanswered, through CCXT: down alone, and asked for again until they are taken."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from bridge.exchanges.api import Output, Said, Send, Session
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent
from tests.codec.fakes import Kraken
from tests.codec.needs import needs_ccxt
from tests.codec.sessions import NOW, session_of
from tests.codec.test_seam import fresh
from tests.unit import kraken_frames, okx_frames

pytestmark = needs_ccxt
SECOND = 1_000_000_000
SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")
REFUSED = kraken_frames.REFUSED.replace(b"XBT/USD", b"ETH/USD")


def asked(outputs: Iterable[Output]) -> list[Any]:
    """The symbols of each message that subscribes."""
    sent = [json.loads(output.text) for output in outputs if isinstance(output, Send)]
    return [message["params"]["symbol"] for message in sent if message["method"] == "subscribe"]


def told(outputs: Iterable[Output]) -> list[tuple[str, ControlEvent]]:
    return [(output.subject, output.event) for output in outputs if isinstance(output, Control)]


def wait(session: Session, begin: int, end: int) -> list[Output]:
    """What the session hands out between these seconds after it was connected."""
    return [output for second in range(begin, end) for output in session.tick(NOW + second * SECOND)]


def kraken() -> Session:
    """Connected, with two books of three; one pair is refused."""
    session = session_of(
        "kraken", dict(zip(SYMBOLS, ("BTCUSD", "ETHUSD", "SOLUSD"), strict=True)), frozenset({Channel.BOOK})
    )
    assert asked(session.connected(NOW)) == [[*SYMBOLS]]
    session.receive(REFUSED, NOW)
    for symbol in ("BTC/USD", "SOL/USD"):
        assert [
            output for output in session.receive(Kraken.book(symbol).encode(), NOW) if isinstance(output, BookSnapshot)
        ]
    return session


def test_a_book_that_was_refused_is_asked_for_alone_once_a_minute_until_it_comes() -> None:
    """CCXT believes that it is subscribed, and would send nothing."""
    session = kraken()
    early = wait(session, 1, 70)
    assert (told(early), asked(early)) == ([("ETH-USD", ControlEvent.DOWN)], [])
    assert session.unserved == {"ETH-USD"}
    again = wait(session, 70, 80)
    assert asked(again) == [["ETH/USD"]]
    session.receive(REFUSED, NOW + 80 * SECOND)
    later = wait(session, 81, 230)
    assert asked(later) == [["ETH/USD"], ["ETH/USD"]]
    assert {subject for subject, _ in told(later)} == {"ETH-USD"}
    taken = session.receive(Kraken.book("ETH/USD").encode(), NOW + 230 * SECOND)
    assert told(taken) == [("ETH-USD", ControlEvent.LIVE)]
    assert [output.subject for output in taken if isinstance(output, BookSnapshot)] == ["ETH-USD"]
    end = wait(session, 231, 400)
    assert (told(end), asked(end), session.unserved) == ([], [], set())


def test_a_book_that_is_never_served_costs_no_more_with_every_minute() -> None:
    session: Any = kraken()
    wait(session, 1, 600)
    waiting = len(session._waiting), len(session._awaited), len(session._refused), len(session._wire.futures)
    wait(session, 600, 1_800)
    assert waiting == (len(session._waiting), len(session._awaited), len(session._refused), len(session._wire.futures))


def test_a_refusal_that_names_nobody_leaves_the_other_pairs_alone() -> None:
    """OKX's has no id; CCXT takes it for a refusal of all that is subscribed."""
    pairs = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
    session = session_of("okx", {pair.replace("-", "/"): pair for pair in pairs}, frozenset({Channel.BOOK}))
    refusal = json.loads(okx_frames.REFUSED)
    refused = json.dumps({name: value for name, value in refusal.items() if name != "id"}).encode()
    snapshots = {pair: okx_frames.SNAPSHOT.replace(b"BTC-USDT", pair.encode()) for pair in pairs}

    def topics(outputs: Iterable[Output]) -> list[list[str]]:
        sent = [json.loads(output.text) for output in outputs if isinstance(output, Send) and output.text != "ping"]
        return [[arg["instId"] for arg in message["args"]] for message in sent]

    assert topics(session.connected(NOW)) == [[*pairs]]
    first = session.receive(refused, NOW)
    assert topics(first) == [[pair] for pair in pairs]
    assert len([output for output in first if isinstance(output, Said)]) == 1
    assert told(session.receive(snapshots["BTC-USDT"], NOW)) == [("BTC-USDT", ControlEvent.LIVE)]
    assert told(session.receive(refused, NOW)) == [("ETH-USDT", ControlEvent.DOWN), ("SOL-USDT", ControlEvent.DOWN)]
    assert told(session.receive(snapshots["SOL-USDT"], NOW)) == [("SOL-USDT", ControlEvent.LIVE)]
    again = wait(session, 1, 62)
    assert (told(again), topics(again)) == ([], [["ETH-USDT"]])
    assert told(session.receive(refused, NOW + 62 * SECOND)) == [("ETH-USDT", ControlEvent.DOWN)]
    for pair in ("BTC-USDT", "SOL-USDT"):
        update = okx_frames.UPDATE.replace(b"BTC-USDT", pair.encode())
        found = session.receive(update, NOW + 63 * SECOND)
        assert [output.subject for output in found if isinstance(output, BookDelta)] == [pair]


def test_words_that_name_nobody_are_told_and_end_nothing() -> None:
    session = kraken()
    session._codec.rejected.append((ValueError("some trouble"), None))  # type: ignore[attr-defined]
    found = session.receive(kraken_frames.HEARTBEAT, NOW)
    assert [output.error.message for output in found if isinstance(output, Said)] == ["ValueError: some trouble"]
    assert told(found) == []


@pytest.mark.parametrize("subscribe_hash", ["trades", None])
def test_a_call_that_insists_sends_its_message_whatever_ccxt_believes(subscribe_hash: str | None) -> None:
    """Some modules subscribe under another name than that of their data: a refusal doesn't make them forget it."""
    codec = fresh("okx")

    async def call() -> Any:
        return await codec.watch("wss://x", "trades:BTC/USDT", {"op": "subscribe"}, subscribe_hash)

    for insists, sent in ((False, 1), (False, 1), (True, 2)):
        codec.machine.start(call()).insists = insists
        codec.machine.run()
        assert len(codec.machine.sends) == sent
