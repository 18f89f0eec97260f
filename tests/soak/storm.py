"""Minutes of faults against a running connector, then everything held against the truth."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from bridge.chaos.checks import FILLS, TRADES, Late, check_book, check_events
from bridge.chaos.truth import Truth
from bridge.chaos.usage import rss
from tests.e2e.harness import eventually
from tests.soak.checks import check_all_numbers, check_hashes, each
from tests.soak.leaks import find_secrets
from tests.soak.schedule import Happening
from tests.soak.stand import DEAD_AFTER, Stand

__all__ = ["Report", "storm"]

_LATEST = DEAD_AFTER + 6.0
"""Seconds within which a valid book either follows the exchange's or is marked: dead connections, the silence limit of
4 s plus a look every quarter second, and a busy machine."""
_SETTLING = 60.0

Report = dict[str, Any]


def storm(
    directory: Path,
    happenings: Iterable[Happening],
    *,
    seconds: float,
    seed: int,
    pause: float,
    rate: float = 150,
    activity: float = 0.1,
) -> tuple[Report, list[str]]:
    """Let these things happen, one every ``pause`` seconds or so, for ``seconds`` at most.

    Returns:
        Figures, and what is wrong (nothing, it is hoped).
    """
    random = Random(seed)
    with Stand(directory, seed=seed, rate=rate, activity=activity) as stand:
        watched = {"simulator": stand.simulator.pid, "wallets": stand.wallets.pid, "books": stand.books.pid}
        memory = {name: [rss(pid)] for name, pid in watched.items()}
        begun = time.monotonic()
        for happening in happenings:
            time.sleep(random.uniform(0.5, 1.5) * pause)
            if time.monotonic() - begun > seconds:
                break
            stand.let(happening)
        stand.settle()
        with suppress(AssertionError):  # then what is wrong is said below
            eventually(lambda: not _hashes(stand), "hashes of the truth", _SETTLING)
        for name, pid in watched.items():
            memory[name].append(rss(pid))
        memory["connector"] = [rss(stand.connector.pid)]  # of this one: it was killed now and then
        report: Report = {"happened": dict(sorted(stand.happened.items())), "memory_kib": memory}
        report["done_by_simulator"] = stand.state()["faults_done"]
        report["heartbeat"] = stand.heartbeat()
        wrong = _hashes(stand)
        wrong += _streams(stand, report)
        wrong += _ended(stand)
        searched, found = find_secrets([stand.secret], stand.client, stand.files())
        found += find_secrets([stand.api_key], stand.client, stand.told())[1]
        report["searched_for_secrets_bytes"] = searched
        return report, wrong + found


def _hashes(stand: Stand) -> list[str]:
    return check_hashes(stand.client, stand.account(), {pair: stand.book(pair) for pair in stand.pairs})


def _streams(stand: Stand, report: Report) -> list[str]:
    truth = Truth(stand.journal, stand.coins(), DEAD_AFTER)
    late = Late(stand.absent)
    counts: dict[str, Counter[str]] = {}
    wrong = check_all_numbers(stand.client)
    for pair in stand.pairs:
        rows = each(stand.client, f"md:{{lmex:{pair}}}:book")
        counts[f"{pair} book"], found = check_book(rows, truth.books[pair], late)
        wrong += found
        rows = each(stand.client, f"md:{{lmex:{pair}}}:trades")
        counts[f"{pair} trades"], found = check_events(rows, TRADES, truth.trades[pair], truth.unnoticed[pair])
        wrong += found
    wrong += check_events(each(stand.client, "acct:{lmex:main}:fills"), FILLS, truth.fills["main"])[1]
    if late.most > _LATEST:
        wrong.append(f"a book that the stream called valid was {late.most:.1f} s behind the exchange's")
    report["streams"] = {name: dict(sorted(count.items())) for name, count in counts.items()}
    report["fills"] = len(truth.fills["main"])
    report["latest_mark_s"] = round(late.most, 2)
    return wrong


def _ended(stand: Stand) -> list[str]:
    """Everything ends in order, and so that nothing more is written while it is searched."""
    processes = {
        "connector": stand.connector,
        "recorder": stand.recorder,
        "wallets": stand.wallets,
        "books": stand.books,
    }
    codes = {name: process.stop() for name, process in processes.items()}
    return [f"the {name} ended with {code}" for name, code in codes.items() if code]
