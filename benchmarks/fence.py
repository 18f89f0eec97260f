"""(b) What transactions and the fence cost: batches as plain pipelines, as transactions, behind the fence, and by slot.

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
PLAIN, ATOMIC, FENCED, BY_SLOT = "plain pipeline", "transaction", "behind the fence", "a transaction for each slot"
_CLUSTER_SIZE = 200
_SHARES = (1, 2, 20)
"""Entries that each stream has of a batch to a Cluster's node."""


def measure(server: Server, *, events: int, runs: int, loop: str) -> tuple[str, list[Target], dict[str, Any]]:
    """Batches of 1, 10 and 200 trades; of 200 from 200, 100 and 10 streams."""
    made = trades(events)
    texts, data = [], {}
    for size, fewer in _SIZES.items():
        rows = _compare(server, made[: len(made) // fewer], size, 1, (PLAIN, ATOMIC, FENCED), runs=runs, loop=loop)
        what = f"Batches of {size} ({len(made) // fewer:,} trades, median of {runs} runs, {loop})"
        texts.append(table(what, rows))
        data[str(size)] = rows
    size = _CLUSTER_SIZE
    for share in _SHARES:
        streams = size // share
        rows = _compare(server, made, size, streams, (PLAIN, BY_SLOT), runs=runs, loop=loop)
        texts.append(table(f"Batches of {size} from {streams} pairs, as to a Cluster's node", rows))
        data[f"{size} from {streams} pairs"] = rows
    targets = [
        Target(
            "the fence at batches of 200, CPU of both ends, times the plain pipeline's",
            _times(data["200"], FENCED),
            at_most=1.25,
        ),
        Target(
            "transactions by slot, 10 pairs, CPU of both ends, times the plain pipeline's",
            _times(data["200 from 10 pairs"], BY_SLOT),
            at_most=1.25,
        ),
    ]
    return "\n\n".join(texts), targets, data


def _times(rows: dict[str, Run], side: str) -> float:
    """What this side costs: CPU of both ends, by the plain pipeline's."""
    both = [sum(rows[name][f"{what} µs/entry"] for what in ("server", "client")) for name in (side, PLAIN)]
    return both[0] / both[1]


def _compare(
    server: Server, events: list[Trade], size: int, streams: int, sides: tuple[str, ...], *, runs: int, loop: str
) -> dict[str, Run]:
    """Each run measures every side once, so that all see the same minutes of a noisy machine."""
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        for side in sides:
            found.setdefault(side, []).append(_run(server, events, size, streams, side=side, loop=loop))
    rows = {name: medians(of) for name, of in found.items()}
    for row in rows.values():
        for what in ("server", "client"):
            row[f"{what}, times the plain one's"] = row[f"{what} µs/entry"] / rows[PLAIN][f"{what} µs/entry"]
    return rows


def _run(server: Server, events: list[Trade], size: int, count: int, *, side: str, loop: str) -> Run:
    server.forget(NAMESPACE)
    server.client.set(_FENCE.key, _FENCE.token)
    keys = [Keys(NAMESPACE).stream("bench", f"P{number}-USD", Channel.TRADES) for number in range(count)]
    streams = [Stream(key, Channel.TRADES, "P-USD", Retention(len(events) * 2, 86400.0)) for key in keys]
    pending = [Pending(event.recv, render(event), DATA) for event in events]
    share = size // count
    runs = [(streams[at // share % count], pending[at : at + share], 0) for at in range(0, len(pending), share)]
    batches = [runs[at : at + count] for at in range(0, len(runs), count)]
    gc.collect()
    before = _server_cpu(server)
    cpu = run_async(_send(server.url, batches, side), loop)
    used = _server_cpu(server) - before
    assert sum(map(server.client.xlen, keys)) == len(events)
    server.forget(NAMESPACE)
    return {"server µs/entry": used / len(events) * 1e6, "client µs/entry": cpu / len(events) * 1e6}


async def _send(url: str, batches: list[list[Entries]], side: str) -> float:
    """Send them one after the other; returns the CPU time (seconds) that it took."""
    connection = await open_connection(url, "benchmark", 5.0, url)
    if side == FENCED:
        await connection.request(_FENCE.watch)
    began = time.process_time()
    for runs in batches:
        await _send_one(connection, runs, side)
    cpu = time.process_time() - began
    connection.abort("done")
    return cpu


async def _send_one(connection: RedisConnection, runs: list[Entries], side: str) -> None:
    batch = pack(runs, 0)
    if side == PLAIN:
        transfer = Transfer(batch, Mode.BY_SLOT, None, batch.entries, [])
    else:
        mode = Mode.BY_SLOT if side == BY_SLOT else Mode.ATOMIC
        transfer = Transfer.of(batch, mode, _FENCE if side == FENCED else None)
    payload = "".join(transfer.texts()).encode("latin-1")
    answer: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
    connection.send(payload, transfer.expected, answer.set_result, queued=transfer.queued)
    assert transfer.all_taken(await answer)


def _server_cpu(server: Server) -> float:
    info = server.client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
