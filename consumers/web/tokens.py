"""Who may read what: tokens, with patterns of public streams and of accounts."""

from __future__ import annotations

import hmac
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from bridge.keys import Keys, StreamKey
from bridge.redaction import register_secrets

__all__ = ["PUBLIC", "Access", "NoAccessError", "TokenError", "Tokens", "TokensFileError"]

_SHORTEST = 16
_EVERYTHING = ("md:*",)
_KEYS = Keys()


class TokensFileError(ValueError):
    """The tokens cannot be used as they are configured; the message quotes no token."""


class TokenError(Exception):
    """A request has no token, or a wrong one."""


class NoAccessError(Exception):
    """A token does not allow this."""


class Access(Struct, frozen=True):
    """What a token allows: patterns of keys of public streams, without a namespace, and of ``exchange:account``."""

    name: str
    streams: tuple[str, ...] = _EVERYTHING
    accounts: tuple[str, ...] = ()

    def allows(self, stream: StreamKey) -> bool:
        """Whether it allows to read this stream."""
        if stream.public:
            key = _KEYS.stream(stream.exchange, stream.subject, stream.channel)
            return any(fnmatchcase(key, pattern) for pattern in self.streams)
        return self.allows_account(stream.exchange, stream.subject)

    def allows_account(self, exchange: str, subject: str) -> bool:
        """Whether it allows to read this account (``main``) or sub-account (``main/sub``)."""
        names = {f"{exchange}:{subject}", f"{exchange}:{subject.partition('/')[0]}"}
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.accounts)

    @property
    def everything(self) -> bool:
        """Whether it includes every account."""
        return "*" in self.accounts

    def check(self, stream: StreamKey) -> None:
        """Raise an error unless it allows to read this stream.

        Raises:
            NoAccessError: it does not.
        """
        if self.allows(stream):
            return
        if stream.public:
            raise NoAccessError("this token does not include the stream")
        if not self.name:
            raise NoAccessError("accounts are shown only with a token that names them; none are configured (--tokens)")
        raise NoAccessError(f"this token does not include the account {stream.exchange}:{stream.subject}")


PUBLIC = Access("")
"""Without tokens: every public stream, and no account."""


class _Token(Struct, forbid_unknown_fields=True):
    """A table of the file."""

    name: str
    token: str = ""
    token_file: str = ""
    streams: list[str] = msgspec.field(default_factory=lambda: list(_EVERYTHING))
    accounts: list[str] = msgspec.field(default_factory=list)


class _File(Struct, forbid_unknown_fields=True):
    token: list[_Token]


class Tokens:
    """The configured tokens; none: everybody may read public streams."""

    def __init__(self, tokens: Sequence[tuple[str, Access]] = ()) -> None:
        register_secrets([token for token, _ in tokens])
        self._known = [(_digest(token), access) for token, access in tokens]

    @property
    def configured(self) -> bool:
        return bool(self._known)

    def access(self, token: str | None) -> Access:
        """What this token allows; ``None``: a request without one.

        Raises:
            TokenError: it is wrong, or one is needed.
        """
        if not self._known:
            return PUBLIC
        if token is None:
            raise TokenError("a token is needed: send it as Authorization: Bearer TOKEN")
        digest, found = _digest(token), None
        for known, access in self._known:  # all of them, so that the time says nothing
            if hmac.compare_digest(digest, known):
                found = access
        if found is None:
            raise TokenError("this token is not known")
        return found

    @classmethod
    def load(cls, path: str | None, text: str | None) -> Tokens:
        """The tokens of a file, or of a text in its form (of a variable); none if neither is given.

        Raises:
            TokensFileError: something is wrong with them.
        """
        if path:
            return cls(_parse(_read(path), path))
        return cls(_parse(text, "TICKBRIDGE_WEB_TOKENS")) if text else cls()


def _parse(text: str, where: str) -> list[tuple[str, Access]]:
    try:
        tables = msgspec.convert(tomllib.loads(text), _File).token
    except tomllib.TOMLDecodeError as error:
        raise TokensFileError(f"{where}: is not TOML: {_without_quotes(str(error))}") from None
    except msgspec.ValidationError as error:
        raise TokensFileError(f"{where}: {error}; write [[token]] with name, token, streams, accounts") from None
    found: dict[str, tuple[str, Access]] = {}
    for table in tables:
        token = _token_of(table, where)
        if token in {other for other, _ in found.values()}:
            raise TokensFileError(f"{where}: the token {table.name!r} is the same as another one")
        if not table.name or table.name in found:
            raise TokensFileError(f"{where}: each token needs a name of its own, not {table.name!r}")
        found[table.name] = (token, Access(table.name, tuple(table.streams), tuple(table.accounts)))
    if not found:
        raise TokensFileError(f"{where}: has no [[token]]")
    return list(found.values())


def _token_of(table: _Token, where: str) -> str:
    if bool(table.token) == bool(table.token_file):
        raise TokensFileError(f"{where}: the token {table.name!r} needs either token or token_file")
    token = table.token or _read(table.token_file).strip()
    if len(token) < _SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
        raise TokensFileError(
            f"{where}: the token {table.name!r} should have at least {_SHORTEST} ASCII characters and no spaces"
        )
    wrong = [pattern for pattern in table.accounts if pattern != "*" and ":" not in pattern]
    if wrong:
        raise TokensFileError(f"{where}: the token {table.name!r}: accounts are EXCHANGE:ACCOUNT, not {wrong[0]!r}")
    return token


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise TokensFileError(f"cannot read {path}: {reason}") from None


def _without_quotes(message: str) -> str:
    """The message of a parser without what it quotes."""
    return message.split("'", maxsplit=1)[0].strip()


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogateescape")).digest()
