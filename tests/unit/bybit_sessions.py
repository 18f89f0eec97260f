"""Bybit's sessions as its tests have them: connected, logged in, answered."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from bridge.exchanges.api import Credentials, Fetch, Flow, HttpResponse, Profile, Reconnect, Restated, Send
from bridge.exchanges.bybit import Bybit, BybitOptions
from bridge.exchanges.bybit.private import AccountSession, BybitRest
from bridge.exchanges.bybit.public import PublicSession
from bridge.exchanges.toolkit.history import AccountMemory
from bridge.exchanges.toolkit.names import Names
from bridge.model import Channel, Control
from tests.unit import bybit_frames as frames
from tests.unit.core import T0, Apart

ACCOUNT = Credentials("main", frames.KEY, frames.SECRET)
DERIVED = frozenset({Channel.FUNDING, Channel.MARK, Channel.INTEREST, Channel.LIQUIDATIONS})
"""What only derivatives have."""
ALL = DERIVED | {Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER}
PERPETUAL = {"BTC-USDT-PERP": "BTCUSDT"}
SYMBOLS = {"BTC-USDT": "BTCUSDT", "ETH-USDT": "ETHUSDT"}
ORDER = "5cf98598-39a7-459e-97bf-76ca765ee020"
MILLISECOND = 1_000_000
DAY = 24 * 3600 * 1000
OPEN = "/v5/order/realtime?openOnly=0"
ENDED = "/v5/order/realtime?openOnly=1"
PERP = "&category=linear&settleCoin=USDT"


def names() -> Names:
    found = Names()
    found.learn("linear", "BTCUSDT", "BTC-USDT-PERP")
    found.learn("linear", "ETHUSDT", "ETH-USDT-PERP")
    found.learn("spot", "BTCUSDT", "BTC-USDT")
    return found


def bybit(*pairs, channels=ALL, account=None, url=None, rest_url=None, **options):
    return Bybit(Profile(pairs, frozenset(channels), url, rest_url, account, BybitOptions(**options)))


def public(channels=ALL, *, symbols=None, depth=200, most=20, now=T0):
    """A connected session whose subscriptions are accepted."""
    session = Apart(PublicSession("wss://x", symbols or SYMBOLS, frozenset(channels), depth=depth, most=most))
    session.connected(now)
    accept(session, now)
    return session


def account(memory=None, rest=None, now=T0):
    """A session that has sent its log-in; the message is still in ``actions``."""
    session = Apart(AccountSession("wss://x", ACCOUNT, rest or BybitRest(), names(), memory or AccountMemory()))
    session.connected(now)
    return session


def subscribed(**more):
    """An account's session that is logged in, and whose topics are accepted."""
    session = account(**more)
    session.receive(frames.LOGGED_IN, T0)
    accept(session)
    session.actions.clear()
    return session


def accept(session, now=T0):
    """Acknowledge all that it has asked for; returns the events."""
    events = []
    while requests := [request for request in sent(session) if request["op"] == "subscribe"]:
        for request in requests:
            events += session.receive(ack(request["req_id"]), now)
    return events


def ack(ident):
    return json.dumps({"success": True, "ret_msg": "", "conn_id": "c", "req_id": ident, "op": "subscribe"}).encode()


def refusal(ident, words):
    return ack(ident).replace(b"true", b"false").replace(b'"ret_msg": ""', f'"ret_msg": "{words}"'.encode())


def sent(session):
    """What was sent but for pings, oldest first; it is taken out of the actions."""
    texts = [action.text for action in session.actions if isinstance(action, Send)]
    session.actions[:] = [action for action in session.actions if not isinstance(action, Send)]
    return [message for message in map(json.loads, texts) if message["op"] != "ping"]


def asked(session):
    """Operations and topics of what was sent."""
    return [(message["op"], *message["args"]) for message in sent(session)]


def data(events):
    return [event for event in events if not isinstance(event, Control)]


def controls(events):
    """Control events as ``(event, channel, subject)``."""
    return [(str(e.event), str(e.channel), e.subject) for e in events if isinstance(e, Control)]


def take(session, *many, recv=T0):
    """The data events of frames."""
    return [event for frame in many for event in data(session.receive(frame, recv))]


def reconnects(session):
    return [action for action in session.actions if isinstance(action, Reconnect)]


def log_in(session):
    [message] = [json.loads(action.text) for action in session.actions if isinstance(action, Send) and action.secret]
    return message


def refuse(session, words="Params Error"):
    session.receive(frames.NOT_LOGGED_IN.replace(b"Params Error", words.encode()), T0)
    return reconnects(session)


def states(session):
    """What was restated, by channel."""
    return {action.channel: action for action in session.actions if isinstance(action, Restated)}


def wants(session):
    return sum(isinstance(action, Fetch) for action in session.actions)


class Answers:
    """REST as a table: path and some of the query → rows, an answer, or a response; without one, an empty list."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = answers or {}
        self.called: list[str] = []
        self.headers: list[dict[str, str]] = []

    def drive(self, flow: Flow[Any]) -> Any:
        try:
            request = next(flow)
            while True:
                self.called.append(request.path)
                self.headers.append(request.headers)
                request = flow.send(self._answer(request.path))
        except StopIteration as stop:
            return stop.value

    def _answer(self, called: str) -> HttpResponse:
        path, _, query = called.partition("?")
        given = {(name, value) for name, values in parse_qs(query, keep_blank_values=True).items() for value in values}
        for key, answer in self.answers.items():
            known, _, wanted = key.partition("?")
            if known == path and {tuple(part.split("=", 1)) for part in wanted.split("&") if part} <= given:
                found = answer(called) if callable(answer) else answer
                if isinstance(found, list):
                    found = frames.answer(found)
                return found if isinstance(found, HttpResponse) else HttpResponse(200, found)
        return HttpResponse(200, frames.answer([]))
