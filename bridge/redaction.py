"""Keeps secrets out of what people get to read: logs, error messages, tracebacks.

Two nets: every secret that the configuration holds, wherever it turns up and however it is quoted; and what looks
like a secret in a URL or in JSON (``t=…``, ``token``, a password before ``@``), whoever put it there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "forget_secrets", "redact", "redact_value", "register_secret", "register_secrets"]

MASK = "***"

_SHORTEST = 4
_SHORTEST_LINE = 16
_MAX_DEPTH = 8

_URL_PASSWORD = re.compile(r"(://[^\s:/?#@\"']*):[^\s/?#\"']*@")
_WORDS = "t|token|access_token|refresh_token|jwt|sig|signature|api_?key|api_?secret|secret|passw(?:or)?d|passphrase"
_QUERY = re.compile(rf"([?&](?:{_WORDS})=)[^&#\s\"'<>]+", re.IGNORECASE)
_JSON = re.compile(
    rf"(\\?[\"'](?!t\\?[\"'])(?:{_WORDS})\\?[\"']\s*:\s*)(?:\\\"(?:[^\"\\]|\\[^\"])*\\\"|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')",
    re.IGNORECASE,
)

_secrets: set[str] = set()
_pattern: re.Pattern[str] | None = None


def register_secret(secret: str) -> None:
    """From now on ``redact`` masks this text, as it is and percent-encoded or escaped.

    Of a secret of several lines (a PEM key) each long line counts for itself. Texts of under 4 characters are left:
    masking them would blot out half of every line.
    """
    register_secrets([secret])


def register_secrets(secrets: Iterable[str]) -> None:
    """``register_secret`` for each of these."""
    global _pattern  # noqa: PLW0603  (one process, one set of secrets)
    for secret in secrets:
        _secrets.update(_spellings(secret))
    longest_first = sorted(_secrets, key=lambda text: (-len(text), text))
    _pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def forget_secrets() -> None:
    """Forget all registered secrets: for tests, which share one process."""
    global _pattern  # noqa: PLW0603
    _secrets.clear()
    _pattern = None


def redact(text: str) -> str:
    """The text with every known secret, and everything that looks like one, replaced by ``***``."""
    if _pattern is not None:
        text = _pattern.sub(MASK, text)
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    if "=" in text:
        text = _QUERY.sub(rf"\1{MASK}", text)
    if ":" in text:
        text = _JSON.sub(rf'\1"{MASK}"', text)
    return text


def redact_value(value: Any, depth: int = 0) -> Any:
    """The same for a value of any kind: containers inside out, unknown objects by what they print as."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {redact(str(key)): redact_value(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _MAX_DEPTH:
        return [redact_value(item, depth + 1) for item in value]
    return redact(_printed(value))


def _printed(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
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
