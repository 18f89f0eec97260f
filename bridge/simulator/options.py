"""The options of an exchange's protocol, read off its struct: what each is called, takes, and means.

Every field is one, with a default, and annotated with what it means, in the words of a command's help::

    token_lifetime: Annotated[float, Meta(description="seconds")] = 900.0

It is a flag (``bool``), a count (``int``), a number (``float``), words (``tuple[str, ...]``), or one of a few words
(``Literal``). Numbers are not negative.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import fields

__all__ = ["Option", "options_of"]

Kind = Literal["flag", "count", "number", "words", "choice"]

_KINDS: dict[Any, Kind] = {bool: "flag", int: "count", float: "number", tuple: "words", Literal: "choice"}


class Option(Struct, frozen=True):
    """One option: its field, what it takes (``choices``: the words of a ``choice``), and its help with the default."""

    name: str
    kind: Kind
    help: str
    choices: tuple[str, ...] = ()


def options_of(options: type[Struct]) -> list[Option]:
    """The options of a struct, in its order."""
    hints = get_type_hints(options, include_extras=True)
    return [_option(field.name, hints[field.name], field.default) for field in fields(options)]


def _option(name: str, hint: Any, default: Any) -> Option:
    kind, meta = get_args(hint)
    plain = get_origin(kind) or kind
    choices = get_args(kind) if plain is Literal else ()
    return Option(name, _KINDS[plain], _with_default(meta.description, default), choices)


def _with_default(words: str, default: Any) -> str:
    """A flag's default needs no words; some say theirs themselves."""
    if default is False or "(default" in words:
        return words
    if isinstance(default, float):
        default = f"{default:g}"
    elif isinstance(default, tuple):
        default = ",".join(default)
    return f"{words} (default: {default})"
