"""What `shard: i/n` promises: every pair has one shard, and a change of either moves no more than it must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.config.values import Shard, owner, parse_shard

PAIRS = st.lists(st.from_regex(r"[A-Z0-9]{2,6}-[A-Z]{3,4}", fullmatch=True), unique=True, max_size=60)
COUNTS = st.integers(1, 12)


def shared_out(pairs: list[str], count: int) -> dict[str, int]:
    """Pair → number of its shard, by what each shard picks."""
    found: dict[str, int] = {}
    for number in range(1, count + 1):
        for pair in Shard(number, count).picks(pairs):
            assert pair not in found, "two shards have it"
            found[pair] = number
    return found


@given(PAIRS, COUNTS)
def test_every_pair_has_one_shard(pairs, count):
    assert shared_out(pairs, count).keys() == set(pairs)


@given(PAIRS, PAIRS, COUNTS)
def test_a_new_pair_moves_no_other(pairs, more, count):
    before = shared_out(pairs, count)
    after = shared_out(list(dict.fromkeys([*more, *pairs])), count)
    assert {pair: after[pair] for pair in pairs} == before


@given(PAIRS, COUNTS)
def test_a_new_shard_takes_and_nothing_moves_between_the_others(pairs, count):
    before, after = shared_out(pairs, count), shared_out(pairs, count + 1)
    assert all(after[pair] in (before[pair], count + 1) for pair in pairs)


def test_shares_are_about_equal_and_so_is_what_moves():
    pairs = [f"{base}{n}-{quote}" for base in ("BTC", "X") for n in range(1000) for quote in ("EUR", "USD")]
    for count in (2, 3, 7):
        sizes = [len(Shard(number, count).picks(pairs)) for number in range(1, count + 1)]
        assert all(0.85 < size * count / len(pairs) < 1.15 for size in sizes), sizes
        moved = sum(owner(pair, count) != owner(pair, count + 1) for pair in pairs)
        assert 0.8 < moved * (count + 1) / len(pairs) < 1.2


def test_the_hash_stays_what_it_is():
    """Another one would move pairs between running connectors at an upgrade."""
    pairs = ["BTC-EUR", "ETH-EUR", "BTC-PERP", "SOL-USD", "XRP-USD", "ADA-EUR"]
    assert [owner(pair, 3) for pair in pairs] == [2, 1, 3, 1, 1, 2]


@given(st.integers(1, 9999), st.integers(1, 9999))
def test_written_and_read(number, count):
    if number <= count:
        assert parse_shard(str(Shard(number, count))) == Shard(number, count)
