"""The notebooks of the documentation, run from their first cell to their last."""

from __future__ import annotations

import asyncio
import os
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.environment import clean_environment
from tests.patience import PATIENCE

nbformat = pytest.importorskip("nbformat", reason="no nbformat: pip install '.[notebooks]'")
nbclient = pytest.importorskip("nbclient", reason="no nbclient: pip install '.[notebooks]'")
pytest.importorskip("ipykernel", reason="no ipykernel: pip install '.[notebooks]'")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks_and_they_are_stored_without_output() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, 4).cells:
            assert not cell.get("outputs"), path
            assert cell.get("execution_count") is None, path


def run(path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # from a clone that is not installed, too
    notebook = nbformat.read(path, 4)
    client = nbclient.NotebookClient(
        notebook, timeout=PATIENCE, resources={"metadata": {"path": str(path.parent)}}, kernel_name=""
    )
    client.create_kernel_manager()
    # The kernel of this Python, whatever kernels are installed on this machine.
    client.km.kernel_spec.argv[0] = sys.executable
    asyncio.run(client.async_execute())
    return notebook


def results(notebook) -> str:
    """What the cells return, as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output["data"]["text/plain"] for output in outputs if output.output_type == "execute_result")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch) -> None:
    shown = results(run(path, monkeypatch))
    if path.stem == "streams-as-tables":
        # What the recording has: its trades, summed up exactly, and its book.
        volume = next(line for line in shown.splitlines() if "pyarrow.Decimal128Scalar" in line)
        assert Decimal(volume.split("'")[1]) > 0
        assert "65083" in shown
        assert "stop" in shown, "the connector's last word, among the gaps"
