"""The kinds of values that settings are made of, and how their validators say what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from bridge.config.document import Location
from bridge.config.units import Form
from bridge.proxies import Proxy
from bridge.urls import Url, host_and_port, is_loopback, written_host

__all__ = [
    "Count",
    "HostName",
    "Mistake",
    "Name",
    "Namespace",
    "Pairs",
    "Port",
    "ProxyUrl",
    "ReadableFile",
    "RestUrl",
    "Secret",
    "SecretPath",
    "Section",
    "Shard",
    "ShardValue",
    "ShareLimits",
    "SocketUrl",
    "at_home",
    "is_pair",
    "is_pattern",
    "likely_pair",
    "owner",
    "pair_or_pattern",
    "parse_shard",
    "raise_mistake",
    "raise_mistakes",
    "read_secret",
]

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_PAIR = re.compile(r"[A-Z0-9]+-[A-Z0-9]+(-(PERP|[0-9]{6}))?")
"""Base and quote; of a derivative with the quote in its name, the contract as well: ``BTC-USDT-PERP``, ``BTC-USDT-261225``."""
_PATTERN = re.compile(r"[A-Z0-9*?-]{1,64}")
_WILD = frozenset("*?")
_GLUED = re.compile(r"([A-Z0-9]{2,10}?)(USDT|USDC|USD|EUR|GBP|CHF|JPY|AUD|CAD|TRY|BRL|SGD|DAI|BTC|ETH|PERP)")
_MAX_SECRET = 64 * 1024
_NO_PROXY = ("", "none", "off")
_WHOLE = re.compile(r"-?[0-9]{1,20}").fullmatch
_LAST_PORT = 65535
_LONGEST_HOST = 253
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"\*|(\*\.)?{_LABEL}(\.{_LABEL})*")
_SHARD = re.compile(r"\s*(\d{1,4})\s*/\s*(\d{1,4})\s*")

Mistake = tuple[Location, str, str]
"""Where (from the validated thing downwards), what is wrong, and a hint (may be empty)."""


class Section(BaseModel):
    """A part of the settings: frozen, and without room for unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def raise_mistakes(mistakes: Iterable[Mistake]) -> None:
    """Raise all of these from inside a validator; each keeps its own place. No mistakes: nothing happens.

    Raises:
        ValidationError: pydantic merges its lines into the error of the model around it.
    """
    lines = [
        InitErrorDetails(
            type=PydanticCustomError("mistake", "{message}", {"message": message, "hint": hint}), loc=place, input=None
        )
        for place, message, hint in mistakes
    ]
    if lines:
        raise ValidationError.from_exception_data("config", lines, hide_input=True)


def raise_mistake(message: str, hint: str = "") -> NoReturn:
    """Raise one mistake about the very value that is being validated."""
    raise PydanticCustomError("mistake", "{message}", {"message": message, "hint": hint})


@dataclass(frozen=True)
class Shard:
    """``shard: 2/3``: one of ``count`` shards of an exchange's pairs, for connectors that list the same ones.

    Shared out by rendezvous hashing: every shard draws a number for every pair, and the highest has it. So a new pair
    moves no other, and a new shard takes its share from all others and moves nothing between them. The numbers follow
    from the names alone: every connector comes to the same result without asking anybody. The first shard is number 1.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def picks(self, pairs: Iterable[str]) -> tuple[str, ...]:
        """Those of the pairs that are this shard's, in their order."""
        return tuple(pair for pair in pairs if owner(pair, self.count) == self.number)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise_mistake("should be text")
    return value


def _name(value: Any) -> str:
    if not _NAME.fullmatch(_text(value)):
        raise_mistake("should be letters, digits, '_', '.' and '-' only, because it becomes part of Redis keys")
    return str(value)


def _namespace(value: Any) -> str:
    return _name(value) if _text(value) else ""


def _pair(value: Any) -> str:
    text = _text(value)
    if not _PAIR.fullmatch(text):
        likely = likely_pair(text)
        hint = f"did you mean {likely!r}?" if likely else "'tickbridge pairs EXCHANGE' lists them"
        raise_mistake(f"{text!r} is not a pair: should be BASE-QUOTE in upper case, such as BTC-EUR", hint)
    return text


def _pair_or_pattern(value: Any) -> str:
    text = pair_or_pattern(_text(value))
    if not is_pattern(text):
        return _pair(text)
    if not _PATTERN.fullmatch(text):
        meant = _PATTERN.fullmatch(text.upper())
        hint = f"did you mean {text.upper()!r}?" if meant else "'*' stands for any text, '?' for one character"
        raise_mistake(f"{text!r} is not a pattern: should be like *-USDT or BTC-*-PERP, in upper case", hint)
    return text


