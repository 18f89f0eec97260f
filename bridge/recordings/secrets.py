"""Leaving secrets out of recordings.

Narrower than the redaction of logs: a recording is data, and must keep an exchange's frames to the byte. So in frames
only known secrets and tokens are masked; by their place, only what stands in an address, in what the client sent and
in REST answers.
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
"""Shorter strings are not searched for: they would mask ordinary text."""

_LEARNED = 16
"""Values of at least this length are taken for secrets: a masked one is masked wherever else it turns up."""

_PARAMETER = re.compile(
    r"([?&](?:t|token|access_token|jwt|key|api_?key|secret|sig|sign|signature|auth|authorization|passphrase|password"
    r"|listen_?key)=)([^&#\s]+)",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#@]*@", re.IGNORECASE)
_MEMBER = re.compile(
    r'("(?:token|access_?token|jwt|api[_-]?key|api[_-]?secret|secret|sig|sign|signature|auth|authorization|passphrase'
    r'|password|listen_?key)"\s*:\s*")((?:[^"\\]|\\.)+)(")',
    re.IGNORECASE,
)
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?")
_LOG_IN = re.compile(r"auth|log_?[io]n", re.IGNORECASE)


class Redactor:
    """Replaces secrets by ``***``: the known ones wherever they stand, others by where they stand."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: list[str] = []
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """Mask this string from now on, also as JSON or a URL would spell it, and each line of a PEM key."""
        lines = (line.strip() for line in secret.splitlines())
        for part in (secret.strip(), *(line for line in lines if len(line) >= _LEARNED and "-----" not in line)):
            for spelling in {part, json.dumps(part)[1:-1], quote(part, safe="")}:
                if len(spelling) >= _SHORTEST and spelling not in self._secrets:
                    self._secrets.append(spelling)
        # The longest first, so that a secret that contains another one leaves nothing behind.
        self._secrets.sort(key=len, reverse=True)

    def text(self, data: str) -> str:
        """``data`` without the known secrets and without anything that is a JSON Web Token."""
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, MASK)
        return _JWT.sub(MASK, data) if "eyJ" in data else data

    def binary(self, data: bytes) -> bytes:
        """The same for bytes."""
        return self.text(data.decode("latin-1")).encode("latin-1")

    def url(self, url: str) -> str:
        """An address without user and password, and without the values of parameters that carry secrets."""
        for match in _PARAMETER.finditer(url):
            if len(match[2]) >= _LEARNED:
                self.learn(unquote(match[2]))
        return self.text(_PARAMETER.sub(rf"\1{MASK}", _USERINFO.sub(r"\1", url)))

    def sent(self, data: str) -> str:
        """What a client sent: a log-in message is masked as a whole, of others the members that carry secrets."""
        return MASK if _is_log_in(data) else self.text(_MEMBER.sub(rf"\1{MASK}\3", data))

    def answer(self, data: str) -> str:
        """A REST answer, without the tokens that it hands out (short values, such as a coin's name, stay)."""
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
