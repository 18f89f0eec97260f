"""Sessions of Binance's accounts as their tests have them: connected, asked by REST, and what comes over them."""

from __future__ import annotations

import json

from bridge.exchanges.api import Credentials, HttpResponse, Profile, Restated
from bridge.exchanges.binance import Binance, BinanceUsdm
from bridge.model import Control
from tests.unit import binance_frames as frames
from tests.unit.core import SECOND, T0, Apart

ACCOUNT = Credentials("main", frames.KEY, frames.SECRET)


class Accounts:
    """A session of an account that stands, and the exchange that it is of."""

    def __init__(self, kind, *pairs):
        self.exchange = kind(Profile(pairs, frozenset(), account=ACCOUNT))
        [plan] = self.exchange.plan()
        self.session = Apart(plan.session())
        self.session.connected(T0)

    def take(self, *many):
        found = [event for frame in many for event in self.session.receive(frame, T0)]
        return [event for event in found if not isinstance(event, Control)]

    def answer(self, rows):
        """Drive all that is asked by REST: a path's end → rows, or the call → rows or a response; others have none."""
        asked, at = [], T0 + SECOND
        flow = self.session.fetch(at)
        try:
            request = next(flow)
            while True:
                asked.append(request)
                call = request.path.partition("?")[0].rpartition("/")[2]
                body = rows(request) if callable(rows) else rows.get(call, [])
                body = {"balances": body} if call == "account" else body
                given = (
                    body if isinstance(body, HttpResponse) else HttpResponse(200, json.dumps(body).encode(), recv=at)
                )
                request = flow.send(given)
        except StopIteration:
            pass
        self.asked = asked
        return {action.channel: action for action in self.session.actions if isinstance(action, Restated)}


def spot(*pairs):
    accounts = Accounts(Binance, *(pairs or ("BNB-BTC",)))
    accounts.session.actions.clear()
    accounts.session.receive(frames.SUBSCRIBED, T0)
    return accounts


def usdm(*pairs):
    return Accounts(BinanceUsdm, *(pairs or ("BTC-USDT-PERP",)))


def report(**values):
    message = json.loads(frames.REPORT)
    message["event"].update(values)
    return json.dumps(message).encode()


def update(**values):
    message = json.loads(frames.UPDATE)
    message["o"].update(values)
    return json.dumps(message).encode()


def positions(*rows, **more):
    message = json.loads(frames.ACCOUNT)
    message["a"]["P"] = [message["a"]["P"][0] | row for row in rows]
    return json.dumps(message | more).encode()
