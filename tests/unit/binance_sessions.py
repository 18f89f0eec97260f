"""Sessions of Binance's public streams as their tests have them: connected, asked, answered."""

from __future__ import annotations

import json

from bridge.exchanges.api import Profile, Send
from bridge.exchanges.binance import Binance, BinanceOptions, BinanceUsdm, BinanceUsdmOptions
from bridge.model import Channel, Control
from tests.unit import binance_frames as frames
from tests.unit.core import T0, Apart

ALL = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})


def spot(*pairs, channels=ALL, url=None, rest_url=None, **options):
    pairs = pairs or frames.SPOT_PAIRS
    return Binance(Profile(pairs, frozenset(channels), url, rest_url, None, BinanceOptions(**options)))


def usdm(*pairs, channels=ALL, url=None, **options):
    pairs = pairs or frames.USDM_PAIRS
    return BinanceUsdm(Profile(pairs, frozenset(channels), url, None, None, BinanceUsdmOptions(**options)))


def connected(exchange, place=0):
    """The session of one of its connections, which has asked for its streams."""
    session = Apart(exchange.plan()[place].session())
    session.connected(T0)
    return session


def asked(session):
    """Method and streams of what was sent, which is taken out of the actions."""
    texts = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
    session.actions[:] = [action for action in session.actions if not isinstance(action, Send)]
    return [(message["method"], *message.get("params", [])) for message in texts]


def take(session, *many, recv=T0):
    return [event for frame in many for event in session.receive(frame, recv) if not isinstance(event, Control)]


def controls(session, *many):
    found = [event for frame in many for event in session.receive(frame, T0) if isinstance(event, Control)]
    return [(str(event.event), str(event.channel), event.subject) for event in found]
