"""Values of Python as arrays: what pyarrow itself would make of them, and without pandas."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from consumers.arrays import integer, integers, text, texts
from tests.environment import clean_environment
from tests.unit.doc_pages import ROOT


@pytest.mark.parametrize(
    "values",
    [[], ["a"], ["", "é", "abc"], [None], ["a", None, "", None, "b", "c", "d", "e", "f", None], ["x"] * 1000 + [None]],
)
def test_texts(values):
    made = texts([None if value is None else value.encode() for value in values])
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.string()))
    assert made.null_count == values.count(None)


@pytest.mark.parametrize("values", [[], [0], [-(2**63), 2**63 - 1, None, 0], [None] * 9 + [7]])
def test_integers(values):
    made = integers(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.int64()))


def test_single_values():
    assert (text("é").as_py(), integer(-3).as_py()) == ("é", -3)


def test_what_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="UTF8"):
        texts([b"\xff"])
    with pytest.raises(OverflowError):
        integers([2**63])


_PROGRAM = """
import sys
from pathlib import Path
from bridge.keys import Keys
from consumers.columns import gap_table
from consumers.export import export
from consumers.pages import open_client

url, key, folder = sys.argv[1:]
with open_client(url, "x") as client:
    assert export(client, Keys(), key, after="", end="+", folder=Path(folder), form="parquet").rows == 1001
assert "pyarrow" in sys.modules
assert "pandas" not in sys.modules
"""


def test_an_export_does_not_import_pandas(redis_server, tmp_path):
    """Regular pages, one with a control entry, times that are empty, and a table of gaps."""
    pytest.importorskip("pandas")
    key = "md:{coinbase:BTC-USD}:trades"
    with redis_server.client() as client:
        pipe = client.pipeline()
        live = {"type": "control", "ts": "", "recv": "1", "event": "live", "reason": "é", "count": ""}
        pipe.xadd(key, live, id="1795302525000-1")
        for seq in range(2, 1002):
            ts = "" if seq % 7 else "5"
            trade = {"type": "trade", "ts": ts, "recv": "1", "id": "", "side": "buy", "price": "1.5", "size": "2"}
            pipe.xadd(key, trade, id=f"1795302525000-{seq}")
        pipe.execute()
    command = [sys.executable, "-c", _PROGRAM, redis_server.url, key, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=clean_environment(), check=True)
