"""Keeps secrets out of what people get to read: logs, error messages, tracebacks.

Two nets: every secret that the configuration holds, wherever it turns up and however it is quoted; and what looks
like a secret in a URL or in JSON (``t=…``, ``token``, a password before ``@``), whoever put it there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote, quote_plus

from bridge.printable import LONGEST_TEXT, printable

__all__ = ["MASK", "forget_secrets", "presentable", "redact", "redact_value", "register_secret", "register_secrets"]

MASK = "***"

_SHORTEST = 4
_SHORTEST_LINE = 16
_MAX_DEPTH = 8
_LARGEST = 1 << 1024
_LONGEST_BYTES = 65_536

_URL_PASSWORD = re.compile(r"(://[^\s:/?#@\"']*):[^\s/?#\"']*@")
_WORDS = "t|token|access_token|refresh_token|jwt|sig|signature|api_?key|api_?secret|secret|passw(?:or)?d|passphrase"
_QUERY = re.compile(rf"([?&](?:{_WORDS})=)[^&#\s\"'<>]+", re.IGNORECASE)
_JSON = re.compile(
    rf"(\\?[\"'](?!t\\?[\"'])(?:{_WORDS})\\?[\"']\s*:\s*)(?:\\\"(?:[^\"\\]|\\[^\"])*\\\"|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')",
    re.IGNORECASE,
)

# What a text that was cut off may end in: a value whose end is missing is a secret, too.
_URL_OPEN = re.compile(r"(://[^\s:/?#@\"']*):[^\s/?#\"']*$")
_JSON_OPEN = re.compile(
    rf"(\\?[\"'](?!t\\?[\"'])(?:{_WORDS})\\?[\"']\s*:\s*)(?:\\\"(?:[^\"\\]|\\[^\"])*|\"(?:[^\"\\]|\\.)*|'(?:[^'\\]|\\.)*)\\?$",
    re.IGNORECASE,
)
_LEAST_OVERLAP = 1_024
"""Characters beyond a limit that are searched too, at least: a secret must not be cut into halves that nobody knows."""

_secrets: set[str] = set()
_pattern: re.Pattern[str] | None = None
_overlap = _LEAST_OVERLAP


def register_secret(secret: str) -> None:
    """From now on ``redact`` masks this text, as it is and percent-encoded or escaped.

    Of a secret of several lines (a PEM key) each long line counts for itself. Texts of under 4 characters are left:
    masking them would blot out half of every line.
    """
    register_secrets([secret])


def register_secrets(secrets: Iterable[str]) -> None:
    """``register_secret`` for each of these."""
    global _pattern, _overlap  # noqa: PLW0603  (one process, one set of secrets)
    for secret in secrets:
        _secrets.update(_spellings(secret))
    _overlap = max([_LEAST_OVERLAP, *map(len, _secrets)])
    longest_first = sorted(_secrets, key=lambda text: (-len(text), text))
    _pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def forget_secrets() -> None:
    """Forget all registered secrets: for tests, which share one process."""
    global _pattern, _overlap  # noqa: PLW0603
    _secrets.clear()
    _pattern = None
    _overlap = _LEAST_OVERLAP


def redact(text: str, limit: int | None = None) -> str:
    """The text with every known secret, and everything that looks like one, replaced by ``***``.

    With ``limit``, no more of the text than about so many characters is looked at and returned, however long it is; a
    secret that the limit would cut in two is left out as a whole.
    """
    if limit is None or len(text) <= limit:
        return _masked(text)
    overlap = _overlap
    window = text[: limit + overlap]
    shown = _masked(window)
    if len(window) < len(text):
        shown = _JSON_OPEN.sub(rf'\1"{MASK}"', _URL_OPEN.sub(rf"\1:{MASK}", shown))
        # The window may end within a secret, which nothing has found.
        shown = shown[: max(0, len(shown) - overlap)]
    return shown[:limit]


def presentable(text: str, limit: int = LONGEST_TEXT, *, lines: bool = False) -> str:
    """Text from outside as people may get to see it: without secrets, `printable`, and in ``limit`` bytes at most."""
    return printable(redact(text, limit), limit, lines=lines, missing=max(0, len(text) - limit))


def _masked(text: str) -> str:
    # Looking for each as a whole is far quicker than trying all of them at each character.
    if _pattern is not None and any(secret in text for secret in _secrets):
        text = _pattern.sub(MASK, text)
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    if "=" in text:
        text = _QUERY.sub(rf"\1{MASK}", text)
    if ":" in text:
        text = _JSON.sub(rf'\1"{MASK}"', text)
    return text


def redact_value(value: Any, text: Callable[[str], str] = redact, most: int | None = None, depth: int = 0) -> Any:
    """The same for a value of any kind: containers inside out, unknown objects by what they print as.

    ``text`` is what is done to each piece of text: redaction, and whatever else. Of a container, no more than ``most``
    items are kept. What comes out can be written as JSON.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _LARGEST else text(hex(value))  # Python refuses to write its decimals
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        items = islice(value.items(), most)
        return {text(str(key)): redact_value(item, text, most, depth + 1) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset) and depth < _MAX_DEPTH:
        return [redact_value(item, text, most, depth + 1) for item in islice(value, most)]
    return text(_printed(value))


def _printed(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value[:_LONGEST_BYTES]).decode("utf-8", "backslashreplace")
    return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)


def _spellings(secret: str) -> set[str]:
    """How a secret may turn up: as it is, in a URL, in JSON, in a repr; and the long lines of a text."""
    whole = secret.strip()
    lines = [line.strip() for line in whole.splitlines()]
    parts = [whole]
    if len(lines) > 1:
        parts += [line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----")]
    found: set[str] = set()
    for part in parts:
        found |= {part, quote(part, safe=""), quote(part), quote_plus(part)}
        found |= {json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1], repr(part)[1:-1]}
    return {text for text in found if len(text) >= _SHORTEST}
