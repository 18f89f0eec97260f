"""(b) What the fence costs: the same batches as plain pipelines, as transactions, and as transactions behind the fence.

The publisher's own parts send them, one batch after the other; entries are rendered beforehand. Figures are CPU time per entry:
the sender's by ``process_time``, the server's by ``INFO cpu``, which is everything that the server does.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

from benchmarks.machine import Server
from benchmarks.results import Run, Target, medians, table
from benchmarks.samples import trades
from bridge.keys import Keys
from bridge.model import Channel, Trade
from bridge.process.loops import run_async
from bridge.publish.batch import Run as Entries
from bridge.publish.batch import pack
from bridge.publish.connection import RedisConnection, Reply, open_connection
from bridge.publish.fence import Fence
from bridge.publish.pending import DATA, Pending
from bridge.publish.stream import Retention, Stream
from bridge.publish.transfer import Mode, Transfer
from bridge.publish.wire import render

__all__ = ["measure"]

NAMESPACE = "bench-fence"
_SIZES = {1: 20, 10: 4, 200: 1}
"""Entries of a batch, and by how much fewer entries a run then has."""
_FENCE = Fence(f"{NAMESPACE}:bridge:connector:bench:fence", "1-benchmark", "bench")
_SIDES: dict[str, tuple[Mode, Fence | None]] = {
    "plain pipeline": (Mode.PLAIN, None),
    "transaction": (Mode.ATOMIC, None),
    "behind the fence": (Mode.ATOMIC, _FENCE),
}


def measure(server: Server, *, events: int, runs: int, loop: str) -> tuple[str, list[Target], dict[str, Any]]:
    """Batches of 1, 10 and 200 trades."""
    made = trades(events)
    texts, targets, data = [], [], {}
    for size, fewer in _SIZES.items():
        rows = _compare(server, made[: len(made) // fewer], size, runs, loop)
        plain, fenced = rows["plain pipeline"], rows["behind the fence"]
        for row in rows.values():
            for what in ("server", "client"):
                row[f"{what}, times the plain one's"] = row[f"{what} µs/entry"] / plain[f"{what} µs/entry"]
        what = f"Batches of {size} ({len(made) // fewer:,} trades, median of {runs} runs, {loop})"
        texts.append(table(what, rows))
        data[str(size)] = rows
    both = [sum(row[f"{what} µs/entry"] for what in ("server", "client")) for row in (fenced, plain)]
    targets.append(
        Target(
            "the fence at batches of 200, CPU of both ends, times the plain pipeline's", both[0] / both[1], at_most=1.25
        )
    )
    return "\n\n".join(texts), targets, data


def _compare(server: Server, events: list[Trade], size: int, runs: int, loop: str) -> dict[str, Run]:
    """Each run measures every side once, so that all see the same minutes of a noisy machine."""
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        for name, side in _SIDES.items():
            found.setdefault(name, []).append(_run(server, events, size, side, loop))
    return {name: medians(of) for name, of in found.items()}


def _run(server: Server, events: list[Trade], size: int, side: tuple[Mode, Fence | None], loop: str) -> Run:
    server.forget(NAMESPACE)
    server.client.set(_FENCE.key, _FENCE.token)
    key = Keys(NAMESPACE).stream("bench", "P-USD", Channel.TRADES)
    stream = Stream(key, Channel.TRADES, "P-USD", Retention(len(events) * 2, 86400.0))
    pending = [Pending(event.recv, render(event), DATA) for event in events]
    batches: list[list[Entries]] = [[(stream, pending[at : at + size], 0)] for at in range(0, len(pending), size)]
    gc.collect()
    before = _server_cpu(server)
    cpu = run_async(_send(server.url, batches, *side), loop)
    used = _server_cpu(server) - before
    assert server.client.xlen(key) == len(events)
    server.forget(NAMESPACE)
    return {"server µs/entry": used / len(events) * 1e6, "client µs/entry": cpu / len(events) * 1e6}


async def _send(url: str, batches: list[list[Entries]], mode: Mode, fence: Fence | None) -> float:
    """Send them one after the other; returns the CPU time (seconds) that it took."""
    connection = await open_connection(url, "benchmark", 5.0, url)
    if fence:
        await connection.request(fence.watch)
    began = time.process_time()
    for runs in batches:
        await _send_one(connection, runs, mode, fence)
    cpu = time.process_time() - began
    connection.abort("done")
    return cpu


async def _send_one(connection: RedisConnection, runs: list[Entries], mode: Mode, fence: Fence | None) -> None:
    transfer = Transfer.of(pack(runs, 0), mode, fence)
    payload = "".join(transfer.texts()).encode("latin-1")
    answer: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
    queued = transfer.units[0] if transfer.units else 0
    connection.send(payload, transfer.expected, answer.set_result, queued=queued)
    assert transfer.all_taken(await answer)


def _server_cpu(server: Server) -> float:
    info = server.client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
