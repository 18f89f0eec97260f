"""Candles against a computation of their own, over interruptions, and over restarts at any moment."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.model import Candle, Trade
from consumers.bars import ClosedBar, Interval, Resume
from consumers.items import Entry, Reset, Trimmed, Undecodable, Unknown
from tests.consumers.candle_items import (
    BASE,
    KEY,
    SECOND,
    STREAM,
    Items,
    bars,
    exact,
    expected,
    run,
    run_with_restarts,
)

LENGTH = 60 * SECOND
FIRST = BASE * SECOND // LENGTH
NUMBERS = st.decimals("0.00000001", "99999999999", allow_nan=False, places=None).map(lambda number: format(number, "f"))
STEPS = st.tuples(st.floats(-1, 40), NUMBERS, NUMBERS)


def states(candles: list[ClosedBar]) -> list[str]:
    return [candle.fields["reason"] or "complete" for candle in candles]


@settings(deadline=None, max_examples=40)
@example([(1.0, "1", "1"), (-1.0, "2", "1")], "1s")  # the second is of an earlier candle than the first
@given(st.lists(STEPS, min_size=1, max_size=30), st.sampled_from(["1s", "10s", "1m", "5m"]))
def test_candles_are_what_the_trades_say_exactly(steps, interval):
    items, at, latest = Items(), 0.0, 0.0
    for step, price, size in steps:
        at = max(0.0, latest + step)
        latest = max(latest, at)
        items.trade(at, price, size)
    items.trade(latest + 400)
    made = run(items, bars(interval, grace=2, keep=10_000))
    should = expected(items, interval)
    length = Interval.parse(interval).ns
    numbers = [int(candle.id.partition("-")[2]) for candle in made]
    assert numbers == list(range(min(should), min(should) + len(made))), "none is left out, none is there twice"
    assert numbers[-1] == (items[-1].event.ts - 2 * SECOND) // length - 1, "all are closed that can be"
    for candle, number in zip(made, numbers, strict=True):
        assert candle.id == f"{(number + 1) * length // 1_000_000}-{number}"
        assert list(candle.fields) == ["type", "ts", "recv", *Candle.WIRE]
        assert (candle.fields["open_ts"], candle.fields["late"]) == (str(number * length), "0")
        if number in should:
            assert exact(candle) == should[number]
        else:
            assert [candle.fields[name] for name in ("open", "high", "low", "close", "first", "last")] == [""] * 6
            assert [candle.fields[name] for name in ("volume", "value", "count")] == ["0"] * 3
    unknown = items[0].event.ts // length - numbers[0] + 1
    assert states(made) == ["start"] * unknown + ["complete"] * (len(made) - unknown)


EVENTS = st.one_of(
    STEPS.map(lambda step: ("trade", *step)),
    st.tuples(st.sampled_from(["down", "stale", "live", "gap", "lost", "stop"]), st.floats(0, 40)),
    st.tuples(st.just("hole"), st.integers(1, 5)),
)


def played(events) -> Items:
    items, now = Items(), 0.0
    for kind, value, *rest in events:
        if kind == "hole":
            items.hole(value)
        elif kind == "trade":
            items.trade(max(0.0, now + value), *rest)
            now = max(now, now + value)
        else:
            now += value
            items.control(kind, now)
    items.trade(now + 500)
    return items


@settings(deadline=None, max_examples=80)
@given(st.lists(EVENTS, max_size=30), st.lists(st.integers(0, 80), max_size=6), st.sampled_from(["1s", "10s", "1m"]))
def test_a_restart_at_any_moment_changes_no_candle(events, places, interval):
    items = played(events)
    whole = run(items, bars(interval, grace=1.5))
    restarted = run_with_restarts(items, places, interval, 1.5)
    assert [candle.id for candle in restarted] == [candle.id for candle in whole]
    for one, other in zip(restarted, whole, strict=True):
        # From where to read on may be earlier than needed.
        assert {**one.fields, "after": ""} == {**other.fields, "after": ""}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 300), min_size=1, max_size=50))
def test_no_trade_is_lost_in_silence(times):
    """Those that came too late are counted in the next candle."""
    items = Items()
    for at in times:
        items.trade(at)
    items.trade(10_000)
    made = run(items, bars())
    counted = sum(int(candle.fields["count"]) + int(candle.fields["late"]) for candle in made)
    assert counted == len(times), "the last one is in no candle yet"


@pytest.mark.parametrize("event", ["gap", "lost"])
def test_what_is_missing_at_one_moment_makes_its_bars_incomplete(event):
    items = Items()
    items.trade(0)
    items.trade(70)
    items.control(event, 80)
    items.trade(130)
    items.trade(190)
    assert states(run(items, bars())) == ["start", event, "complete"]


@pytest.mark.parametrize("event", ["down", "stale", "stop"])
def test_an_outage_makes_all_its_bars_incomplete(event):
    items = Items()
    items.trade(0)
    items.trade(70)  # the last that is known to be followed by no other
    items.control(event, 200)
    items.control("live", 310)
    items.trade(430)
    assert states(run(items, bars())) == ["start", event, event, event, event, event, "complete"]


def test_the_end_of_an_outage_is_estimated_by_the_exchanges_clock():
    """The exchange's clock may be anything: that of a recording is months ago."""
    items = Items(latency=1e7)
    items.trade(0)
    items.trade(70)
    items.control("down", 1e7 + 80)
    items.control("live", 1e7 + 100)
    items.trade(190)
    assert states(run(items, bars())) == ["start", "down", "complete"]


