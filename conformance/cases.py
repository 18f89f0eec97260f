"""Cases: JSON Lines files, each with rows that are played one by one; the README specifies them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

__all__ = [
    "FOLDER",
    "Case",
    "CaseError",
    "Close",
    "Commands",
    "Cut",
    "Expect",
    "Expected",
    "Open",
    "Row",
    "Sync",
    "find",
    "load",
]

FOLDER = Path(__file__).parent / "cases"
"""The cases of this suite."""
_SUFFIX = ".jsonl"

T = TypeVar("T")


class CaseError(ValueError):
    """A case cannot be used: it does not exist, or a row of it is wrong."""


class Expected(Struct, frozen=True, forbid_unknown_fields=True):
    """What is expected of one stream; a part that is not named is not compared."""

    items: list[dict[str, str | int]] | UnsetType = UNSET
    state: str | UnsetType = UNSET
    book: dict[str, Any] | UnsetType = UNSET
    wallet: dict[str, Any] | UnsetType = UNSET


class _Head(Struct, frozen=True, forbid_unknown_fields=True):
    """The first row."""

    case: str
    about: str
    namespace: str = ""


class Commands(Struct, frozen=True, forbid_unknown_fields=True):
    """A command to Redis, or a list of commands, which are one transaction. With ``fails``, Redis has to refuse it."""

    redis: list[Any]
    fails: str = ""

    @property
    def commands(self) -> list[list[str]]:
        """Always a list of commands."""
        return self.redis if self.redis and isinstance(self.redis[0], list) else [self.redis]


class Cut(Struct, frozen=True, forbid_unknown_fields=True):
    """The subject's connections to Redis are cut."""

    cut: bool


class Open(Struct, frozen=True, forbid_unknown_fields=True):
    """The subject starts reading a stream: at ``start``, ``now``, ``snapshot`` or after an entry ID."""

    open: str
    at: str


class Close(Struct, frozen=True, forbid_unknown_fields=True):
    """The subject stops reading a stream."""

    close: str


class Sync(Struct, frozen=True, forbid_unknown_fields=True):
    """The subject reads all that Redis has, and says what it has come to."""

    sync: bool


class Expect(Struct, frozen=True, forbid_unknown_fields=True):
    """What the answer to the last sync has to be, by stream key."""

    expect: dict[str, Expected]


Row = Commands | Cut | Open | Close | Sync | Expect
_ROWS: dict[str, type[Row]] = {
    "redis": Commands,
    "cut": Cut,
    "open": Open,
    "close": Close,
    "sync": Sync,
    "expect": Expect,
}


class Case(Struct, frozen=True):
    """One case. ``rows`` are the rows after the first one, each with its number in the file."""

    name: str
    title: str
    about: str
    namespace: str
    rows: list[tuple[int, Row]]


def find(names: Iterable[str], folder: Path = FOLDER) -> list[Path]:
    """The files of these cases, or of all cases of the folder; a name may also be a path.

    Raises:
        CaseError: there is no such case.
    """
    known = {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))}
    paths = []
    for name in names:
        path = known.get(name) or Path(name)
        if not path.is_file():
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; --list shows all"
            raise CaseError(f"there is no case {name}{hint}")
        paths.append(path)
    if not paths and not known:
        raise CaseError(f"there is no case in {folder}")
    return paths or list(known.values())


def load(path: Path) -> Case:
    """Read a case.

    Raises:
        CaseError: the file cannot be read, or a row is not what the README says; the message has file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{path.name}: cannot be read: {error}") from None
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise CaseError(f"{path.name}: is empty")
    head = _convert(path, *rows[0], _Head)
    case = Case(path.stem, head.case, head.about, head.namespace, [(n, _row(path, n, line)) for n, line in rows[1:]])
    _check_order(path, case)
    return case


def _row(path: Path, number: int, line: str) -> Row:
    raw = _convert(path, number, line, dict[str, Any])
    kind = next((kind for name, kind in _ROWS.items() if name in raw), None)
    if kind is None:
        raise CaseError(f"{path.name}:{number}: is none of {', '.join(_ROWS)}")
    row: Row = _convert(path, number, line, kind)
    if isinstance(row, Commands) and not all(
        command and all(isinstance(word, str) for word in command) for command in row.commands
    ):
        raise CaseError(f"{path.name}:{number}: a command is a list of texts")
    return row


def _convert(path: Path, number: int, line: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.MsgspecError as error:
        raise CaseError(f"{path.name}:{number}: {error}") from None


def _check_order(path: Path, case: Case) -> None:
    """A sync has streams to read; what is expected is of a stream that the last sync was about."""
    opened: set[str] = set()
    synced: set[str] = set()
    compared = False
    for number, row in case.rows:
        where = f"{path.name}:{number}"
        match row:
            case Open(open=key):
                if key in opened:
                    raise CaseError(f"{where}: {key} is open already")
                opened.add(key)
            case Close(close=key):
                if key not in opened:
                    raise CaseError(f"{where}: {key} is not open")
                opened.discard(key)
            case Sync():
                if not opened:
                    raise CaseError(f"{where}: no stream is open")
                synced = set(opened)
            case Expect(expect=streams):
                if not streams or streams.keys() - synced:
                    raise CaseError(f"{where}: the last sync was about {', '.join(sorted(synced)) or 'nothing'}")
                compared = True
            case _:
                pass
    if not compared:
        raise CaseError(f"{path.name}: expects nothing")
