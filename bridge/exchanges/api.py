"""The interface between an exchange and the rest of the bridge: all that an exchange's own modules import of it.

- `Exchange` plans connections; `Session` speaks over one of them (`exchange.py`, `session.py`, `plans.py`).
- A session returns one ordered list of `Output`s: events of `bridge.model`, and actions (`outputs.py`).
- REST calls are `Flow`s, without I/O (`http.py`); `BookRules` say how the connector checks books (`rules.py`).
"""

from __future__ import annotations

from bridge.exchanges.exchange import Exchange
from bridge.exchanges.http import Decaying, Flow, HttpRequest, HttpResponse
from bridge.exchanges.outputs import (
    Action,
    Fetch,
    Output,
    Pause,
    Reconnect,
    Reject,
    Replace,
    Restated,
    Said,
    Send,
    Unknown,
    Warn,
)
from bridge.exchanges.plans import (
    API_KEY,
    API_PASSPHRASE,
    API_SECRET,
    ClockReading,
    ConnectionPlan,
    Credential,
    Credentials,
    ListedPair,
    NoOptions,
    Poll,
    Profile,
)
from bridge.exchanges.rules import NOT_UNDERSTOOD, BestPrices, BookRules, Checksum
from bridge.exchanges.session import Session, Subscription, Target

__all__ = [
    "API_KEY",
    "API_PASSPHRASE",
    "API_SECRET",
    "NOT_UNDERSTOOD",
    "Action",
    "BestPrices",
    "BookRules",
    "Checksum",
    "ClockReading",
    "ConnectionPlan",
    "Credential",
    "Credentials",
    "Decaying",
    "Exchange",
    "Fetch",
    "Flow",
    "HttpRequest",
    "HttpResponse",
    "ListedPair",
    "NoOptions",
    "Output",
    "Pause",
    "Poll",
    "Profile",
    "Reconnect",
    "Reject",
    "Replace",
    "Restated",
    "Said",
    "Send",
    "Session",
    "Subscription",
    "Target",
    "Unknown",
    "Warn",
]
