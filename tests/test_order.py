"""In which order the workers of a test run have the tests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import dealt

HERE = Path(__file__).parent


def items(**counts: int) -> list[Any]:
    """``folder_file=3``: three tests in a file of a folder."""
    return [
        SimpleNamespace(path=HERE / name.replace("_", "/"), number=number)
        for name, count in counts.items()
        for number in range(count)
    ]


@pytest.mark.parametrize("workers", [2, 3, 4, 7])
def test_every_worker_begins_with_long_tests_and_ends_with_short_ones(workers: int):
    given = items(cli_a=2, codec_b=5, demo_c=1, e2e_d=3, e2e_e=2, soak_f=1, unit_g=40, unit_h=1, web_i=3)
    order = dealt(given, workers)
    assert sorted(map(id, order)) == sorted(map(id, given)), "each of them once"
    left, parts = order, []
    for still in range(workers, 0, -1):
        parts.append(left[: len(left) // still])
        left = left[len(parts[-1]) :]
    folders = [[item.path.parent.name for item in part] for part in parts]
    assert [part[0] for part in folders][:2] == ["soak", "e2e"]
    for part in folders:
        long = [name not in {"codec", "unit"} for name in part]
        assert long == sorted(long, reverse=True)
    if workers <= 6:
        assert all(part[-1] in {"codec", "unit"} for part in folders)
    for path in {item.path for item in given if item.path.parent.name not in {"codec", "unit"}}:
        assert sum(any(item.path == path for item in part) for part in parts) == 1, "a file stays whole"


def test_more_long_tests_than_a_part_holds():
    given = items(e2e_a=9, unit_b=1)
    assert sorted(map(id, dealt(given, 4))) == sorted(map(id, given))
