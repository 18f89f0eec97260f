"""The clients of the gateway's benchmark, all in one process.

    python -m benchmarks.watching http://127.0.0.1:9112 --clients 200 --each 5 --count 1000 KEY ...

It prints ``ready`` when all are subscribed; when each has ``count`` entries of each of its streams, or nothing comes any
more, it prints what it saw as JSON. All clients count their entries; every tenth checks the order of each and measures
how late it is, since checking all would take more CPU than there is. The first second is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import sys
import time
from collections import Counter
from typing import Any

import aiohttp

from bridge.process.loops import run_async

__all__ = ["main"]

_ENTRY = re.compile(rb'\{"stream":"([^"]+)","id":"\d+-(\d+)","type":"trade","ts":"\d+","recv":"(\d+)"')
_PATIENCE = 30.0
_WARM_UP = 1_000_000_000


class _Client:
    """One of them: it checks that its entries are complete, and (if it ``checks``) in order."""

    def __init__(self, name: str, keys: list[str], count: int, *, checks: bool) -> None:
        self._checks = checks
        self.latencies: Counter[int] = Counter()
        """Tenths of milliseconds → entries."""
        self.wrong = ""
        self._name = name
        self._keys = keys
        self._count = count
        self._next = dict.fromkeys([key.encode() for key in keys], 1)

    async def run(self, session: aiohttp.ClientSession, url: str, subscribed: asyncio.Semaphore) -> None:
        async with session.ws_connect(f"{url}/ws", max_msg_size=0, compress=0) as ws:
            for key in self._keys:
                await ws.send_str(json.dumps({"op": "subscribe", "stream": key, "after": "start"}))
            waiting = len(self._keys)
            left = waiting * self._count
            while left > 0:
                message = await ws.receive(_PATIENCE if not waiting else None)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    self.wrong = f"{self._name}: {left} entries are missing: {message}"
                    return
                if waiting:
                    waiting -= message.data.count('"notice":"subscribed"')
                    if not waiting:
                        subscribed.release()
                left -= self._take(message.data.encode()) if self._checks else message.data.count('"type":"trade"')
            if left:
                self.wrong = f"{self._name}: {-left} entries too many"

    def _take(self, data: bytes) -> int:
        """Count what came; returns how much it was."""
        now = time.time_ns()
        entries = _ENTRY.findall(data)
        for key, seq, recv in entries:
            if self._next[key] != int(seq):
                self.wrong = f"{self._name}: {seq.decode()} came, not {self._next[key]}"
            self._next[key] = int(seq) + 1
            self.latencies[(now - int(recv)) // 100_000] += int(recv) >= _warm[0]
        return len(entries)


_warm = [0]
"""When the second of warming up is over, ns."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("keys", nargs="+")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--each", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    gc.collect()
    gc.freeze()
    print(json.dumps(run_async(_watch(options), "auto")), flush=True)


async def _watch(options: argparse.Namespace) -> dict[str, Any]:
    subscribed = asyncio.Semaphore(0)
    keys = options.keys
    clients = []
    for number in range(options.clients):
        own = [keys[(number * options.each + place) % len(keys)] for place in range(options.each)]
        clients.append(_Client(f"client {number}", own, options.count, checks=not number % 10))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run(session, options.url, subscribed))
        for _ in clients:
            await subscribed.acquire()
        _warm[0] = time.time_ns() + _WARM_UP
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        cpu = time.process_time()
    latencies = sum((client.latencies for client in clients), Counter[int]())
    wrong = [client.wrong for client in clients if client.wrong]
    return {"cpu": time.process_time() - cpu, "wrong": wrong[:5], **_percentiles(latencies)}


def _percentiles(latencies: Counter[int]) -> dict[str, float]:
    """From tenths of milliseconds to milliseconds."""
    total, seen, found = latencies.total(), 0, dict[str, float]()
    for tenths, count in sorted(latencies.items()):
        seen += count
        for name, share in (("p50", 0.5), ("p99", 0.99), ("worst", 1.0)):
            if name not in found and total and seen >= total * share:
                found[name] = tenths / 10
    return {"p50": 0.0, "p99": 0.0, "worst": 0.0, **found}


if __name__ == "__main__":
    main()