def test_an_outage_before_the_first_trade_ends_with_it():
    items = Items(latency=1e7)
    items.control("down", 1e7)
    items.control("live", 1e7 + 1)
    items.trade(0)
    items.trade(130)
    assert states(run(items, bars())) == ["down start", "complete"]


def test_several_reasons_and_a_stream_that_never_comes_back():
    items = Items()
    items.trade(0)
    items.trade(61)
    items.control("gap", 62)
    items.control("down", 63)
    made = bars()
    assert states(run(items, made)) == ["start"]
    assert states(made.advance((BASE + 200) * 1000)) == ["down gap", "down"]


def test_holes_trims_and_what_cannot_be_read_are_reasons():
    items = Items()
    items.trade(0)
    items.trade(61)
    made = bars()
    assert states(run(items, made)) == ["start"]
    after = f"{items.ms + 1}-9"
    fields = {"type": "trade"}
    for item in (
        Undecodable(KEY, STREAM, after, 9, fields, "no price"),
        Unknown(KEY, STREAM, f"{items.ms + 1}-10", 10, {"type": "control"}, "unknown event"),
        Trimmed(KEY, STREAM, after, f"{items.ms + 2}-20", 9),
        Reset(KEY, STREAM, after, f"{items.ms + 3}-1"),
    ):
        assert made.take(item) == []
    items.seq, items.ms = 30, items.ms + 10
    items.trade(121)
    items.trade(181)
    made_of_it = [candle for item in items[-2:] for candle in made.take(item)]
    assert states(made_of_it) == ["reset trimmed undecodable unknown", "reset trimmed undecodable unknown"]
    items.trade(241)
    assert states(made.take(items[-1])) == ["complete"]


def test_an_unknown_type_is_no_interruption():
    items = Items()
    items.trade(0)
    made = bars()
    run(items, made)
    made.take(Unknown(KEY, STREAM, f"{items.ms}-2", 2, {"type": "auction"}, "unknown type"))
    items.seq = 2
    items.trade(70)
    items.trade(130)
    assert states([candle for item in items[-2:] for candle in made.take(item)]) == ["start", "complete"]


def test_numbers_of_any_length_are_exact():
    items = Items()
    price, size = "12345678901234567890.1234567890123456789", "0.0000000000000000000000000000000000000001"
    items.trade(0, price, size)
    items.trade(1, "1e-7", "9" * 100)
    items.trade(100)
    [candle] = run(items, bars())
    assert candle.fields["volume"] == "9" * 100 + "." + size.partition(".")[2]
    assert exact(candle) == expected(items[:2], "1m")[FIRST]
    assert (candle.fields["high"], candle.fields["low"]) == (price, "1e-7")


def test_an_unknown_size_makes_the_volume_unknown_and_contracts_are_added_up():
    items = Items()
    items.trade(0, "10", "", contracts="3")
    items.trade(1, "11", "", contracts="4")
    items.trade(61, "11", "2", contracts="5")
    items.trade(190, "11", "2", contracts="5")
    known = [
        [candle.fields[name] for name in ("volume", "value", "contracts", "close")] for candle in run(items, bars())
    ]
    assert known == [["", "", "7", "11"], ["2", "22", "5", "11"], ["0", "0", "0", ""]]


@pytest.mark.parametrize(("price", "size"), [("", "1"), ("NaN", "1"), ("-1", "1"), ("1", "1e999"), ("1", "x" * 200)])
def test_a_trade_that_is_no_trade_makes_its_bar_incomplete(price, size):
    items = Items()
    items.trade(0)
    items.trade(61, price, size)
    items.trade(62)
    items.trade(125)
    assert states(run(items, bars())) == ["start undecodable", "undecodable"], "it may have been in either"


