"""``/ws/spot`` and ``/ws/futures``: trades, and after a log-in the private topics.

Topics that it doesn't take are left out of the acknowledgement. Trades begin with a batch of recent ones, newest first,
that nothing marks. A log-in has to be the first thing said, or a renewal of one. What isn't understood is not answered
(LMEX's answer is unknown). A private topic without a log-in is acknowledged, and nothing comes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from bridge.errors import ConfigError, Problem
from bridge.simulator.dialect import Core
from bridge.simulator.events import TradeDone
from bridge.simulator.lmex import frames
from bridge.simulator.lmex.auth import Keyring
from bridge.simulator.lmex.endpoint import Client, Endpoint, Key, texts
from bridge.simulator.lmex.markets import old_name
from bridge.simulator.lmex.options import LmexConfig
from bridge.simulator.sockets import Socket, message

__all__ = ["MainEndpoint", "check_options"]

PRIVATE_TOPICS = {
    "spot": frozenset({"notificationApiV3", "notificationApiV2", "fills"}),
    "futures": frozenset(
        {
            *("notificationApiV4", "notificationApiV3", "notificationApiV2"),
            *("fillsV2", "fills"),
            *("positionsV3", "positionsV2", "positions"),
            *("allPositionV4", "allPositionV3", "allPositionV2", "allPosition"),
        }
    ),
}
"""All that the sheet names, newest first where there are several versions of one."""

_TRADES = "tradeHistoryApi"
_TRADE_TOPICS = frozenset({_TRADES, f"{_TRADES}V2", f"{_TRADES}V3"})
_LOGIN_OPS = frozenset({"authKeyExpires", "login"})


def check_options(config: LmexConfig) -> None:
    """Refuse words that mean nothing here.

    Raises:
        ConfigError: with every one of them.
    """
    known = {
        "login_ops": _LOGIN_OPS,
        "private_topics": PRIVATE_TOPICS["spot"] | PRIVATE_TOPICS["futures"],
        "trade_topics": _TRADE_TOPICS,
    }
    problems = [
        Problem(name, f"{word!r} is unknown", f"known: {', '.join(sorted(words))}")
        for name, words in known.items()
        for word in getattr(config, name)
        if word not in words
    ]
    if problems:
        raise ConfigError(problems, "simulated LMEX")


class _Session:
    """A client's log-in; ``ends`` by the monotonic clock."""

    def __init__(self) -> None:
        self.account = ""
        self.ends = float("inf")
        self.expired = False
        self.begun = False


