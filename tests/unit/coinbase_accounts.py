"""Coinbase's account sessions as their tests have them: connected, accepted, answered."""

from __future__ import annotations

import base64
import json
from typing import Any

from bridge.exchanges.api import Credentials, Fetch, HttpResponse, Profile, Restated, Send
from bridge.exchanges.coinbase import Coinbase, CoinbaseOptions
from bridge.model import Control
from tests.unit import coinbase_account_frames as frames
from tests.unit.core import SECOND, T0, Apart

ACCOUNT = Credentials("main", frames.KEY, frames.SECRET)
PERMISSIONS = {"can_view": True, "can_trade": False, "portfolio_uuid": "portfolio-001", "portfolio_type": "DEFAULT"}
LISTS = (frames.ORDERS, frames.FILLS, frames.WALLETS, frames.POSITIONS)
EMPTY = b'{"orders":[],"fills":[],"accounts":[],"positions":[],"has_next":false}'


def coinbase(*pairs: str, account: Credentials | None = ACCOUNT, **options: Any) -> Coinbase:
    return Coinbase(Profile(pairs, frozenset(), account=account, options=CoinbaseOptions(**options)))


class Answers:
    """REST as a table: path → a body, a response, or what makes one of the call; without one, empty lists, and 404."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers: dict[str, Any] = {frames.PERMISSIONS: PERMISSIONS, **(answers or {})}
        self.called: list[str] = []
        self.tokens: list[str] = []

    def drive(self, flow: Any) -> Any:
        try:
            request = next(flow)
            while True:
                self.called.append(request.path)
                self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
                path = request.path.partition("?")[0]
                found = self.answers.get(path, EMPTY if path in LISTS else HttpResponse(404, b'{"error":"NOT_FOUND"}'))
                found = found(request.path) if callable(found) else found
                found = json.dumps(found).encode() if isinstance(found, dict) else found
                request = flow.send(found if isinstance(found, HttpResponse) else HttpResponse(200, found))
        except StopIteration as stop:
            return stop.value

    def paths(self) -> list[str]:
        """What was called, without queries and the API's own part."""
        return [called.partition("?")[0].removeprefix(frames.API) for called in self.called]


class Account:
    """One connection of an account, and all that comes of it."""

    def __init__(self, exchange: Coinbase | None = None, answers: Answers | None = None, now: int = T0) -> None:
        self.exchange = exchange or coinbase()
        self.rest = answers or Answers()
        self.now = now
        self.number = 0
        self.session = Apart(self.exchange.plan()[-1].session())
        self.target = self.rest.drive(self.session.open(now))
        self.events = [*self.session.connected(now)]

    def say(self, channel: str, *events: dict[str, Any], **changes: Any) -> list[Any]:
        """A message comes; returns its data events."""
        frame = frames.message(channel, self.number, *events, **changes)
        self.number += 1
        return self.take(self.session.receive(frame, self.now))

    def orders(self, *rows: dict[str, Any], kind: str = "update") -> list[Any]:
        return self.say("user", {"type": kind, "orders": list(rows), "positions": frames.NO_POSITIONS})

    def accept(self) -> Account:
        """The exchange answers that ``user`` is subscribed."""
        self.say("subscriptions", {"subscriptions": {"heartbeats": ["heartbeats"]}})
        self.say("subscriptions", {"subscriptions": {"heartbeats": ["heartbeats"], "user": ["an-id"]}})
        return self

    def synced(self) -> Account:
        """Accepted, and REST has answered."""
        self.accept()
        self.fetch()
        return self

    def fetch(self) -> list[Any]:
        """Hold the conversations that have begun; returns the data events, restated ones included."""
        found: list[Any] = []
        while waiting := [action for action in self.session.actions if isinstance(action, Fetch)]:
            self.session.actions[:] = [action for action in self.session.actions if not isinstance(action, Fetch)]
            for fetch in waiting:
                outputs = self.rest.drive(fetch.flow)
                found += [event for output in outputs if isinstance(output, Restated) for event in output.events]
                found += self.take(self.session.apart(outputs))
        return found

    def wait(self, seconds: float, *, beat: bool = True) -> list[Any]:
        """Let time go by, with a heartbeat a second; what is due is fetched."""
        found: list[Any] = []
        for n in range(int(seconds * 4)):
            self.now += SECOND // 4
            if beat and n % 4 == 0:
                self.say("heartbeats", {"heartbeat_counter": n})
            found += self.take(self.session.tick(self.now))
            found += self.fetch()
        return found

    def take(self, events: list[Any]) -> list[Any]:
        self.events += events
        return [event for event in events if not isinstance(event, Control)]

    def controls(self) -> list[tuple[str, str, str]]:
        """Control events so far, taken out: event, channel, reason."""
        found = [(str(e.event), str(e.channel), e.reason) for e in self.events if isinstance(e, Control)]
        self.events = [event for event in self.events if not isinstance(event, Control)]
        return found

    def sent(self) -> list[dict[str, Any]]:
        """What was sent so far, taken out."""
        found = [action for action in self.session.actions if isinstance(action, Send)]
        assert all(action.secret for action in found)
        self.session.actions[:] = [action for action in self.session.actions if not isinstance(action, Send)]
        return [json.loads(action.text) for action in found]

    def did(self, kind: Any) -> list[Any]:
        """Actions of a kind, taken out."""
        found = [action for action in self.session.actions if isinstance(action, kind)]
        self.session.actions[:] = [action for action in self.session.actions if not isinstance(action, kind)]
        return found


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token."""
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, claims
