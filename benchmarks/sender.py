"""The exchange of the whole-path benchmark: one plain TCP socket that speaks just enough WebSocket to be believed.

It does as little as it can while the clock runs, so that it is never what limits: at saturation it writes frames that
were built before, in pieces of 64 KiB, and only sees to it that no more than a window of them is on its way: a
connector buffers what Redis doesn't take at once, and would drop what is beyond its limit. With a rate, each frame
carries the time of its sending.

    python -m benchmarks.sender limitlex --count 100000 --rate 10000

It prints its port, then ``connected``; at a line on its standard input it sends, and then prints what it did as JSON.
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

import redis

from benchmarks.samples import coinbase_frames, limitlex_frames, websocket_frame

__all__ = ["STAMP_DIGITS", "main"]

STAMP_DIGITS = 9
"""Decimals of the price that carries the time of sending, in seconds since the epoch."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PIECE = 65536
_WINDOW = 20_000
"""Frames sent and not yet in Redis."""


def main() -> None:
    options = _options()
    frames = _frames(options.exchange, options.count) if not options.rate else []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _say(str(listener.getsockname()[1]))
        peer, _ = listener.accept()
        with peer:
            _handshake(peer)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ended = threading.Event()
            threading.Thread(target=_listen, args=(peer, ended), name="listen", daemon=True).start()
            _say("connected")
            sys.stdin.readline()
            began, cpu = time.time(), time.process_time()
            late = 0.0
            if options.rate:
                late = _paced(peer, options.count, options.rate)
            else:
                _blast(peer, frames, redis.Redis.from_url(options.redis), options.keys)
            done = {"began": began, "seconds": time.time() - began, "cpu": time.process_time() - cpu, "late": late}
            _say(json.dumps(done))
            ended.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("exchange", choices=("limitlex", "coinbase"))
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0, help="frames per second; 0: as fast as they are taken")
    parser.add_argument("--redis", required=True)
    parser.add_argument("keys", nargs="+", help="streams in which the frames' events will stand")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _frames(exchange: str, count: int) -> list[tuple[int, bytes]]:
    """Pieces of about 64 KiB, of whole frames, with how many these are."""
    texts = limitlex_frames(count) if exchange == "limitlex" else coinbase_frames(count)
    pieces, piece, size = [], [], 0
    for text in texts:
        frame = websocket_frame(text)
        piece.append(frame)
        size += len(frame)
        if size >= _PIECE:
            pieces.append((len(piece), b"".join(piece)))
            piece, size = [], 0
    pieces.append((len(piece), b"".join(piece)))
    return pieces


def _handshake(peer: socket.socket) -> None:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += peer.recv(4096)
    headers = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
    key = next(value for name, value in headers.items() if name.lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    peer.sendall(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def _listen(peer: socket.socket, ended: threading.Event) -> None:
    """Wait for the other side's close frame; what else it sends (subscriptions, pings) needs no answer here."""
    while True:
        try:
            data = peer.recv(4096)
        except OSError:
            data = b""
        if not data or data[0] == 0x88:
            peer.shutdown(socket.SHUT_RDWR)
            ended.set()
            return


def _blast(peer: socket.socket, pieces: list[tuple[int, bytes]], client: redis.Redis, keys: list[str]) -> None:
    sent = arrived = 0
    for count, piece in pieces:
        while sent - arrived > _WINDOW:
            time.sleep(0.002)
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.xlen(key)
            arrived = sum(pipe.execute())
        peer.sendall(piece)
        sent += count


def _paced(peer: socket.socket, count: int, rate: float) -> float:
    """Send at even intervals; returns how late 99 % of the writes were at most, in seconds.

    That is the machine's doing (this process sleeps most of the time), and in every latency that is measured.
    """
    begun = time.perf_counter()
    sent = 0
    late: list[float] = []
    while sent < count:
        now = time.perf_counter()
        due = min(count, int((now - begun) * rate) + 1)
        if due > sent:
            late.append(now - begun - sent / rate)
            peer.sendall(b"".join([_stamped() for _ in range(sent, due)]))
            sent = due
        pause = begun + sent / rate - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
    late.sort()
    return late[int(len(late) * 0.99)]


def _stamped() -> bytes:
    now = time.time_ns()
    price = f"{now // 10**STAMP_DIGITS}.{now % 10**STAMP_DIGITS:09}"
    return websocket_frame(
        f'{{"t":"last_trade","orderDirection":"Buy","amount":"0.01034361","price":"{price}","createdAt":1786309548}}'
    )


if __name__ == "__main__":
    main()
