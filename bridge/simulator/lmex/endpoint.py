"""What LMEX's WebSocket endpoints share: pings, idle connections, and the parsing of requests."""

from __future__ import annotations

import json
from typing import Any

from bridge.simulator.dialect import Core
from bridge.simulator.lmex.options import LmexConfig
from bridge.simulator.sockets import Socket, message

__all__ = ["Client", "Endpoint", "Key"]

Key = tuple[str, ...]
"""What the hub knows a subscription by."""

_PONG = message("pong", "", "pong")


class Client:
    """One open socket and what its client did. Times are the monotonic clock's.

    ``topics`` maps each topic as it was asked for to what the hub knows it by, ``None`` where nothing comes.
    """

    def __init__(self, socket: Socket, now: float, ping_interval: float) -> None:
        self.socket = socket
        self.topics: dict[str, Key | None] = {}
        self.pairs: dict[str, str] = {}
        self.active = now
        self.ponged = now
        self.next_ping = now + ping_interval
        self.sent = 0
        self.failures = 0

    def remember(self, topic: str, key: Key | None, pair: str) -> None:
        """Take note of a subscription."""
        self.topics[topic] = key
        self.pairs[topic] = pair
        self._list_pairs()

    def forget(self, topic: str) -> None:
        """A subscription has ended."""
        del self.topics[topic]
        del self.pairs[topic]
        self._list_pairs()

    def _list_pairs(self) -> None:
        self.socket.pairs = tuple(dict.fromkeys(filter(None, self.pairs.values())))


class Endpoint:
    """One path. ``market`` is ``spot`` or ``futures``, ``pairs`` are the names of its pairs."""

    def __init__(self, core: Core, config: LmexConfig, path: str, pairs: list[str]) -> None:
        self.path = path
        self.market = path.rpartition("/")[2]
        self.clients: dict[int, Client] = {}
        self._core = core
        self._hub = core.hub
        self._config = config
        self._pairs = pairs

    # What the session calls

    def opened(self, socket: Socket) -> None:
        """The socket is open."""
        self.clients[socket.number] = Client(socket, self._core.monotonic(), self._config.ping_interval)

    def closed(self, socket: Socket) -> None:
        """The socket is closed."""
        self.clients.pop(socket.number, None)

    def pong(self, socket: Socket) -> None:
        """The client answered a protocol ping."""
        self.clients[socket.number].ponged = self._core.monotonic()

    def text(self, socket: Socket, text: str) -> None:
        """The client sent a text frame."""
        client = self.clients[socket.number]
        client.active = self._core.monotonic()
        if text == "ping":
            socket.answer(_PONG)
            return
        try:
            request = json.loads(text)
        except ValueError:
            request = None
        if isinstance(request, dict) and isinstance(request.get("op"), str):
            self.request(client, request["op"], request.get("args"))
        else:
            self.nonsense(client)

    # What the endpoints do differently

    def request(self, client: Client, op: str, args: Any) -> None:
        """The client sent ``{"op":…,"args":[…]}``."""
        raise NotImplementedError

    def nonsense(self, client: Client) -> None:
        """The client sent something else."""

    def due(self, client: Client, now: float) -> None:
        """What else the clock brings."""

    # By the clock

    def tick(self) -> None:
        """Ping who is due, cut who has fallen asleep."""
        now = self._core.monotonic()
        for client in list(self.clients.values()):
            if client.socket.frozen:
                # It is we who are silent: that isn't held against the client.
                client.active = client.ponged = now
            elif now - client.ponged > self._config.pong_patience:
                self._cut(client, "no_pong")
            elif self._idle(client, now):
                self._cut(client, "idle_close")
            else:
                if now >= client.next_ping:
                    client.next_ping = now + self._config.ping_interval
                    client.socket.ping()
                    client.socket.flush()
                self.due(client, now)

    def _idle(self, client: Client, now: float) -> bool:
        if client.socket.sent != client.sent:
            # Data keeps a connection alive, as pings do.
            client.sent = client.socket.sent
            client.active = now
        return now - client.active > self._config.idle_close

    def _cut(self, client: Client, why: str) -> None:
        self._hub.done[why] += 1
        client.socket.abort()

    # Subscriptions

    def full(self, client: Client) -> bool:
        """Whether the client has as many topics as one socket may."""
        return 0 < self._config.max_topics <= len(client.topics)

    def subscribe(self, client: Client, topic: str, key: Key | None, pair: str = "") -> None:
        """Take a topic in; one that the client has under another spelling counts once."""
        held = set(client.topics.values())
        if key is not None and key not in held:
            self._hub.subscribe(client.socket, key)
        client.remember(topic, key, pair)

    def unsubscribe(self, client: Client, topic: str) -> bool:
        """End a subscription under all its spellings; whether there was one."""
        if topic not in client.topics:
            return False
        key = client.topics[topic]
        if key is None:
            client.forget(topic)
            return True
        for other in [name for name, held in client.topics.items() if held == key]:
            client.forget(other)
        self._hub.unsubscribe(client.socket, key)
        return True


def texts(args: Any) -> list[str] | None:
    """The topics of a request; ``None`` where it has none."""
    if not isinstance(args, list) or not args:
        return None
    return [arg if isinstance(arg, str) else json.dumps(arg) for arg in args]