def pair_or_pattern(text: str) -> str:
    """An item of ``pairs`` as it counts: ``all`` is short for ``*``."""
    return "*" if text.lower() == "all" else text


def is_pattern(text: str) -> bool:
    """Whether it stands for the pairs that match it: ``*-USDT``; ``*`` is any text, ``?`` any character."""
    return not _WILD.isdisjoint(text)


def is_pair(text: str) -> bool:
    """Whether it is written as the config's pairs are; the exchange may not have it all the same."""
    return _PAIR.fullmatch(text) is not None


def likely_pair(text: str) -> str | None:
    """The pair that may be meant by ``btcusd``, ``BTC/USD`` or ``btc_usd``: for a suggestion, and for nothing else."""
    likely = re.sub(r"[/_: ]", "-", text.strip().upper())
    if _PAIR.fullmatch(likely):
        return likely
    cut = _GLUED.fullmatch(likely)
    return f"{cut[1]}-{cut[2]}" if cut else None


def _count(value: Any) -> Any:
    if isinstance(value, bool):
        raise_mistake("should be a whole number")
    return value


def owner(pair: str, count: int) -> int:
    """The number of the shard that has the pair."""
    return max(range(1, count + 1), key=lambda number: _draw(number, pair))


def _draw(number: int, pair: str) -> bytes:
    return blake2b(f"{number}/{pair}".encode(), digest_size=8).digest()


def parse_shard(text: str) -> Shard:
    """``2/3`` taken apart.

    Raises:
        ValueError: it is no shard.
    """
    match = _SHARD.fullmatch(text)
    if match is None:
        raise ValueError("should be NUMBER/COUNT, such as 1/3: the first of three")
    number, count = int(match[1]), int(match[2])
    if not count:
        raise ValueError("should be of one shard at least, such as 1/3: the first of three")
    if not 1 <= number <= count:
        raise ValueError(f"there is no shard {number} of {count}: they are numbered from 1 to {count}")
    return Shard(number, count)


def _shard(value: Any) -> Shard:
    if isinstance(value, Shard):
        return value
    try:
        return parse_shard(value if isinstance(value, str) else "")
    except ValueError as error:
        raise_mistake(str(error))


def _share_limits(value: Any) -> bool | str:
    text = value if isinstance(value, bool) else _text(value).strip()
    if isinstance(text, bool):
        return text
    switch = {"true": True, "on": True, "false": False, "off": False}.get(text.lower())
    return _name(text) if switch is None else switch


def _port(value: Any) -> Any:
    """``off`` is what YAML reads as false."""
    if value is None or value is False or (isinstance(value, str) and value.strip().lower() == "off"):
        return None
    text = str(value).strip()
    if isinstance(value, bool | float) or not _WHOLE(text):
        hint = "did you mean off?" if text.lower() in ("no", "none", "never", "disabled") else ""
        raise_mistake("should be a port, 0 (any free one) to 65535, or off", hint)
    if not 0 <= int(text) <= _LAST_PORT:
        raise_mistake(f"{text} is out of range: a port is 0 (any free one) to {_LAST_PORT}", "off: none is opened")
    return int(text)


def _endpoint(value: str, secure: str, plain: str) -> str:
    # The URL itself is not shown: it may hold a token.
    text = value.strip()
    url = Url.of(text)
    if url.scheme not in (secure, plain) or not url.hosts:
        raise_mistake(f"should be a URL: {secure}://host…, or {plain}:// on loopback")
    if url.user is not None or "@" in url.path:
        raise_mistake("should hold no user or password; secrets belong in accounts")
    if url.fragment is not None:
        raise_mistake("should hold no '#'")
    try:
        host, _ = host_and_port(url.hosts, 443)
    except ValueError as error:
        raise_mistake(str(error))
    if url.scheme == plain and not is_loopback(host):
        raise_mistake(f"{plain}:// is accepted only on loopback", f"use {secure}://{written_host(host)}…")
    return text


def _proxy(value: Any) -> SecretStr:
    """The URL, or empty text for none; ``off`` is what YAML reads as false."""
    if isinstance(value, SecretStr):
        return value
    if value is False or (isinstance(value, str) and value.strip().lower() in _NO_PROXY):
        return SecretStr("")
    if not isinstance(value, str):
        raise_mistake("should be a proxy's URL, or none")
    try:
        Proxy.of(value)
    except ValueError as error:
        raise_mistake(str(error))
    return SecretStr(value.strip())


