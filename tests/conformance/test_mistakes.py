"""A client with a mistake fails: for each mistake there is a case that finds it."""

from __future__ import annotations

import sys

import pytest

from conformance.cases import find, load
from conformance.play import Outcome, Player
from tests.patience import PATIENCE
from tests.servers import RedisServer

FOUND = [
    ("without_holes", "hole-deleted", 'expected {"hole": 2, "before": "1005-5"}'),
    ("without_holes", "trimmed-before-the-cursor", '"trimmed": 2'),
    ("without_holes", "reset", '"reset": "2001-1"'),
    ("without_holes", "hole-book", "valid: expected false, got true"),
    ("without_unknown", "unknown-type", '"unknown": "1002-2"'),
    ("live_is_good_news", "book-live", "valid: expected false, got true"),
    ("book_survives_a_gap", "book-gap", "valid: expected false, got true"),
    ("book_survives_a_gap", "undecodable-book", "valid: expected false, got true"),
    ("deltas_before_the_snapshot", "book-without-snapshot", "valid: expected false, got true"),
    ("prices_as_text", "book-price-spellings", "7994.5"),
    ("prices_as_floats", "book-long-numbers", "1234567890123456789012345678901234567"),
    ("only_0_is_zero", "book-zero-spellings", "0.00000000"),
    ("numbers_without_exponents", "book-exponents", "1.5e-3"),
    ("sizes_are_changes", "book-sizes-are-absolute", "bids: expected"),
    ("now_is_the_start", "start-now", "items: got"),
    ("from_an_id_anything_goes", "hole-at-the-cursor", '"hole": 1'),
    ("any_hash_is_used", "late-join-hash-newer", "book: "),
    ("no_hash_is_used", "late-join-hash-only", "valid: expected true, got false (start)"),
    ("numbers_as_json", "fields-contracts", 'ts: expected "1786309532673612001", got 1786309532673612001'),
    ("orders_without_pairs", "account-orders-of-two-pairs", "orders: ETH-EUR 7: missing"),
    ("closed_orders_stay", "account-order-life", "should not be there"),
    ("without_legs", "account-positions-hedged", "positions: BTC-USDT-PERP long: missing"),
]


def played(server: RedisServer, mistake: str, case: str) -> Outcome:
    [path] = find([case])
    command = [sys.executable, "-m", "tests.conformance.mutated", mistake]
    with server.client() as client, Player(client, server.url, command, PATIENCE) as player:
        return player.play(load(path))


@pytest.mark.parametrize(("mistake", "case", "said"), FOUND, ids=[f"{row[0]}-{row[1]}" for row in FOUND])
def test_a_mistake_is_found(mistake, case, said, redis_server: RedisServer) -> None:
    outcome = played(redis_server, mistake, case)
    assert outcome.result == "FAIL"
    assert said in "\n".join(outcome.problems)


def test_a_part_that_the_subject_lacks_is_skipped(redis_server: RedisServer) -> None:
    without = played(redis_server, "without_wallet", "account-fills")
    assert (without.result, without.skipped, without.problems) == ("pass", ["wallet"], [])
    nothing = played(redis_server, "without_optional_parts", "book-price-spellings")
    assert (nothing.result, nothing.skipped) == ("skipped", ["book"])
