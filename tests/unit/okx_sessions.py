"""OKX's sessions as its tests have them: connected, logged in, answered."""

from __future__ import annotations

import json

from bridge.exchanges.api import Credentials, Profile, Send
from bridge.exchanges.okx import KINDS, Okx, OkxOptions
from bridge.exchanges.okx.private import AccountSession, OkxRest
from bridge.exchanges.okx.public import PublicSession
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.names import Names
from bridge.exchanges.toolkit.sessions.maintenance import Maintenance
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.model import Channel
from tests.unit import okx_frames as frames
from tests.unit.core import T0, Apart
from tests.unit.session_views import RestTable

ACCOUNT = Credentials("main", frames.KEY, frames.SECRET, passphrase=frames.PASSPHRASE)
SYMBOLS = {"BTC-USDT": "BTC-USDT", "BTC-USDT-PERP": "BTC-USDT-SWAP"}
SPOT = {"BTC-USDT": "BTC-USDT"}
TWO = {"BTC-USDT": "BTC-USDT", "ETH-USDT": "ETH-USDT"}
BOOK = frozenset({Channel.BOOK})
TRADES = frozenset({Channel.TRADES})
MARKET = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
DERIVATIVES = frozenset({Channel.FUNDING, Channel.MARK, Channel.INTEREST, Channel.LIQUIDATIONS})
MILLISECOND = 1_000_000
DAY = 24 * 3600 * 1000
ORDER = "312269865356374016"


def contracts():
    return Contracts({"BTC-USDT-PERP": "0.01"}, lambda pair: pair.count("-") > 1)


def okx(*pairs, channels=MARKET, account=None, url=None, rest_url=None, **options):
    return Okx(Profile(pairs, frozenset(channels), url, rest_url, account, OkxOptions(**options)))


def fresh(channels=MARKET, *, symbols=None, kinds=KINDS, maintenance=None, status="1", now=T0):
    """A session that has asked for its topics."""
    session = Apart(
        PublicSession(
            "wss://x",
            SYMBOLS if symbols is None else symbols,
            {channel: kinds[channel] for channel in sorted(channels)},
            maintenance=maintenance or Maintenance(),
            contracts=contracts(),
            status=status,
        )
    )
    session.connected(now)
    return session


def public(channels=MARKET, **more):
    """One whose subscriptions are accepted."""
    session = fresh(channels, **more)
    accept(session)
    return session


def account(memory=None, rest=None, now=T0):
    """A session that has sent its log-in; the message is still in ``actions``."""
    names = Names()
    names.learn("", "BTC-USDT-SWAP", "BTC-USDT-PERP")
    session = Apart(
        AccountSession(
            "wss://x",
            ACCOUNT,
            rest=rest or OkxRest(),
            names=names,
            contracts=contracts(),
            memory=memory or AccountMemory(),
            maintenance=Maintenance(),
        )
    )
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
    """Acknowledge all that it has asked for, argument by argument, the last first; returns the events."""
    events = []
    while requests := [request for request in sent(session) if request["op"] == "subscribe"]:
        for request in requests:
            for arg in reversed(request["args"]):
                events += session.receive(ack(arg, request["id"]), now)
    return events


def ack(arg, ident="1", event="subscribe"):
    return json.dumps({"id": ident, "event": event, "arg": arg, "connId": "c"}).encode()


def error(code, words, ident=""):
    message = {"event": "error", "code": code, "msg": words, "connId": "c"}
    return json.dumps(message | ({"id": ident} if ident else {})).encode()


def gone(channel, symbol, ident="1"):
    """A refusal that names its topic."""
    words = f"Subscribe failed, wrong URL or channel:{channel},instId:{symbol} doesn't exist."
    return error("60018", words, ident)


def sent(session):
    """What was sent but for pings and the log-in, oldest first; it is taken out of the actions."""
    texts = [action.text for action in session.actions if isinstance(action, Send) and not action.secret]
    session.actions[:] = [action for action in session.actions if not isinstance(action, Send) or action.secret]
    return [json.loads(text) for text in texts if text not in ("ping", "pong")]


def asked(session):
    """Operations and topics of what was sent."""
    return [
        (message["op"], *(".".join([a["channel"], *filter(None, [a.get("instId")])]) for a in message["args"]))
        for message in sent(session)
    ]


class Answers(RestTable):
    answer = staticmethod(frames.answer)
