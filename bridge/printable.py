"""Text from outside, made fit for a terminal, a log and a file: nothing in it acts, and its length has a bound.

Exchanges, servers and other writers of Redis choose message types, error texts, close reasons, key names and ids. In a
terminal such text may move the cursor, set a title or turn the line around; in a log it may begin a line of its own.
"""

from __future__ import annotations

import re

__all__ = ["LONGEST_CODE", "LONGEST_TEXT", "code", "cut", "printable"]

LONGEST_TEXT = 16_384
"""Bytes that text out of a frame may take in a log line, an error or an entry of the rejects."""
LONGEST_CODE = 100
"""Characters of a code, a type or a name from outside."""

_PLAIN = re.compile(r"[^ -~]")
_NO_CODE = re.compile(r"[^A-Za-z0-9_.:/@#+*=, -]")
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARK_ROOM = 32
"""Bytes that the note at the end of a text which was cut may take."""


def printable(text: str, limit: int = LONGEST_TEXT, *, lines: bool = False) -> str:
    r"""The text with everything escaped that isn't plainly visible, in ``limit`` bytes of UTF-8 at most.

    Control characters (C0, DEL, C1), marks that turn the direction of writing, invisible characters, line separators
    and halves of surrogate pairs are shown as Python would: ``\x1b``, ``\u202e``. A backslash stays one: the result is
    for people, and is not meant to be turned back. ``lines`` keeps line feeds and tabs, for texts of several lines.
    What was left out is counted at the end: ``… (12 more)``.
    """
    if text.isprintable() and len(text) * 4 <= limit:
        return text
    left_out = max(0, len(text) - limit)
    shown = text[:limit]
    if not shown.isprintable():
        shown = _PLAIN.sub(_escape_in_lines if lines else _escape, shown)
    return _fitted(shown, limit, left_out)


def cut(text: str, limit: int = LONGEST_TEXT) -> str:
    """The text as it is, in ``limit`` bytes of UTF-8 at most; what was left out is counted at the end."""
    if len(text) * 4 <= limit:
        return text
    return _fitted(text[:limit], limit, max(0, len(text) - limit))


def code(value: object, limit: int = LONGEST_CODE) -> str:
    """A code, a type or a name from outside: ASCII letters, digits and ``_.:/@#+*=,-`` and spaces, anything else ``?``.

    For what becomes a key of a table, a label of a metric, or a field that people filter by.
    """
    text = str(value)
    cut_off = len(text) > limit
    shown = _NO_CODE.sub("?", text[: limit - 3] if cut_off else text)
    return f"{shown}..." if cut_off else shown


def _fitted(shown: str, limit: int, left_out: int) -> str:
    """``shown``, less what is over ``limit`` bytes; ``left_out`` characters of the text are missing already."""
    raw = shown.encode("utf-8", "surrogatepass")
    if not left_out and len(raw) <= limit:
        return shown
    end = max(0, limit - _MARK_ROOM)
    while end and raw[end : end + 1] and raw[end] & 0xC0 == 0x80:  # in the middle of a character
        end -= 1
    kept = raw[:end].decode("utf-8", "surrogatepass")
    return f"{kept}… ({left_out + len(shown) - len(kept)} more)"


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    number = ord(character)
    form = "\\x{:02x}" if number < 0x100 else "\\u{:04x}" if number < 0x10000 else "\\U{:08x}"
    return _SHORT_ESCAPES.get(character) or form.format(number)


def _escape_in_lines(found: re.Match[str]) -> str:
    return found[0] if found[0] in "\n\t" else _escape(found)
