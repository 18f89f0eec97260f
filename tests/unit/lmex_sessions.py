"""What the tests of LMEX's sessions share: sessions of their own, messages out of parts, short ways to look at events."""

from __future__ import annotations

import json

from bridge.exchanges.api import Credentials, Fetch, HttpResponse, Poll, Profile, Send, Subscription
from bridge.exchanges.lmex import Lmex, LmexOptions
from bridge.exchanges.lmex.account import AccountSession
from bridge.exchanges.lmex.messages import Market, is_future
from bridge.exchanges.lmex.public import BooksSession, TradesSession
from bridge.exchanges.lmex.rest import LmexRest
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.model import Channel, Control
from tests.unit import lmex_frames as frames
from tests.unit.core import SECOND, T0, Apart
from tests.unit.held_books import Kept
from tests.unit.session_views import data

ACCOUNT = Credentials("main", "the-key-id", frames.SECRET)
SIZES = {"BTC-PERP": "0.00001", "SNDK-PERP": "0.01", "ETH-PERP": "0.0001"}
BOTH = frozenset({Channel.BOOK, Channel.QUOTES})
QUOTES = frozenset({Channel.QUOTES})
ANEW = [("unsubscribe", "update:BTC-PERP_0"), ("subscribe", "update:BTC-PERP_0")]
GAPS = [("gap", "book", "BTC-PERP"), ("gap", "quotes", "BTC-PERP")]
DOWN = [("down", "book", "BTC-PERP"), ("down", "quotes", "BTC-PERP")]
LOST = ("lost", "book", "BTC-PERP")
LIVE = [("live", "book", "BTC-PERP"), ("live", "quotes", "BTC-PERP")]


def contracts(sizes=SIZES):
    return Contracts(sizes, is_future)


def books_session(*pairs, channels=BOTH, market=Market.FUTURES, now=T0, snapshot_timeout=10.0):
    """A connected session; its first subscription is taken out of ``actions``."""
    session = Apart(BooksSession("wss://x", market, pairs, channels, contracts=contracts(), patience=snapshot_timeout))
    session.connected(now)
    session.actions.clear()
    return session


def books(*pairs, channels=BOTH, **more):
    """The same with its books."""
    options = {name: more[name] for name in ("snapshot_timeout",) if name in more}
    return Kept(books_session(*pairs, channels=channels, **more), lmex(*pairs, **options).book, pairs, channels)


def trades(*pairs, market=Market.FUTURES, now=T0):
    session = Apart(TradesSession("wss://x", market, pairs, contracts()))
    session.connected(now)
    session.actions.clear()
    return session


def account(market=Market.FUTURES, *, memory=None, pairs=("BTC-PERP",), now=T0, **more):
    """A session that has sent its log-in; the message is still in ``actions``."""
    poll = Poll("wallet", (Subscription(Channel.BALANCES, "main"),), 60.0, lambda now: iter(()))
    rest, memory = LmexRest(contracts()), memory or AccountMemory()
    known = {"memory": memory, "pairs": lambda: pairs, "balances": poll}
    session = Apart(AccountSession("wss://x", market, ACCOUNT, rest, **known, **more))
    session.connected(now)
    return session


def subscribed(market=Market.FUTURES, **more):
    """An account's session whose topics are all accepted."""
    session = account(market, **more)
    session.receive(frames.LOGGED_IN, T0)
    session.receive(ack(*asked(session)), T0)
    session.actions.clear()
    return session


def lmex(*pairs, channels=BOTH | {Channel.TRADES, Channel.TICKER}, with_account=False, **options):
    given = ACCOUNT if with_account else None
    sizes = {pair: "0.00001" for pair in pairs if pair.endswith("-PERP")}
    return Lmex(
        Profile(pairs, frozenset(channels), account=given, options=LmexOptions(contract_sizes=sizes, **options))
    )


def ack(*topics):
    return json.dumps({"event": "subscribe", "channel": topics}).encode()


def book(kind, number, bids=(), asks=(), *, pair="BTC-PERP", prev=None, topic=None):
    data = {
        "bids": list(bids),
        "asks": list(asks),
        "seqNum": number,
        "prevSeqNum": number - 1 if prev is None else prev,
        "type": kind,
        "symbol": pair,
        "timestamp": 1790133628076,
    }
    return json.dumps({"topic": topic or f"update:{pair}_0", "data": data}).encode()


def snapshot(number=100, pair="BTC-PERP"):
    return book("snapshot", number, [["10.0", "100"]], [["12.0", "300"], ["11.0", "200"]], pair=pair)


def delta(number, bids=(("10.0", "150"),), asks=(), **more):
    return book("delta", number, bids, asks, **more)


def changed(frame, **changes):
    """A private frame with fields of its (first) row changed; ``...`` takes one away."""
    message = json.loads(frame)
    row = message["data"][0] if isinstance(message["data"], list) else message["data"]
    for name, value in changes.items():
        if value is ...:
            row.pop(name, None)
        else:
            row[name] = value
    return json.dumps(message).encode()


def asked(session):
    """The topics of the newest subscription."""
    sends = [json.loads(a.text) for a in session.actions if isinstance(a, Send) and a.text.startswith("{")]
    return [send for send in sends if send["op"] == "subscribe"][-1]["args"]


def sent(session):
    """What was sent but for pings, oldest first: operation and arguments."""
    texts = [action.text for action in session.actions if isinstance(action, Send) and action != Send("ping")]
    found = [(m["op"], *m["args"]) for m in map(json.loads, texts)]
    session.actions[:] = [action for action in session.actions if not isinstance(action, Send)]
    return found


def fetches(session):
    """How many fetches of the account's state the session has begun; they are taken out of its actions."""
    found = [action for action in session.actions if isinstance(action, Fetch)]
    session.actions[:] = [action for action in session.actions if not isinstance(action, Fetch)]
    return len(found)


def receive(session, *many, recv=T0):
    return [event for frame in many for event in data(session.receive(frame, recv))]


def said(events):
    """Control events as ``(event, channel, subject)``, data events as their types' names."""
    return [(str(e.event), str(e.channel), e.subject) if isinstance(e, Control) else type(e).__name__ for e in events]


def answer(value, status=200, headers=None):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return HttpResponse(status, body, headers or {})


def seconds(number):
    return T0 + int(number * SECOND)
