"""What a program that follows the book of a simulated exchange is put through."""

from __future__ import annotations

from tests.clients.following import Program
from tests.e2e.conftest import Bench
from tests.e2e.harness import Process, eventually
from tests.e2e.observing import controls

__all__ = ["BOOK", "disturb"]

BOOK = "md:{limitlex:BTC-EUR}:book"
_FAULTS = (
    {"name": "drop", "type": "order_book", "count": 5},
    {"name": "corrupt", "type": "order_book", "count": 5},
    {"name": "cut"},
)


def disturb(bench: Bench, connector: Process, program: Program) -> None:
    """Messages are left out and garbled, the connection is cut, and the connector is killed and started again."""
    assert bench.simulated
    for fault in _FAULTS:
        before = len(program.lines)
        bench.simulated.fault(**fault)
        program.wait(lambda lines: len(lines) > before + 50, f"changes after {fault}")  # noqa: B023
    lives = controls(bench.client, BOOK).count("live")
    connector.kill()
    bench.run()
    eventually(lambda: controls(bench.client, BOOK).count("live") > lives, "the connector is back")
    before = len(program.lines)
    program.wait(lambda lines: len(lines) > before + 50, "changes after the restart")
