"""The exchange of the benchmarks: it speaks just enough of Coinbase's protocol over plain TCP sockets to be believed.

It does as little as it can while the clock runs, so that it is never what limits: without a rate it writes messages that
were built before, in pieces of 64 KiB, as fast as the socket takes them. With a rate, the price of each trade is the time
of its sending.

    python -m benchmarks.exchange --pairs BTC-USD --count 100000 --rate 10000
    python -m benchmarks.exchange --recording tests/fixtures/coinbase-small.jsonl --count 100000

It prints its port, then ``ready`` once every pair is subscribed to and the messages are built; at a line on its standard
input it sends them, then prints what it did as JSON, and serves on until its standard input ends.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.recorded import Mix
from benchmarks.samples import trade_message, websocket_frame

__all__ = ["STAMP_DIGITS", "main", "pieces"]

STAMP_DIGITS = 9
"""Decimals of the price that carries the time of sending, in seconds since the epoch."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PIECE = 65536
_CHANNELS = ("market_trades", "level2", "ticker")
"""As they are subscribed to; trades alone without a recording."""
_SETTLED = 1.0
"""Seconds without a further subscription after which all have come."""
_CLOSE, _PING = 0x8, 0x9


class Client:
    """One connection: what it has subscribed to, and the next ``sequence_num``."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._lock = threading.Lock()
        self.channels: dict[str, list[str]] = {}
        """Channel → pairs."""
        self.number = 0
        self.asked = time.monotonic()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Write all of it, however long the other side takes."""
        with self._lock:
            self._peer.sendall(data)

    def say(self, texts: Iterable[str]) -> None:
        """Send messages that count themselves on from ``number``."""
        frames = [websocket_frame(text) for text in texts]
        self.number += len(frames)
        self.send(b"".join(frames))

    def listen(self) -> None:
        """Take subscriptions, answer pings, until the other side ends."""
        incoming = self._peer.makefile("rb")
        while (frame := _read_frame(incoming)) is not None:
            kind, data = frame
            if kind == _PING:
                self.send(bytes((0x8A, len(data))) + data)
            elif kind == _CLOSE:
                break
            elif b"subscribe" in data:
                self._subscribe(json.loads(data))
        with self._lock:
            self._peer.close()

    def _subscribe(self, message: dict[str, Any]) -> None:
        channel, pairs = message["channel"], message.get("product_ids", [])
        self.asked = time.monotonic()
        self.channels = {**self.channels, channel: pairs}  # others look at it meanwhile
        answer = {
            "channel": "subscriptions",
            "timestamp": "2026-08-09T21:05:48.228846629Z",
            "sequence_num": self.number,
            "events": [{"subscriptions": self.channels}],
        }
        self.say([json.dumps(answer, separators=(",", ":"))])


