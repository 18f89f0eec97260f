"""Tickbridge and its peers, in turns: the same messages, the same Redis, CPU per message of the carrying process.

The peers are cryptofeed in an environment of its own, set so that it drops nothing, and a bridge written by hand with
``redis-py``. What Redis takes at most, of the same entries, is asked of ``redis-benchmark -P 100``.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct, structs
from redis.connection import parse_url

from benchmarks import environment
from benchmarks.machine import Server
from benchmarks.path import saturated
from benchmarks.results import Run, Target, medians, table
from benchmarks.tickbridge import SETUPS, Tickbridge
from benchmarks.trial import NAMESPACE, Carrier, Load, Trial, python, recorded, trades
from bridge.model import Channel

__all__ = ["CRYPTOFEED", "measure"]

CRYPTOFEED = "cryptofeed 3.0.1"
_SNAPSHOT_EVERY = 1000
"""Changes of a book after which cryptofeed writes it whole."""
_TIMES = {"fast": 10, "websockets": 6}
"""How many times cryptofeed's CPU per message is to be ours."""
_SHARE = 0.75
_REQUESTS = 100_000
_SAMPLE = 2_000
"""Messages out of which the entries for ``redis-benchmark`` are taken."""
_CLIENTS = (1, 50)
"""How many clients ``redis-benchmark`` has; the quicker counts."""


