"""The demo's last word: what came through, whether it is true, and the exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from bridge.demo.ending import Findings
from bridge.demo.settings import DemoSettings
from bridge.demo.watch import Heartbeats, Lag, Watcher

__all__ = ["Outcome", "failures", "summary"]

_SHOWN = 5


class Outcome(Struct, frozen=True):
    """Everything that the summary is made of; ``unsettled`` is what hadn't come through when patience was over."""

    settings: DemoSettings
    elapsed: float
    watcher: Watcher
    beats: Heartbeats
    findings: Findings
    unsettled: list[str]


def failures(outcome: Outcome) -> list[str]:
    """What is wrong, in words; empty when all is as it should be."""
    watcher, found = outcome.watcher, outcome.findings
    wrong = list(outcome.unsettled)
    wrong += _differing("book of", found.books)
    wrong += _differing("late-join hash of", found.kept)
    wrong += _differing("wallet of", found.wallets)
    for pair in sorted({*outcome.settings.pairs} - found.books.keys()):
        wrong.append(f"book of {pair}: it never came")
    for pair, check in found.trades.items():
        if check.twice:
            wrong.append(f"trades of {pair}: {check.twice} too many")
        if check.missing:
            wrong.append(f"trades of {pair}: {check.missing} missing")
    if watcher.holes:
        wrong.append(f"{watcher.holes} entries are missing in seq")
    if watcher.undecodable:
        wrong.append(f"{watcher.undecodable} entries can't be decoded")
    return wrong + _miscounted(outcome)


def summary(outcome: Outcome) -> str:
    """The plain summary, several lines."""
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    settings, watcher, beats, found = outcome.settings, outcome.watcher, outcome.beats, outcome.findings
    yield f"tickbridge demo: {outcome.elapsed:.1f} s, seed {settings.seed}, {settings.rate:g} messages/s asked for"
    yield _row(
        "messages",
        f"received {_count(beats, 'received')}, published {_count(beats, 'published')}, "
        f"lost {_count(beats, 'lost')}, read {watcher.read:,}",
    )
    yield _row("streams", f"{len(watcher.cursors)}, holes in seq {watcher.holes}, undecodable {watcher.undecodable}")
    twice = sum(check.twice for check in found.trades.values())
    missing = sum(check.missing for check in found.trades.values())
    trades = sum(check.read for check in found.trades.values())
    yield _row(
        "trades",
        f"read {trades:,}, standing twice {twice}, missing {missing}, repeats dropped {_count(beats, 'repeated')}",
    )
    yield _row(
        "connector",
        f"processes {beats.processes}, reconnects {_count(beats, 'reconnects')}, gaps {_count(beats, 'gaps')}, "
        f"rejected frames {_count(beats, 'rejected')}",
    )
    total = Lag(watcher.latency.percentile(0.5), watcher.latency.percentile(0.99))
    yield _row("latency", f"socket to reader {as_text(total)}")
    yield _row("", f"socket to Redis and back {as_text(publish_lag(beats))}")
    for pair, differences in found.books.items():
        bids, asks = len(watcher.keepers[pair].book.bids), len(watcher.keepers[pair].book.asks)
        yield _row("book", f"{pair:<12} equal: {_yes(not differences)}  ({bids} bids, {asks} asks)")
    for account, differences in found.wallets.items():
        yield _row("wallet", f"{account:<12} equal: {_yes(not differences)}")
    wrong = failures(outcome)
    equal = len(found.books) >= len(settings.pairs) and not found.books_differ
    yield f"books equal to the exchange's true books: {_yes(equal)}"
    yield f"wallets equal to the exchange's true wallets: {_yes(not any(found.wallets.values()))}"
    yield from (f"wrong: {line}" for line in wrong)


def publish_lag(beats: Heartbeats) -> Lag:
    """From the socket to Redis's acknowledgement, as the connector measures it itself."""
    return Lag(
        *(float(beats.last[name]) if beats.last.get(name) else None for name in ("publish_p50_ms", "publish_p99_ms"))
    )


def as_text(lag: Lag) -> str:
    """``p50 0.84 ms, p99 2.10 ms``."""
    return ", ".join(
        f"{name} {value:.2f} ms" if value is not None else f"{name} unknown"
        for name, value in (("p50", lag.half), ("p99", lag.most))
    )


def _miscounted(outcome: Outcome) -> list[str]:
    """The newest process's own sums; one that was killed took its last half second of counting with it."""
    last, watcher, beats = outcome.beats.last, outcome.watcher, outcome.beats
    if not last:
        return ["the connector never came up"]
    received, published, lost = (int(last[name]) for name in ("received", "published", "lost"))
    wrong = []
    if received != published + lost:
        wrong.append(f"received {received} is not published {published} + lost {lost}")
    if beats.processes == 1 and watcher.read != published:
        wrong.append(f"read {watcher.read} is not published {published}")
    if watcher.read < beats.total("published"):
        wrong.append(f"read {watcher.read} is less than published {beats.total('published')}")
    return wrong


def _differing(what: str, found: Mapping[str, list[str]]) -> list[str]:
    lines = []
    for name, differences in found.items():
        more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        if differences:
            lines.append(f"{what} {name}: {'; '.join(differences[:_SHOWN])}{more}")
    return lines


def _count(beats: Heartbeats, name: str) -> str:
    # What a killed process counted after its last heartbeat nobody knows.
    return f"{beats.total(name):,}" + ("+" if beats.processes > 1 and name in ("received", "published") else "")


def _row(name: str, words: str) -> str:
    return f"  {name:<10} {words}"


def _yes(good: bool) -> str:
    return "yes" if good else "no"