def test_a_time_far_in_the_future_closes_nothing():
    items = Items()
    items.trade(0)
    wrong = items[-1].event
    items.seq += 1
    event = Trade("BTC-EUR", wrong.ts + 10**18, wrong.recv, "", "buy", "10", "1")
    items.append(Entry(KEY, STREAM, f"{items.ms}-{items.seq}", items.seq, event))
    assert run(items, bars()) == []


def test_without_a_time_of_the_exchange_that_of_receipt_counts():
    items = Items(latency=0)
    items.trade(0, ts=False)
    items.trade(59, ts=False)
    items.trade(60, ts=False)
    [candle] = run(items, bars())
    assert (candle.fields["count"], candle.fields["ts"]) == ("2", "")
    assert candle.fields["recv"] == str((BASE + 60) * SECOND)


def test_a_quiet_bar_is_closed_when_nothing_earlier_can_come():
    items = Items(latency=5)  # the exchange's clock is five seconds behind
    items.trade(0)
    made = bars(grace=2)
    assert run(items, made) == []
    assert made.advance((BASE + 66) * 1000) == []
    [candle] = made.advance((BASE + 67) * 1000)
    assert (candle.fields["count"], candle.fields["reason"]) == ("1", "start")
    [empty] = made.advance((BASE + 127) * 1000)
    assert (empty.fields["count"], empty.fields["reason"]) == ("0", "")
    items.trade(30)
    items.trade(200)
    late, other = (made.take(item) for item in items[-2:])
    assert (late, other[0].fields["late"]) == ([], "1")


def test_until_the_first_candle_is_made_an_earlier_trade_is_not_late_but_nothing_before_the_first_is_known():
    items = Items()
    items.trade(330)
    items.trade(299)
    items.trade(361)  # closes the first one
    items.trade(500)
    first, second, third = run(items, bars(grace=60))
    assert [of.fields["open_ts"] for of in (first, second)] == [str((BASE + at) * SECOND) for at in (240, 300)]
    assert [of.fields["reason"] for of in (first, second, third)] == ["start", "start", ""]
    assert [(of.fields["count"], of.fields["late"]) for of in (first, second)] == [("1", "0")] * 2
    for place in range(len(items)):
        assert run_with_restarts(items, [place], "1m", 60) == [first, second, third]


@pytest.mark.parametrize("keep", [50, 100_000])
def test_a_trade_that_is_too_late_begins_no_candles_even_before_the_first_one(keep):
    items = Items()
    items.trade(7_200)
    items.trade(0)  # some exchanges repeat old trades
    items.trade(7_263)
    [candle] = run(items, bars(grace=2, keep=keep))
    assert candle.fields["open_ts"] == str((BASE + 7_200) * SECOND)
    assert (candle.fields["count"], candle.fields["late"], candle.fields["reason"]) == ("1", "1", "start")


def test_of_a_long_silence_only_the_last_candles_are_made():
    items = Items()
    items.trade(0)
    items.trade(3_600 * 24 * 365)
    made = run(items, bars("1s", keep=50))
    assert len(made) == 50
    assert made[-1].fields["close_ts"] == str((BASE + 3_600 * 24 * 365) * SECOND)


def test_interruptions_without_trades_take_no_memory():
    items = Items()
    for at in range(1_000):
        items.control("down", at)
        items.control("live", at)
    made = bars()
    run(items, made)
    assert [one.kind for one in made._interruptions] == ["start", "down"]


@pytest.mark.parametrize(
    ("text", "name"), [("1s", "1s"), ("60s", "1m"), ("90s", "90s"), ("120M", "2h"), (" 24h", "1d"), ("366d", "366d")]
)
def test_intervals(text, name):
    assert Interval.parse(text).name == name


@pytest.mark.parametrize("text", ["", "0s", "1w", "s", "1.5m", "-1m", "367d", "99999999999d", "1m1s"])
def test_what_is_no_interval(text):
    with pytest.raises(ValueError, match="is not an interval"):
        Interval.parse(text)


def test_a_candle_is_an_entry_that_leads_back_to_its_place():
    items = Items()
    items.trade(0)
    items.trade(61)
    [candle] = run(items, bars())
    minute = Interval.parse("1m")
    assert Resume.of(minute, candle.id, candle.fields) == Resume(FIRST, items[0].id, items[1].id)
    for entry_id, fields in (("5-5", candle.fields), (candle.id, {"type": "candle"})):
        with pytest.raises(ValueError, match="entry"):
            Resume.of(minute, entry_id, fields)