class Cryptofeed(Struct):
    """cryptofeed's Coinbase feed and Redis streams; ``python`` is that of its environment."""

    python: str
    name: str = CRYPTOFEED

    def command(self, server: Server, load: Load, port: int, directory: Path) -> list[str]:
        del directory
        script = str(Path(__file__).parent / "cryptofeed_feed.py")
        where = parse_url(server.url)
        words = [str(port), where["host"], str(where["port"]), NAMESPACE, ",".join(self._channels(load)), *load.pairs]
        return [self.python, script, *words]

    def keys(self, load: Load) -> list[str]:
        return [f"{NAMESPACE}:{channel}-COINBASE-{pair}" for channel in self._channels(load) for pair in load.pairs]

    def entries(self, load: Load) -> tuple[int, int]:
        """One for each trade, change of a book and ticker; and the books whole now and then, each by its own count."""
        rows = load.rows()
        whole = sum(count // _SNAPSHOT_EVERY for count in load.changes_by_pair().values())
        return load.books, rows["trades"] + rows["books"] + whole + rows["ticker"]

    def prove(self, server: Server, load: Load) -> dict[str, str]:
        """The number of its entries is all the proof there is."""
        del server, load
        return {}

    @staticmethod
    def _channels(load: Load) -> list[str]:
        """QUOTES and TICKER are one entry here."""
        names = {Channel.TRADES: "trades", Channel.BOOK: "l2_book", Channel.TICKER: "ticker"}
        return [name for channel, name in names.items() if channel in load.channels]


class Handwritten(Struct):
    """``benchmarks/handwritten.py``."""

    name: str = "by hand with redis-py"

    def command(self, server: Server, load: Load, port: int, directory: Path) -> list[str]:
        del directory
        names = {Channel.TRADES: "market_trades", Channel.BOOK: "level2", Channel.TICKER: "ticker"}
        channels = ",".join(name for channel, name in names.items() if channel in load.channels)
        return python("benchmarks.handwritten", str(port), server.url, NAMESPACE, channels, *load.pairs)

    def keys(self, load: Load) -> list[str]:
        return [f"{NAMESPACE}:{pair}:{channel}" for pair in load.pairs for channel in load.channels]

    def entries(self, load: Load) -> tuple[int, int]:
        rows = load.rows()
        return load.books, rows["trades"] + rows["books"] + 2 * rows["ticker"]

    def prove(self, server: Server, load: Load) -> dict[str, str]:
        """The number of its entries is all the proof there is."""
        del server, load
        return {}


def measure(
    server: Server,
    *,
    messages: int,
    runs: int,
    quiet: float,
    recording: Path | None = None,
    setups: Sequence[Tickbridge] = SETUPS,
) -> tuple[str, list[Target], dict[str, Any]]:
    """Both loads; who takes part, in turns."""
    found = environment.cryptofeed()
    carriers: list[Carrier] = [*setups, Handwritten()]
    if found.python:
        carriers.append(Cryptofeed(found.python))
    texts = [] if found.python else [f"SKIP {CRYPTOFEED}: {found.reason}"]
    targets: list[Target] = []
    data: dict[str, Any] = {"skipped": found.reason}
    for load in (trades(messages), recorded(messages, recording)):
        rows, ceiling = _in_turns(server, carriers, load, runs=runs, quiet=quiet)
        for row in rows.values():
            row["times Tickbridge's CPU"] = row["CPU µs/message"] / rows[setups[-1].name]["CPU µs/message"]
            row["share of the ceiling"] = row["entries/s"] / ceiling if ceiling else 0.0
        texts.append(table(f"{load.name} ({messages:,} messages, median of {runs} runs)", rows))
        texts.append(f"  redis-benchmark -P 100, the same entries: {ceiling:,.0f}/s" if ceiling else _NO_CEILING)
        targets += list(_targets(load, rows, setups, ceiling))
        data[load.name] = {"rows": rows, "ceiling": ceiling}
    return "\n".join(texts), targets, data


_NO_CEILING = "  SKIP redis-benchmark: it is not on PATH"


def _targets(load: Load, rows: dict[str, Run], setups: Sequence[Tickbridge], ceiling: float) -> Iterator[Target]:
    theirs = rows.get(CRYPTOFEED)
    for setup in setups:
        ours = rows[setup.name]
        if theirs is not None:
            times = theirs["CPU µs/message"] / ours["CPU µs/message"]
            what = f"{load.name}, {setup.short}: CPU per message, cryptofeed's to ours"
            yield Target(what, times, at_least=_TIMES[setup.short])
    if ceiling and not load.recording:
        what = f"{load.name}, {setups[-1].short}: share of redis-benchmark's ceiling"
        yield Target(what, rows[setups[-1].name]["share of the ceiling"], at_least=_SHARE)


def _in_turns(
    server: Server, carriers: Sequence[Carrier], load: Load, *, runs: int, quiet: float
) -> tuple[dict[str, Run], float]:
    """The medians of each, and entries per second at the ceiling (0 where nobody can tell)."""
    samples = _samples(server, carriers[0], load)
    found: dict[str, list[Run]] = {}
    ceilings: list[float] = []
    for _ in range(runs):
        for name, [measured] in saturated(server, carriers, load, runs=1, quiet=quiet).items():
            made = next(carrier.entries(load)[1] for carrier in carriers if carrier.name == name)
            found.setdefault(name, []).append({**measured.run(load.count), "entries/s": made / measured.wall})
        ceilings.append(_ceiling(server, samples))
    return {name: medians(of) for name, of in found.items()}, median(ceilings)


def _samples(server: Server, carrier: Carrier, load: Load) -> list[tuple[int, list[str]]]:
    """Of each stream its length, and the words of an entry of middle size, after a short trial."""
    with Trial(server, carrier, structs.replace(load, count=_SAMPLE)) as trial:
        trial.go()
        trial.finish()
        return [(int(server.client.xlen(key)), [key, "*", *_middle(server, key)]) for key in carrier.keys(load)]


def _middle(server: Server, key: str) -> list[str]:
    entries: list[Any] = server.client.xrange(key)  # type: ignore[assignment]
    words = [[word for pair in fields.items() for word in pair] for _, fields in entries if fields["type"] != "control"]
    return sorted(words, key=_size)[len(words) // 2]


def _size(words: list[str]) -> int:
    return sum(map(len, words))


def _ceiling(server: Server, samples: list[tuple[int, list[str]]]) -> float:
    """Entries per second that ``redis-benchmark`` gets into Redis, of these streams in their proportions."""
    if shutil.which("redis-benchmark") is None:
        return 0.0
    seconds = 0.0
    for length, words in samples:
        rates = [_redis_benchmark(server, words, clients) for clients in _CLIENTS]
        seconds += length / max(rates)
    server.forget(NAMESPACE)
    return sum(length for length, _ in samples) / seconds


def _redis_benchmark(server: Server, words: list[str], clients: int) -> float:
    where = parse_url(server.url)
    command = ["redis-benchmark", "-h", where["host"], "-p", str(where["port"]), "-P", "100", "-c", str(clients)]
    command += ["-n", str(_REQUESTS), "--csv", "XADD", *words]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    server.client.delete(words[0])
    return requests_per_second(printed)


def requests_per_second(printed: str) -> float:
    """The second column of the last row that ``redis-benchmark --csv`` prints."""
    # The first column holds the command, commas and quotes and all; seven more follow.
    return float(printed.strip().splitlines()[-1].rsplit('","', 7)[1])
