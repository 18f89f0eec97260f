"""The demo's summary: what was received, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from bridge.demo.comparison import Findings
from bridge.demo.heartbeats import Heartbeat, Heartbeats
from bridge.demo.recorded import RECORDED, source_of
from bridge.demo.settings import DemoSettings
from bridge.demo.venue import Instrument
from bridge.demo.watch import Lag, Watcher

__all__ = ["Outcome", "as_text", "failures", "publish_lag", "summary"]

_SHOWN = 5


class Outcome(Struct, frozen=True):
    """The data of the summary; ``findings`` are by exchange.

    ``unsettled`` is what had not arrived in time.
    """

    settings: DemoSettings
    elapsed: float
    watcher: Watcher
    heartbeats: Heartbeats
    findings: dict[str, Findings]
    unsettled: list[str]


def failures(outcome: Outcome) -> list[str]:
    """What is wrong, in words; empty if nothing is."""
    watcher = outcome.watcher
    wrong = list(outcome.unsettled)
    for exchange, found in outcome.findings.items():
        wrong += _differing(f"book of {exchange}", found.books)
        wrong += _differing(f"late-join hash of {exchange}", found.kept)
        wrong += _differing(f"wallet of {exchange}", found.wallets)
        for pair in sorted({*outcome.settings.pairs[exchange]} - found.books.keys()):
            wrong.append(f"book of {exchange} {pair}: never received")
        for pair, check in found.trades.items():
            for count, words in (
                (check.twice, "too many"),
                (check.missing, "missing"),
                (check.misplaced, "out of order"),
            ):
                if count:
                    wrong.append(f"trades of {exchange} {pair}: {count} {words}")
    if watcher.holes:
        wrong.append(f"{watcher.holes} entries are missing in seq")
    if watcher.undecodable:
        wrong.append(f"{watcher.undecodable} entries cannot be decoded")
    for exchange, heartbeat in outcome.heartbeats.of.items():
        wrong += [f"{exchange}: {words}" for words in _miscounted(heartbeat, watcher.read[exchange])]
    return wrong


def summary(outcome: Outcome) -> str:
    """The summary as several lines of text."""
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    settings, watcher = outcome.settings, outcome.watcher
    simulated = f", seed {settings.seed}, {settings.rate:g} messages/s requested"
    yield f"tickbridge demo: {outcome.elapsed:.1f} s" + simulated * bool(settings.pairs.keys() - RECORDED.keys())
    yield _row("streams", f"{len(watcher.cursors)}, holes in seq {watcher.holes}, undecodable {watcher.undecodable}")
    total = Lag(watcher.latency.percentile(0.5), watcher.latency.percentile(0.99))
    yield _row("latency", f"socket to reader {as_text(total)}")
    for exchange, found in outcome.findings.items():
        yield exchange
        yield from _of_exchange(exchange, found, outcome)
    for exchange, found in outcome.findings.items():
        equal = len(found.books) >= len(settings.pairs[exchange]) and not found.books_differ
        true = "the recording's" if exchange in RECORDED else "the exchange's true books"
        yield f"{exchange}: books equal to {true}: {_yes(equal)}"
        if found.wallets:
            yield f"{exchange}: wallets equal to the exchange's true wallets: {_yes(not found.wallets_differ)}"
    yield from (f"wrong: {line}" for line in failures(outcome))


def _of_exchange(exchange: str, found: Findings, outcome: Outcome) -> Iterator[str]:
    watcher, heartbeat = outcome.watcher, outcome.heartbeats.of[exchange]
    if exchange in RECORDED:
        yield _row("source", source_of(exchange))
    yield _row(
        "messages",
        f"received {_count(heartbeat, 'received')}, published {_count(heartbeat, 'published')}, "
        f"lost {_count(heartbeat, 'lost')}, read {watcher.read[exchange]:,}",
    )
    checks = found.trades.values()
    read, twice, missing, misplaced = (
        sum(getattr(check, name) for check in checks) for name in ("read", "twice", "missing", "misplaced")
    )
    yield _row(
        "trades",
        f"read {read:,}, duplicates {twice}, missing {missing}, out of order {misplaced}",
    )
    yield _row(
        "connector",
        f"processes {heartbeat.processes}, reconnects {_count(heartbeat, 'reconnects')}, gaps {_count(heartbeat, 'gaps')}, "
        f"rejected {_count(heartbeat, 'rejected')}, repeated {_count(heartbeat, 'repeated')}",
    )
    yield _row("latency", f"socket to Redis and back {as_text(publish_lag(heartbeat))}")
    for pair, differences in found.books.items():
        book = watcher.keepers[Instrument(exchange, pair)].book
        yield _row("book", f"{pair:<12} equal: {_yes(not differences)}  ({len(book.bids)} bids, {len(book.asks)} asks)")
    for account, differences in found.wallets.items():
        yield _row("wallet", f"{account:<12} equal: {_yes(not differences)}")


def publish_lag(heartbeat: Heartbeat) -> Lag:
    """The lag from the socket to the acknowledgement by Redis, as measured by the connector."""
    return Lag(
        *(
            float(heartbeat.last[name]) if heartbeat.last.get(name) else None
            for name in ("publish_p50_ms", "publish_p99_ms")
        )
    )


def as_text(lag: Lag) -> str:
    """``p50 0.84 ms, p99 2.10 ms``."""
    return ", ".join(
        f"{name} {value:.2f} ms" if value is not None else f"{name} unknown"
        for name, value in (("p50", lag.half), ("p99", lag.most))
    )


def _miscounted(heartbeat: Heartbeat, read: int) -> list[str]:
    """Check the sums of the newest process; the last counts of a killed process are unknown."""
    last = heartbeat.last
    if not last:
        return ["the connector never started"]
    received, published, lost = (int(last[name]) for name in ("received", "published", "lost"))
    wrong = []
    if received != published + lost:
        wrong.append(f"received {received} is not published {published} + lost {lost}")
    if heartbeat.processes == 1 and read != published:
        wrong.append(f"read {read} is not published {published}")
    if read < heartbeat.total("published"):
        wrong.append(f"read {read} is less than published {heartbeat.total('published')}")
    return wrong


def _differing(what: str, found: Mapping[str, list[str]]) -> list[str]:
    lines = []
    for name, differences in found.items():
        more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        if differences:
            lines.append(f"{what} {name}: {'; '.join(differences[:_SHOWN])}{more}")
    return lines


def _count(heartbeat: Heartbeat, name: str) -> str:
    # What a killed process counted after its last heartbeat is unknown.
    return f"{heartbeat.total(name):,}" + ("+" if heartbeat.processes > 1 and name in ("received", "published") else "")


def _row(name: str, words: str) -> str:
    return f"  {name:<10} {words}"


def _yes(good: bool) -> str:
    return "yes" if good else "no"
