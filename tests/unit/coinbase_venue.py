"""A Coinbase session's other side: it answers as it is told to."""

from __future__ import annotations

import json

from bridge.exchanges.api import Reconnect, Said, Send
from bridge.exchanges.coinbase import CoinbaseSession
from bridge.model import Channel, Control
from tests.unit.coinbase_frames import HEARTBEAT, book, frame
from tests.unit.core import SECOND, T0


class Venue:
    """A session, and the exchange's side of it: it answers as it is told to, and keeps what was asked."""

    def __init__(self, *pairs, channels=(Channel.BOOK, Channel.TRADES), memory=None):
        self.session = CoinbaseSession("wss://x", pairs, frozenset(channels), memory=memory)
        self.now = T0
        self.number = 0
        self.events = []
        self.errors = []
        self.reconnects = []
        self.asked = []
        """(type, channel, products) of what was sent and isn't looked at yet."""
        self.served = {}
        self.take(self.session.connected(self.now))

    def take(self, outputs):
        assert not any(isinstance(output, Reconnect) for output in outputs[:-1]), "nothing follows the end"
        for output in outputs:
            if isinstance(output, Send):
                m = json.loads(output.text)
                self.asked.append((m["type"], m["channel"], m.get("product_ids", [])))
            elif isinstance(output, Said):
                self.errors.append((output.error.kind, output.error.topic, output.error.message))
            elif isinstance(output, Reconnect):
                self.reconnects.append(output.reason)
            else:
                self.events.append(output)

    def say(self, message):
        self.take(self.session.receive(frame(message, self.number), self.now))
        self.number += 1

    def error(self, words):
        self.take(self.session.receive(json.dumps({"type": "error", "message": words}).encode(), self.now))

    def ack(self):
        self.say(
            {"channel": "subscriptions", "events": [{"subscriptions": {c: list(p) for c, p in self.served.items()}}]}
        )

    def answer(self, refuse=None, leave_out=(), names=None, snapshots=True):
        """Answer all that was asked; ``refuse`` gives the words of an error, or none."""
        answered = []
        while self.asked:
            kind, channel, products = self.asked.pop(0)
            answered.append((kind, channel, products))
            words = refuse(channel, products) if refuse and kind == "subscribe" else None
            if words:
                self.error(words)
                continue
            there = self.served.setdefault(channel, {})
            for product in products:
                name = (names or {}).get(product, product)
                if kind == "unsubscribe":
                    there.pop(name, None)
                elif product not in leave_out:
                    there[name] = None
                    if channel == "level2" and snapshots:
                        self.say(book(pair=name))
            if channel == "heartbeats":
                there["heartbeats"] = None
            self.ack()
        return answered

    def wait(self, seconds, step=0.25, **answers):
        """Let time go by, with a heartbeat a second."""
        answered = []
        for n in range(int(seconds / step)):
            self.now += int(step * SECOND)
            if n % 4 == 0:
                self.say(HEARTBEAT)
            self.take(self.session.tick(self.now))
            answered += self.answer(**answers) if answers else []
        return answered

    def controls(self, channel, pair):
        return [
            (str(e.event), e.reason)
            for e in self.events
            if isinstance(e, Control) and (e.channel, e.subject) == (channel, pair)
        ]

    def data(self, kind):
        return [event.subject for event in self.events if isinstance(event, kind)]


def invalid(name):
    def refuse(channel, products):
        return f"{name} is not a valid product" if name in products else None

    return refuse
