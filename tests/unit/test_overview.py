"""States, choices and figures of the overview."""

from __future__ import annotations

import pytest

from bridge.keys import Keys
from bridge.overview.changes import Changes
from bridge.overview.choice import Choice, matches
from bridge.overview.look import Overview
from bridge.overview.rows import ConnectorRow, StreamRow, entry_of, state_of
from bridge.overview.table import Cell, separated_rows
from bridge.overview.words import age_text, count_text, rate_text

ENTRY = {"connector": "one", "instance": "1", "state": "live"}


@pytest.mark.parametrize(
    ("entry", "heartbeat", "state"),
    [
        (ENTRY, {"instance": "1"}, "live"),
        (ENTRY | {"state": "down"}, {"instance": "1"}, "down"),
        (ENTRY | {"state": "down"}, {}, "dead"),
        (ENTRY, {}, "dead"),
        (ENTRY | {"state": "stop"}, {}, "stop"),
        (ENTRY | {"state": "stop"}, {"instance": "2"}, "stop"),
        (ENTRY, {"instance": "2", "state": "live"}, "abandoned"),
        (ENTRY, {"instance": "2", "state": "starting"}, "starting"),
        (ENTRY | {"state": "down"}, None, "down"),
        ({}, None, "unknown"),
        ({}, {}, "unknown"),
        ({"state": "live"}, {}, "unknown"),
        ({"connector": "one"}, {"instance": "1"}, "unknown"),
    ],
)
def test_a_state_is_believed_only_while_somebody_keeps_it_up_to_date(entry, heartbeat, state):
    assert state_of(entry, heartbeat) == state


@pytest.mark.parametrize("text", ["", "not JSON", "[]", "1", "null", '"text"', "\x00", '{"a":'])
def test_what_is_no_entry_is_empty(text):
    assert entry_of(text) == {}


def test_values_of_an_entry_are_text():
    assert entry_of('{"state":"live","schema":2,"more":{"a":1}}') == {
        "state": "live",
        "schema": "2",
        "more": "{'a': 1}",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.04, "0.0s"),
        (9.9, "9.9s"),
        (9.96, "10s"),
        (59.9, "60s"),
        (60, "1m"),
        (7200, "2h"),
        (200_000, "2d"),
    ],
)
def test_ages_are_short(seconds, text):
    assert age_text(seconds) == text


def test_rates_and_counts_are_short():
    assert [rate_text(rate) for rate in (0, 0.04, 0.1, 99.94, 1204.4)] == ["0", "0.0", "0.1", "99.9", "1,204"]
    assert [count_text(count) for count in (None, 0, 9_999_999, 12_345_678)] == ["", "0", "9,999,999", "12.3M"]


def test_odd_figures_of_a_heartbeat_are_unknown():
    row = ConnectorRow("one", "limitlex", {"lost": "many", "gaps": "3", "waiting": "", "started": "nan", "at": "1e999"})
    assert [row.number(name) for name in ("lost", "gaps", "waiting", "received")] == [None, 3.0, None, None]
    assert [row.number(name) for name in ("started", "at")] == [None, None]
    assert (row.count("lost"), row.count("gaps"), row.count("at"), row.state) == (0, 3, 0, "unknown")
    assert ConnectorRow("one", "limitlex", {}).state == "dead"


@pytest.mark.parametrize(
    ("text", "pattern", "fits"),
    [("BTC-EUR", "eur", True), ("BTC-EUR", "*-eur", True), ("BTC-EUR", "btc-?UR", True), ("BTC-EUR", "*BTC", False)],
)
def test_patterns(text, pattern, fits):
    assert matches(text, pattern) is fits


def row(key: str, state: str = "live", connector: str = "one") -> StreamRow:
    stream = Keys().parse(key)
    assert stream
    return StreamRow(key, stream, state, connector, {})


def test_a_choice_knows_the_names_that_are_meant():
    rows = [row("md:{limitlex:BTC-EUR}:trades"), row("acct:{lmex:main}:orders")]
    assert Choice().of(rows) == rows
    assert Choice(subjects=("MAIN",)).of(rows) == Choice(subjects=("m*n",)).of(rows) == rows[1:]
    assert Choice(exchanges=("lmex",), channels=("trades",)).of(rows) == []
    assert Choice(exchanges=("lmex",), channels=("trade",)).hint(rows) == "--channel trade: did you mean 'trades'?"


def test_a_cell_cannot_break_the_columns():
    assert separated_rows(("a", "b"), [[Cell("x\ty\nz"), Cell("é")]]) == "a\tb\nx\\ty\\nz\té\n"


async def test_changes_are_told_apart_from_the_first_look():
    overview = Overview(None, Keys())
    changes, loud = Changes(), Changes(quiet=False)
    overview.streams = {each.key: each for each in [row("md:{limitlex:BTC-EUR}:trades")]}
    overview.connectors = {"one": ConnectorRow("one", "limitlex", {"state": "live"})}
    assert changes.of(overview) == []
    assert [str(change) for change in loud.of(overview)] == [
        "limitlex one connector: live",
        "limitlex BTC-EUR trades: live",
    ]
    overview.connectors = {"one": ConnectorRow("one", "limitlex", {})}
    overview.streams["md:{limitlex:BTC-EUR}:trades"] = row("md:{limitlex:BTC-EUR}:trades", "dead")
    assert [str(change) for change in changes.of(overview)] == [
        "limitlex one connector: dead, was live",
        "limitlex BTC-EUR trades: dead, was live",
    ]
    assert changes.of(overview) == []


def test_a_host_s_clock_that_is_set_back_does_not_stop_the_rates() -> None:
    overview = Overview(None, Keys())
    for second in range(4):
        at = (second if second < 2 else second - 7200) * 10**9
        beat = {"instance": "a", "at": str(at), "steady": str(second * 10**9), "published": str(100 * second)}
        overview._count({"one": beat})
    assert overview.rates == {"one": 100.0}
