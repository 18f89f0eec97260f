"""Removes secrets from everything that people read: logs, error messages, tracebacks.

It masks every secret in the configuration, wherever it appears and however it is quoted, and everything that looks like
a secret in a URL or in JSON (``t=…``, ``token``, a password before ``@``).
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
_WORDS = (
    "t|token|access_token|refresh_token|jwt|sig|signature|api_?key|api_?secret|secret|private_?key|passw(?:or)?d"
    "|(?:[a-z-]{1,20}[-_])?passphrase"
)
_QUERY = re.compile(rf"([?&](?:{_WORDS})=)[^&#\s\"'<>]+", re.IGNORECASE)
_JSON = re.compile(
    rf"(\\?[\"'](?!t\\?[\"'])(?:{_WORDS})\\?[\"']\s*:\s*)(?:\\\"(?:[^\"\\]|\\[^\"])*\\\"|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')",
    re.IGNORECASE,
)

# The end of text that was cut off: a value whose end is missing is still a secret.
_URL_OPEN = re.compile(r"(://[^\s:/?#@\"']*):[^\s/?#\"']*$")
_JSON_OPEN = re.compile(
    rf"(\\?[\"'](?!t\\?[\"'])(?:{_WORDS})\\?[\"']\s*:\s*)(?:\\\"(?:[^\"\\]|\\[^\"])*|\"(?:[^\"\\]|\\.)*|'(?:[^'\\]|\\.)*)\\?$",
    re.IGNORECASE,
)
_LEAST_OVERLAP = 1_024
"""Minimum of characters beyond a limit that are searched too, so that no secret is cut and missed."""

_secrets: set[str] = set()
_pattern: re.Pattern[str] | None = None
_overlap = _LEAST_OVERLAP


def register_secret(secret: str) -> None:
    """Have ``redact`` mask this text, also percent-encoded and escaped.

    Each long line of a multi-line secret (a PEM key) is masked separately. Text of under 4 characters is not masked,
    because it would match almost everywhere.
    """
    register_secrets([secret])


def register_secrets(secrets: Iterable[str]) -> None:
    """Call ``register_secret`` for each of these."""
    global _pattern, _overlap  # noqa: PLW0603  (one process, one set of secrets)
    for secret in secrets:
        _secrets.update(_spellings(secret))
    _overlap = max([_LEAST_OVERLAP, *map(len, _secrets)])
    longest_first = sorted(_secrets, key=lambda text: (-len(text), text))
    _pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def forget_secrets() -> None:
    """Forget all registered secrets, for tests, which share one process."""
    global _pattern, _overlap  # noqa: PLW0603
    _secrets.clear()
    _pattern = None
    _overlap = _LEAST_OVERLAP


def redact(text: str, limit: int | None = None) -> str:
    """Replace every known secret, and everything that looks like one, by ``***``.

    With ``limit``, only about that many characters are searched and returned; a secret that the limit would cut is left
    out completely.
    """
    if limit is None or len(text) <= limit:
        return _masked(text)
    overlap = _overlap
    window = text[: limit + overlap]
    shown = _masked(window)
    if len(window) < len(text):
        shown = _JSON_OPEN.sub(rf'\1"{MASK}"', _URL_OPEN.sub(rf"\1:{MASK}", shown))
        # The window may end within a secret that was not found.
        shown = shown[: max(0, len(shown) - overlap)]
    return shown[:limit]


def presentable(text: str, limit: int = LONGEST_TEXT, *, lines: bool = False) -> str:
    """Make text from outside presentable: without secrets, `printable`, and at most ``limit`` bytes."""
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
    """Redact a value of any type: containers recursively, unknown objects by their text.

    ``text`` is applied to each text. At most ``most`` items of a container are kept. The result can be written as JSON.
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
    """The forms of a secret: plain, in a URL, in JSON, in a repr; and the long lines of multi-line text."""
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
