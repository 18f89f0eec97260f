"""Decodes key presses from the bytes that a terminal sends."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["Keys"]

_ESCAPE = b"\x1b"
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~]|[^\[O\x1b])", re.DOTALL)
_BEGUN = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)?", re.DOTALL)
_LONGEST = 32
_NAMES = {b"A": "up", b"B": "down", b"C": "right", b"D": "left", b"F": "end", b"H": "home", b"Z": "shift-tab"}
_NUMBERS = {b"1": "home", b"4": "end", b"5": "page-up", b"6": "page-down", b"7": "home", b"8": "end"}
"""Keys whose sequence is a number and a tilde."""
_PLAIN = {"\t": "tab", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace"}


class Keys:
    """Decodes keys: ``tab``, ``enter``, ``up``, ``page-down`` …, ``escape``, or the character itself.

    An escape sequence may arrive in several reads, so an incomplete one is kept until the rest arrives. If nothing
    follows an escape character for a while, call ``flush``: it was the escape key. So is one that another one follows.
    Sequences of other keys are ignored.
    """

    def __init__(self) -> None:
        self._rest = b""

    @property
    def waiting(self) -> bool:
        """Whether a lone escape character is kept."""
        return self._rest == _ESCAPE

    def feed(self, data: bytes) -> list[str]:
        """Take bytes; returns the keys that they complete."""
        data, self._rest = self._rest + data, b""
        return list(self._split(data))

    def flush(self) -> list[str]:
        """Take a lone escape character as the escape key."""
        if not self.waiting:
            return []
        self._rest = b""
        return ["escape"]

    def _split(self, data: bytes) -> Iterator[str]:
        place = 0
        while place < len(data):
            if data[place : place + 1] != _ESCAPE:
                end = data.find(_ESCAPE, place)
                end = len(data) if end < 0 else end
                text = data[place:end].decode("utf-8", errors="replace")
                yield from (_PLAIN.get(character, character) for character in text)
                place = end
            elif found := _SEQUENCE.match(data, place):
                # Modifiers come before the last letter: ESC [ 1 ; 5 C is Ctrl with an arrow key.
                name = _name(found[0])
                if name:
                    yield name
                place = found.end()
            elif data.startswith(_ESCAPE, place + 1):
                yield "escape"
                place += 1
            elif (begun := _BEGUN.match(data, place)) and begun.end() == len(data) and len(begun[0]) <= _LONGEST:
                self._rest = begun[0]
                return
            else:
                place += 1


def _name(sequence: bytes) -> str:
    """The name of a key by its sequence; empty for other keys."""
    if sequence[1:2] not in (b"[", b"O"):
        return ""
    if sequence[-1:] == b"~":
        return _NUMBERS.get(sequence[2:-1].partition(b";")[0], "")
    return _NAMES.get(sequence[-1:], "")
