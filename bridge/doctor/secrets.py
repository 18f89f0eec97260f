"""Keeps secrets out of a report, also those that no valid config names.

`bridge.redaction` masks what the config has and what looks like a secret in URLs and JSON. A report also has lines of logs
that others wrote, and is made when the config is broken. So this goes further, and rather masks too much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from bridge.proxies import environment_secrets
from bridge.redaction import MASK, presentable, register_secrets

__all__ = ["clean", "learn"]

_WORD = r"(?:secret|passw|passphrase|token|api[-_]?key|private[-_]?key|access[-_]?key|credential|auth)"
_NAMED = re.compile(
    rf"({_WORD}[\w.-]{{0,60}}[\"']?\s{{0,3}}(?:=>|[:=])\s{{0,3}})(?!\*\*\*)(\"[^\"]*\"?|'[^']*'?|[^\s,;}}\]]+)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\b(Bearer|Basic|Token|Digest)\s+[\w.~+/=-]{4,}", re.IGNORECASE)
_USER = re.compile(r"(://)[^\s/?#@\"']*@")
_TOKEN = re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?")
_PEM = re.compile(r"-----BEGIN [A-Z ]*-----.*?(?:-----END [A-Z ]*-----|$)", re.DOTALL)
_URL = re.compile(r"://[^\s:/?#@\"']*:([^\s/?#\"']+)@")
_HARMLESS = ("_file", "_path")
_MOST = 1024 * 1024
_LARGEST = 64 * _MOST


def learn(config: Path | None, environment: Mapping[str, str]) -> None:
    """Register every secret that can be found, whether the config is valid or not: to be called first."""
    found = set(environment_secrets(environment))
    for name, value in environment.items():
        if re.search(_WORD, name, re.IGNORECASE):
            found |= {value, *_of_file(name, value)}
        found |= set(_passwords(value))
    if config is not None:
        text = _read(config)
        found |= set(_passwords(text))
        for given in _NAMED.finditer(text):
            value = given[2].strip("'\"")
            found |= {value, *_of_file(given[1], value)}
    register_secrets(secret for secret in found if secret and secret != MASK)


def clean(text: str) -> str:
    """Text for the report: printable, and with nothing in it that is, or looks like, a secret."""
    text = presentable(_PEM.sub(MASK, text), _LARGEST, lines=True)
    for pattern, by in ((_HEADER, rf"\1 {MASK}"), (_USER, rf"\1{MASK}@"), (_TOKEN, MASK), (_NAMED, rf"\1{MASK}")):
        text = pattern.sub(by, text)
    return text


def _passwords(text: str) -> Iterator[str]:
    """Those in URLs, as they are written and as they are meant."""
    for password in _URL.findall(text):
        yield from (password, unquote(password))


def _of_file(name: str, value: str) -> Iterator[str]:
    """The content of a file that a setting names, whole and line by line."""
    if name.rstrip(" :=>'\"").casefold().endswith(_HARMLESS):
        text = _read(Path(value))
        yield text.strip()
        yield from (line.strip() for line in text.splitlines() if len(line.strip()) > 7)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode(errors="replace")
    except (OSError, ValueError):
        return ""
