"""Kraken's sessions as their tests have them: connected, accepted, with REST as a table."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from bridge.exchanges.api import Credentials, Fetch, HttpResponse, Profile, Send, Subscription
from bridge.exchanges.kraken import Kraken, KrakenOptions
from bridge.model import Channel, Control
from tests.unit import kraken_frames as frames
from tests.unit.core import SECOND, T0, Apart

ALL = Kraken.channels


def kraken(*pairs, channels=ALL, account=None, url=None, rest_url=None, **options):
    return Kraken(Profile(pairs or frames.PAIRS, frozenset(channels), url, rest_url, account, KrakenOptions(**options)))


def connected(exchange=None, channels=ALL, *, warm=True):
    """A session, with the list of instruments; what it has sent is still among its actions."""
    exchange = exchange or kraken(channels=channels)
    session = Apart(exchange.plan()[0].session())
    session.connected(T0)
    if warm:
        session.receive(frames.INSTRUMENTS, T0)
    return session


def sent(session):
    """What was sent but for pings; it is taken out of the actions."""
    texts = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
    session.actions[:] = [action for action in session.actions if not isinstance(action, Send)]
    return [message for message in texts if message["method"] != "ping"]


def answer(request, of="", error=None, **more):
    """An answer to a request, for one of its symbols."""
    params = request["params"]
    message = {"method": request["method"], "req_id": request["req_id"], "success": error is None, **more}
    if error is None:
        message["result"] = {"channel": params["channel"], **({"symbol": of} if of else {})}
    else:
        message["error"] = error
    return json.dumps(message).encode()


def accept(session):
    """Acknowledge all that it has asked for; returns the events."""
    events = []
    while requests := sent(session):
        for request in requests:
            for symbol in request["params"].get("symbol", [""]):
                events += session.receive(answer(request, symbol), T0)
    return events


ACCOUNT = Credentials("main", frames.KEY, frames.SECRET)
STREAMS = {channel: Subscription(channel, "main") for channel in (Channel.ORDERS, Channel.FILLS, Channel.BALANCES)}
ORDER = "OK4GJX-KSTLS-7DZZO5"
NOW = 1_695_400_000 * SECOND
"""Some hours after the documents' frames."""


class Rest:
    """REST as a table: method → result, error, or several one after the other; what is not there is empty."""

    def __init__(self, **results: Any) -> None:
        self.results = {
            "AssetPairs": frames.ASSET_PAIRS,
            "GetWebSocketsToken": {"token": frames.TOKEN, "expires": 900},
            "OpenOrders": {"open": {}},
            "QueryOrders": {},
            "TradesHistory": {"trades": {}, "count": 0},
            "BalanceEx": {},
            **results,
        }
        self.called: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.weights: list[int] = []

    def drive(self, flow: Any) -> Any:
        try:
            request = next(flow)
            while True:
                method = request.path.rpartition("/")[2]
                self.called.append(method)
                self.weights.append(request.weight)
                self.forms.append({name: found[0] for name, found in parse_qs(request.body).items()})
                result = self.results[method]
                result = result(self.forms[-1]) if callable(result) else result
                body = frames.rest({}, result) if isinstance(result, str) else frames.rest(result)
                request = flow.send(HttpResponse(200, body, recv=NOW))
        except StopIteration as stop:
            return stop.value


def account(rest=None, exchange=None, *, begun=True):
    """A session that is subscribed; its first fetch is still among its actions."""
    exchange = exchange or Kraken(Profile(("BTC-USD",), frozenset(), account=ACCOUNT))
    rest = rest or Rest()
    rest.drive(exchange.discover(NOW))
    session = Apart(exchange.plan()[-1].session())
    rest.drive(session.open(NOW))
    session.connected(NOW)
    if begun:
        session.receive(frames.EXECUTIONS, NOW)
        session.receive(frames.BALANCES, NOW)
    return session


def synced(rest, exchange=None):
    session = account(rest, exchange)
    rest.drive(session.fetch(NOW))
    return session


def fetched(session):
    """What is fetched by REST, of what the session has asked for so far."""
    return [action.what for action in session.actions if isinstance(action, Fetch)]


def gaps(events):
    return [(event.channel, event.reason) for event in events if isinstance(event, Control) and event.event == "gap"]
