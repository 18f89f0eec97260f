"""Bybit's sessions as its tests have them: connected, logged in, answered."""

from __future__ import annotations

import json

from bridge.exchanges.api import Credentials, Profile, Send
from bridge.exchanges.bybit import Bybit, BybitOptions
from bridge.exchanges.bybit.private import AccountSession, BybitRest
from bridge.exchanges.bybit.public import PublicSession
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.names import Names
from bridge.model import Channel
from tests.unit import bybit_frames as frames
from tests.unit.core import T0, Apart
from tests.unit.session_views import RestTable, reconnects

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


def refuse(session, words="Params Error"):
    session.receive(frames.NOT_LOGGED_IN.replace(b"Params Error", words.encode()), T0)
    return reconnects(session)


class Answers(RestTable):
    answer = staticmethod(frames.answer)
