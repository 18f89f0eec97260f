from __future__ import annotations

import pytest

from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait

DATE = "Wed, 30 Jun 2021 10:00:00 GMT"
AT = 1625047200


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("900", 900.0),
        (str(AT + 900), 900.0),
        (str((AT + 900) * 1000), 900.0),
        ("Wed, 30 Jun 2021 10:15:00 GMT", 900.0),
        (str(AT - 5), 0.0),
        ("999999999", 86400.0),
        (str(AT + 10**7), 86400.0),
        ("9" * 400, 86400.0),
    ],
)
def test_all_forms(header, wait):
    assert seconds_to_wait(header, DATE) == wait


@pytest.mark.parametrize("header", [str(AT), str(AT * 1000), "Wed, 30 Jun 2021 10:15:00 GMT"])
@pytest.mark.parametrize("date", ["", "today", "Wed, 99 Jun 2021 10:00:00 GMT"])
def test_a_time_is_a_minute_where_nobody_says_what_time_it_is(header, date):
    assert seconds_to_wait(header, date) == 60.0


@pytest.mark.parametrize("header", ["", "soon", "-7", "1.5", "١٢", "nan", "1e9"])
def test_anything_else_says_nothing(header):
    assert seconds_to_wait(header, DATE) is None
