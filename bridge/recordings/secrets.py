"""Masks secrets in recordings.

This masks less than the redaction of logs, because a recording must keep an exchange's frames to the byte. In frames,
only known secrets and tokens are masked. Values are masked by name only in addresses, in messages of the client, and in
REST answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

import msgspec

from bridge.redaction import MASK

__all__ = ["Redactor"]

_SHORTEST = 4
"""Shorter strings are not masked, because they would match ordinary text."""

_LEARNED = 16
"""A masked value of at least this length is also masked wherever else it appears."""

_PARAMETER = re.compile(
    r"([?&](?:t|token|access_token|jwt|key|api_?key|secret|sig|sign|signature|auth|authorization|passphrase|password"
    r"|listen_?key|private_?key|api_?passphrase)=)([^&#\s]+)",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#@]*@", re.IGNORECASE)
_MEMBER = re.compile(
    r'("(?:token|access_?token|jwt|api[_-]?key|api[_-]?secret|secret|sig|sign|signature|auth|authorization|passphrase'
    r'|password|listen_?key|private_?key|api[_-]?passphrase)"\s*:\s*")((?:[^"\\]|\\.)+)(")',
    re.IGNORECASE,
)
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?")
_LOG_IN = re.compile(r"auth|log_?[io]n", re.IGNORECASE)


class Redactor:
    """Replaces secrets by ``***``: known ones everywhere, others by their names."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """Mask this string from now on, also as written in JSON or URLs, and each line of a PEM key."""
        lines = (line.strip() for line in secret.splitlines())
        for part in (secret.strip(), *(line for line in lines if len(line) >= _LEARNED and "-----" not in line)):
            for spelling in {part, json.dumps(part)[1:-1], quote(part, safe="")}:
                if len(spelling) >= _SHORTEST and spelling not in self._secrets:
                    self._secrets.append(spelling)
        # The longest first, so that a secret that contains another one is masked completely.
        self._secrets.sort(key=len, reverse=True)

    def text(self, data: str) -> str:
        """Mask known secrets and JSON Web Tokens in ``data``."""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, MASK)
        return _JWT.sub(MASK, data) if "eyJ" in data else data

    def binary(self, data: bytes) -> bytes:
        """Mask known secrets and JSON Web Tokens in bytes."""
        return self.text(data.decode("latin-1")).encode("latin-1")

    def url(self, url: str) -> str:
        """Mask user, password and the values of secret parameters in an address."""
        for match in _PARAMETER.finditer(url):
            if len(match[2]) >= _LEARNED:
                self.learn(unquote(match[2]))
        return self.text(_PARAMETER.sub(rf"\1{MASK}", _USERINFO.sub(r"\1", url)))

    def sent(self, data: str) -> str:
        """Mask a client's message: a log-in completely, in others the secret members."""
        return MASK if _is_log_in(data) else self.text(_MEMBER.sub(rf"\1{MASK}\3", data))

    def answer(self, data: str) -> str:
        """Mask the tokens in a REST answer (not short values, such as the name of a coin)."""
        return self.text(_MEMBER.sub(_mask_long, data))


def _mask_long(match: re.Match[str]) -> str:
    return match[0] if len(match[2]) < _LEARNED else f"{match[1]}{MASK}{match[3]}"


def _is_log_in(data: str) -> bool:
    try:
        message = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return False
    if not isinstance(message, dict):
        return False
    words = (message.get(key) for key in ("op", "type", "method", "event", "action"))
    return any(isinstance(word, str) and _LOG_IN.search(word) for word in words)