class Exchange:
    """Accepts connections until every pair is subscribed to on every channel, then sends."""

    def __init__(self, listener: socket.socket, channels: tuple[str, ...], pairs: list[str]) -> None:
        self._listener = listener
        self._wanted = {(channel, pair) for channel in channels for pair in pairs}
        self.clients: list[Client] = []

    def gather(self) -> None:
        """Wait for all subscriptions."""
        threading.Thread(target=self._accept, name="accept", daemon=True).start()
        while self._wanted - self._subscribed() or (
            time.monotonic() - max(client.asked for client in self.clients) < _SETTLED
        ):
            time.sleep(0.02)

    def _subscribed(self) -> set[tuple[str, str]]:
        return {
            (channel, pair) for client in self.clients for channel, pairs in client.channels.items() for pair in pairs
        }

    def client_of(self, pair: str) -> Client:
        """Who is subscribed to a pair."""
        return next(client for client in self.clients if pair in client.channels.get("market_trades", ()))

    def _accept(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            if not _handshake(peer):
                continue
            client = Client(peer)
            self.clients.append(client)
            threading.Thread(target=client.listen, name="listen", daemon=True).start()


def main() -> None:
    options = _options()
    mix = Mix(options.recording) if options.recording else None
    pairs = mix.pairs if mix else options.pairs
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _say(str(listener.getsockname()[1]))
        exchange = Exchange(listener, _CHANNELS if mix else _CHANNELS[:1], pairs)
        exchange.gather()
        built: list[bytes] = []
        if not options.rate:
            client = exchange.client_of(pairs[0])
            if mix:
                client.say(mix.books(client.number))
            built = pieces(_messages(mix, pairs, options.count, client.number))
        _say("ready")
        if not sys.stdin.readline():
            return
        began, cpu = time.time(), time.process_time()
        late = 0.0
        try:
            if options.rate:
                late = _paced(exchange, pairs, options.count, options.rate)
            for piece in built:
                client.send(piece)
        except OSError:
            return  # the other side has ended; whoever measures sees that
        done = {"began": began, "seconds": time.time() - began, "cpu": time.process_time() - cpu, "late": late}
        _say(json.dumps(done))
        sys.stdin.read()


def pieces(texts: Iterable[str]) -> list[bytes]:
    """Whole WebSocket frames in pieces of 64 KiB or a little more."""
    found, piece, size = [], [], 0
    for text in texts:
        frame = websocket_frame(text)
        piece.append(frame)
        size += len(frame)
        if size >= _PIECE:
            found.append(b"".join(piece))
            piece, size = [], 0
    return [*found, b"".join(piece)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pairs", nargs="+", help="trades of these, in turns")
    what.add_argument("--recording", type=Path, help="the updates of this recording of Coinbase")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0, help="trades per second; 0: as fast as they are taken")
    options = parser.parse_args()
    if options.rate and options.recording:
        parser.error("a recording has no --rate")
    return options


def _messages(mix: Mix | None, pairs: list[str], count: int, number: int) -> Iterable[str]:
    if mix:
        return mix.messages(count, number)
    size = len(pairs)
    return (
        trade_message(number + index, pairs[index % size], index, f"{65_083 + index % 7}.67") for index in range(count)
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _handshake(peer: socket.socket) -> bool:
    """Answer the request for a WebSocket; ``False`` if the other side has ended before."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        part = peer.recv(4096)
        if not part:
            return False
        request += part
    headers = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
    key = next(value for name, value in headers.items() if name.lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    peer.sendall(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    return True


def _read_frame(incoming: Any) -> tuple[int, bytes] | None:
    """Kind and content of the next frame of a client's, none of which are in parts; ``None`` at the end."""
    try:
        head = incoming.read(2)
        if len(head) < 2:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(incoming.read(2 if size == 126 else 8))
        mask, data = incoming.read(4), incoming.read(size)
    except OSError:
        return None
    return head[0] & 0xF, bytes(byte ^ mask[place & 3] for place, byte in enumerate(data))


def _paced(exchange: Exchange, pairs: list[str], count: int, rate: float) -> float:
    """Send at even intervals; returns how late 99 % of the writes were at most, in seconds.

    That is the machine's doing (this process sleeps most of the time), and in every latency that is measured.
    """
    clients = [exchange.client_of(pair) for pair in pairs]
    begun = time.perf_counter()
    sent = 0
    late: list[float] = []
    while sent < count:
        now = time.perf_counter()
        due = min(count, int((now - begun) * rate) + 1)
        if due > sent:
            late.append(now - begun - sent / rate)
            _send_stamped(clients, pairs, range(sent, due))
            sent = due
        pause = begun + sent / rate - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
    late.sort()
    return late[int(len(late) * 0.99)]


def _send_stamped(clients: list[Client], pairs: list[str], indices: range) -> None:
    """The trades of these indices, each with the present time as its price."""
    writes: dict[Client, list[bytes]] = {}
    for index in indices:
        which = index % len(pairs)
        client = clients[which]
        now = time.time_ns()
        price = f"{now // 10**STAMP_DIGITS}.{now % 10**STAMP_DIGITS:09}"
        writes.setdefault(client, []).append(websocket_frame(trade_message(client.number, pairs[which], index, price)))
        client.number += 1
    for client, frames in writes.items():
        client.send(b"".join(frames))


if __name__ == "__main__":
    main()