class MainEndpoint(Endpoint):
    """Trades and private topics of one market."""

    def __init__(self, core: Core, config: LmexConfig, path: str, pairs: list[str], keyring: Keyring) -> None:
        super().__init__(core, config, path, pairs)
        self._keyring = keyring
        self._sessions: dict[int, _Session] = {}
        known = PRIVATE_TOPICS[self.market]
        self._private = known & set(config.private_topics) if config.private_topics else known
        self._versions = set(config.trade_topics) if self.market == "futures" else {_TRADES}
        self._old_names = {old_name(pair): pair for pair in pairs}

    def opened(self, socket: Socket) -> None:
        """See ``Endpoint``."""
        super().opened(socket)
        self._sessions[socket.number] = _Session()

    def closed(self, socket: Socket) -> None:
        """See ``Endpoint``."""
        super().closed(socket)
        self._sessions.pop(socket.number, None)

    # Requests

    def request(self, client: Client, op: str, args: Any) -> None:
        """Log in, subscribe or unsubscribe."""
        session = self._sessions[client.socket.number]
        if op in _LOGIN_OPS:
            if op in self._config.login_ops:
                self._login(client, session, args)
            return
        topics = texts(args)
        if topics is None or op not in ("subscribe", "unsubscribe"):
            return
        session.begun = True
        wanted = dict.fromkeys(topics)
        if op == "unsubscribe":
            accepted = [topic for topic in wanted if self._leave(client, topic)]
            client.socket.push(message("ack", "", frames.acknowledged(op, reversed(accepted))))
            return
        accepted = [topic for topic in wanted if self._join(client, session, topic)]
        client.socket.push(message("ack", "", frames.acknowledged(op, reversed(accepted))))
        for topic in accepted:
            self._begin(client, topic)
        if session.expired and self._private & set(accepted):
            self._say_expired(client)

    def _join(self, client: Client, session: _Session, topic: str) -> bool:
        if topic not in client.topics and self.full(client):
            return False
        if topic in self._private:
            self.subscribe(client, topic, self.private_key(session.account, topic) if session.account else None)
            return True
        parsed = self._trades_topic(topic)
        if parsed is None:
            return False
        pair, key = parsed
        self.subscribe(client, topic, key, pair)
        return True

    def _leave(self, client: Client, topic: str) -> bool:
        return self.unsubscribe(client, topic)

    def _begin(self, client: Client, topic: str) -> None:
        """What follows a subscription at once."""
        parsed = self._trades_topic(topic)
        if parsed is None or self._config.trade_batch <= 0:
            return
        pair, key = parsed
        rows = list(self._core.market.pairs[pair].trades)[-self._config.trade_batch :]
        if rows:
            for _ in range(self._config.trade_batches):
                client.socket.push(message("trades", pair, self._trades_frame(key, pair, rows)))

    def _trades_topic(self, topic: str) -> tuple[str, Key] | None:
        """``(pair, key)``; the key's last part is the topic that its messages have."""
        version, _, symbol = topic.partition(":")
        if version not in self._versions:
            return None
        old = self.market == "futures" and version == _TRADES
        pair = self._old_names.get(symbol, symbol) if old else symbol
        if pair not in self._pairs:
            return None
        return pair, (self.path, pair, _TRADES if old else f"{version}:{pair}")

    def _trades_frame(self, key: Key, pair: str, rows: list[TradeDone]) -> str:
        topic = key[2]
        return frames.trades(topic, pair if ":" in topic else old_name(pair), rows)

    # Sessions

    def _login(self, client: Client, session: _Session, args: Any) -> None:
        account = None
        given = texts(args) or []
        if len(given) == 3 and (session.account or session.expired or not session.begun):
            api_key, nonce, signed = given
            account = self._keyring.log_in(api_key, nonce, signed, self.path)
        client.socket.push(message("login", "", frames.logged_in(success=account is not None)))
        if account is None:
            return
        self._leave_private(client)
        session.account, session.expired = account, False
        session.ends = self._core.monotonic() + self._config.session_lifetime
        client.socket.account = account
        for topic in [topic for topic in client.topics if topic in self._private]:
            self.subscribe(client, topic, self.private_key(account, topic))

    def private_key(self, account: str, topic: str) -> Key:
        """What the hub knows an account's private topic by."""
        return self.path, "private", account, topic

    def due(self, client: Client, now: float) -> None:
        """End a session whose time is over."""
        session = self._sessions[client.socket.number]
        if session.account and now >= session.ends:
            self._hub.done["session_end"] += 1
            self._expire(client, session, self._config.session_end)

    def expire(self, *, cut: bool) -> None:
        """End all sessions, with ``cut`` by closing their sockets."""
        for client in list(self.clients.values()):
            session = self._sessions[client.socket.number]
            if session.account:
                self._expire(client, session, "close" if cut else self._config.session_end)

    def _expire(self, client: Client, session: _Session, how: str) -> None:
        self._leave_private(client)
        session.account, session.expired = "", True
        session.ends = float("inf")
        if how == "close":
            client.socket.close(1000)
        elif how == "error":
            self._say_expired(client)

    def _leave_private(self, client: Client) -> None:
        for topic, key in client.topics.items():
            if key is not None and topic in self._private:
                self._hub.unsubscribe(client.socket, key)
                client.topics[topic] = None

    def _say_expired(self, client: Client) -> None:
        if self._config.session_end == "error":
            text = frames.api_error(400, 10002, "User session is expired. Please login again")
            client.socket.push(message("error", "", text))
            client.socket.flush()

    # Market events

    def traded(self, pair: str, rows: list[TradeDone]) -> None:
        """Publish trades of one moment."""
        for version in self._versions:
            parsed = self._trades_topic(f"{version}:{pair}")
            if parsed is not None:
                _, key = parsed
                self._hub.publish(key, "trades", pair, partial(self._trades_frame, key, pair, rows))
