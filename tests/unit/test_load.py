from __future__ import annotations

import argparse

import pytest

from bridge.check.load import WIRE_BYTES, Measured, load_of, pattern_streams
from bridge.check.sizes import BYTES_PER_ENTRY, StreamSize
from bridge.cli import size
from bridge.config.load import load_settings
from bridge.model import CONNECTOR_CHANNELS, Channel

NOTHING: dict = {}


def stream(key: str, channel: Channel = Channel.TRADES, *, entries: int = 1000, age: float = 60.0) -> StreamSize:
    return StreamSize(key, "one", channel, entries, age, 0)


def load(*streams: StreamSize, rates=NOTHING, measured=NOTHING):
    return load_of(load_settings(None, {}), streams, rates, measured)


def test_every_channel_has_its_figures():
    assert set(WIRE_BYTES) == set(BYTES_PER_ENTRY) == set(CONNECTOR_CHANNELS)


@pytest.mark.parametrize(("rate", "kept"), [(0, 0), (5, 300), (100, 1000)])
def test_age_or_number_limits_what_is_kept(rate, kept):
    [trades] = load(stream("a"), rates={Channel.TRADES: rate}).channels
    assert trades.kept == kept
    assert trades.rate == rate


def test_without_a_rate_a_stream_counts_as_full_and_not_as_traffic():
    found = load(stream("a"))
    assert [channel.kept for channel in found.channels] == [1000]
    assert found.unknown == [Channel.TRADES]
    assert (found.bytes_in, found.cpu_writing) == (0, 0)
    assert found.memory >= 1000 * BYTES_PER_ENTRY[Channel.TRADES]
    assert found.maxmemory == 1.5 * found.memory


def test_a_measurement_counts_before_what_is_given_and_helps_its_channel():
    streams = [stream("a"), stream("b"), stream("c", Channel.QUOTES)]
    measured = {"a": Measured(10.0, 50.0)}
    [trades, quotes] = load(*streams, rates={Channel.QUOTES: 2}, measured=measured).channels
    assert (trades.rate, trades.kept, round(trades.bytes_per_entry)) == (20, 1200, 50)
    assert (quotes.rate, quotes.kept) == (2, 120)
    [trades, _] = load(*streams, rates={Channel.TRADES: 1}, measured=measured).channels
    assert trades.rate == 11


def test_more_readers_and_larger_entries_cost_more():
    small = load(stream("a"), rates={Channel.TRADES: 100})
    large = load(stream("a", Channel.BOOK), rates={Channel.BOOK: 100})
    assert large.bytes_in > small.bytes_in > small.bytes_per_reader > 0
    assert large.cpu_writing > small.cpu_writing > small.cpu_per_reader > 0


def test_patterns_count_with_as_many_pairs_as_they_may_have():
    env = {
        "TICKBRIDGE_CONNECTORS": "[{name: cb, exchange: coinbase, pairs: ['*-USD'], max_pairs: 7, channels: [trades, book]}]"
    }
    found = pattern_streams(load_settings(None, env))
    assert len({one.key for one in found}) == 14
    assert {one.channel for one in found} == {Channel.TRADES, Channel.BOOK}


def test_redis_is_not_asked_about_streams_that_have_no_key_yet(monkeypatch, tmp_path, capsys):
    asked: list[str] = []
    monkeypatch.setattr(size, "_measured", lambda _settings, keys, _window: asked.extend(keys) or {})
    path = tmp_path / "c.yaml"
    path.write_text(
        "redis: {url: redis://127.0.0.1/0}\n"
        "connectors: [{name: cb, exchange: coinbase, pairs: [BTC-USD, '*-EUR'], max_pairs: 3, channels: [trades]}]\n"
    )
    options = argparse.Namespace(config=path, rate=[], window="10m", readers=1, measure=True, json=True)
    assert size.size(options) == 0
    assert asked == ["md:{coinbase:BTC-USD}:trades"]
    assert '"streams": "4"' in capsys.readouterr().out
