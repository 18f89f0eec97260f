"""A client's program that follows a book or trades, and what the Python reader makes of the same entries."""

from __future__ import annotations

import json
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from consumers.items import Entry
from consumers.keeper import BookKeeper
from consumers.reader import Position, Reader
from tests.e2e.harness import eventually
from tests.environment import clean_environment
from tests.patience import PATIENCE

__all__ = ["Program", "books_by_id", "numbers"]

Sides = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


class Program:
    """A running program, its output in files."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._output, self._errors = folder / "program.out", folder / "program.err"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(command, stdout=output, stderr=errors, env=clean_environment())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    @property
    def lines(self) -> list[str]:
        """The complete lines so far."""
        assert self._process.poll() is None, f"it ended with {self._process.returncode}: {self.errors}"
        return self._output.read_text().split("\n")[:-1]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def wait(self, until: Any, what: str) -> None:
        """Wait until ``until(lines)`` is true."""
        eventually(lambda: until(self.lines), what)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self._process.terminate()
        return self._process.wait(PATIENCE)


def numbers(levels: list[tuple[str, str]]) -> dict[Decimal, Decimal]:
    return {Decimal(price): Decimal(size) for price, size in levels}


async def books_by_id(url: str, key: str, last: str) -> dict[str, Sides | None]:
    """Entry ID → the book of the Python reader after that entry, up to ``last``; ``None`` if it was invalid."""
    found: dict[str, Sides | None] = {}
    async with Reader(url, {key: Position.START}) as reader:
        keeper: BookKeeper | None = None
        async for item in reader:
            keeper = keeper or BookKeeper(item.stream)
            keeper.take(item)
            bids, asks = keeper.top()
            found[keeper.id] = (numbers(bids), numbers(asks)) if keeper.valid else None
            if isinstance(item, Entry) and item.id == last:
                return found
    return found