def _secret(value: Any) -> SecretStr:
    if isinstance(value, SecretStr):
        return value
    if not _text(value).strip():
        raise_mistake("should not be empty")
    return SecretStr(value)


def read_secret(path: Path) -> SecretStr:
    """The text of a file that holds a secret, without the newlines at its end.

    Raises:
        ValueError: it can't be read, or holds no secret; says so without quoting any of it.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_SECRET + 1)
        content = raw.decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot read {_where(path)}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{_where(path)} is not UTF-8 text") from None
    if not content.strip():
        raise ValueError(f"{_where(path)} is empty")
    if len(raw) > _MAX_SECRET:
        raise ValueError(f"{_where(path)} is larger than {_MAX_SECRET // 1024} KiB; is it the right file?")
    return SecretStr(content)


def _readable(value: Any) -> Path:
    path = _path(value)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise_mistake(f"cannot read {_where(path)}: {error.strerror or error}")
    return path


def _path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not _text(value):
        raise_mistake("should be the path of a file")
    return at_home(value)


def at_home(text: str) -> Path:
    """The path with its ``~`` replaced; as it is where nobody knows that user's home."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _where(path: Path) -> str:
    """The path, made absolute, so that a wrong working directory shows."""
    return str(path if path.is_absolute() else Path.cwd() / path)


def _form(pattern: str | None = None, *, text: Callable[[Any], str] | None = None) -> Form:
    # A number too: the loader takes it for text, where an editor takes it for a number.
    limits = {"pattern": pattern} if pattern else {}
    return Form({"type": ["string", "number"], **limits}, text)


Name = Annotated[str, BeforeValidator(_name), _form(f"^{_NAME.pattern}$")]
Namespace = Annotated[str, BeforeValidator(_namespace), _form(f"^({_NAME.pattern})?$")]
PairOrPattern = Annotated[str, BeforeValidator(_pair_or_pattern)]
"""``all`` becomes ``*``."""
_PAIRS_FORM = {"type": "string", "pattern": f"^({_PAIR.pattern}|[A-Z0-9-]*[*?][A-Z0-9*?-]*|all)$"}
Pairs = Annotated[
    tuple[PairOrPattern, ...],
    Form({"anyOf": [{"enum": ["all"]}, {"type": "array", "items": _PAIRS_FORM, "uniqueItems": True}]}),
]


def _host_name(value: Any) -> Any:
    if isinstance(value, str) and not (len(value) <= _LONGEST_HOST and _HOST.fullmatch(value)):
        raise_mistake(
            "should be a name without scheme, port and path", "such as metrics.example.com, *.example.com, or * for any"
        )
    return value


HostName = Annotated[str, BeforeValidator(_host_name), Form({"type": "string", "pattern": f"^({_HOST.pattern})$"})]
"""A name, ``*.`` and a name, or ``*``. Addresses need not be given."""
Count = Annotated[int, BeforeValidator(_count), Field(gt=0)]
SocketUrl = Annotated[
    str, AfterValidator(partial(_endpoint, secure="wss", plain="ws")), Form({"type": "string", "pattern": "^wss?://"})
]
RestUrl = Annotated[
    str,
    AfterValidator(partial(_endpoint, secure="https", plain="http")),
    Form({"type": "string", "pattern": "^https?://"}),
]
ProxyUrl = Annotated[SecretStr, BeforeValidator(_proxy)]
Secret = Annotated[SecretStr, BeforeValidator(_secret), _form(text=lambda value: "none" if value is None else "***")]
SecretPath = Annotated[Path, BeforeValidator(_path), Form({"type": "string"})]
"""A file that holds a secret; `SecretFileSource` reads it."""
ReadableFile = Annotated[Path, BeforeValidator(_readable), Form({"type": "string"})]
Port = Annotated[
    int | None,
    BeforeValidator(_port),
    Form(
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": _LAST_PORT}, {"enum": ["off", False]}]},
        lambda port: "off" if port is None else str(port),
    ),
]
"""``None`` is ``off`` in the file."""
ShareLimits = Annotated[
    bool | str,
    BeforeValidator(_share_limits),
    Form(
        {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^{_NAME.pattern}$"}]},
        lambda value: str(value).lower() if isinstance(value, bool) else value,
    ),
]
"""``True`` and ``False``, or the name of those that share."""
ShardValue = Annotated[
    Shard, BeforeValidator(_shard), Form({"type": "string", "pattern": r"^\s*[0-9]{1,4}\s*/\s*[0-9]{1,4}\s*$"})
]
