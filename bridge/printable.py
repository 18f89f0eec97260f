"""Makes text from outside safe for a terminal, a log and a file: control characters are escaped, length is limited.

Exchanges, servers and other writers of Redis choose message types, error texts, close reasons, key names and ids. On a
terminal, such text could move the cursor, set a title or reverse a line; in a log, it could start a line of its own.
"""

from __future__ import annotations

import re

__all__ = ["LONGEST_CODE", "LONGEST_ERROR", "LONGEST_TEXT", "code", "cut", "printable", "printable_json"]

LONGEST_TEXT = 16_384
"""Limit of bytes for text from a frame in a log line, an error or a reject."""
LONGEST_ERROR = 2_048
"""Limit of bytes for an error message or the reason of a control entry, which may quote the exchange."""
LONGEST_CODE = 100
"""Limit of characters for a code, a type or a name from outside."""

_PLAIN = re.compile(r"[^ -~]")
_NO_CODE = re.compile(r"[^A-Za-z0-9_.:/@#+*=, -]")
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARK_ROOM = 32
"""Bytes reserved for the note at the end of shortened text."""


def printable(text: str, limit: int = LONGEST_TEXT, *, lines: bool = False, missing: int = 0) -> str:
    r"""The text with everything escaped that is not plainly visible, in at most ``limit`` bytes of UTF-8.

    Control characters (C0, DEL, C1), directional marks, invisible characters, line separators and lone surrogates are
    shown like in Python: ``\x1b``, ``\u202e``. A backslash is not escaped, because the result is for people. ``lines``
    keeps line feeds and tabs. The number of characters left out is appended, ``… (12 more)``, plus ``missing``, the
    number that the caller has left out.
    """
    if not missing and len(text) * 4 <= limit and text.isprintable():
        return text
    left_out = missing + max(0, len(text) - limit)
    shown = text[:limit]
    if not shown.isprintable():
        shown = _PLAIN.sub(_escape_in_lines if lines else _escape, shown)
    return _fitted(shown, limit, left_out)


def printable_json(encoded: bytes) -> str:
    r"""A line of JSON with everything escaped that is not plainly visible (``\u009b``), without changing its meaning."""
    text = encoded.decode()
    return text if text.isprintable() else _PLAIN.sub(_escape_json, text)


def cut(text: str, limit: int = LONGEST_TEXT) -> str:
    """The text in at most ``limit`` bytes of UTF-8; the number of characters left out is appended."""
    if len(text) * 4 <= limit:
        return text
    return _fitted(text[:limit], limit, max(0, len(text) - limit))


def code(value: object, limit: int = LONGEST_CODE) -> str:
    """A code, type or name from outside: ASCII letters, digits, ``_.:/@#+*=,-`` and spaces; anything else becomes ``?``.

    For keys of tables, labels of metrics, and fields that users filter by.
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


def _escape_json(found: re.Match[str]) -> str:
    if found[0].isprintable():
        return found[0]
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _escape_in_lines(found: re.Match[str]) -> str:
    return found[0] if found[0] in "\n\t" else _escape(found)
