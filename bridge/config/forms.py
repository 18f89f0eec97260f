"""How the values of a setting are written: as text for people, and as JSON Schema for editors.

A type of settings carries its `Form` as one of its annotations; a type without one is shown and described as what
Python takes it for.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = ["Form", "descriptions", "duration_text", "form_of", "size_text", "value_text"]


@dataclass(frozen=True, eq=False)  # hashed by identity: annotations must be hashable, and a mapping is not
class Form:
    """``schema`` is the JSON Schema of what the file may hold; ``text`` writes a value as the file would."""

    schema: Mapping[str, Any]
    text: Callable[[Any], str] | None = None


def form_of(field: FieldInfo) -> Form | None:
    """The form that a field's type carries, optional or not."""
    return next((mark for mark in _marks(field) if isinstance(mark, Form)), None)


def _marks(field: FieldInfo) -> Iterator[Any]:
    yield from field.metadata
    if get_origin(field.annotation) in (Union, types.UnionType):
        for part in get_args(field.annotation):
            yield from getattr(part, "__metadata__", ())


def value_text(value: Any, form: Form | None = None) -> str:
    """A setting's value as the file would have it: ``24h``, ``[BTC-EUR, ETH-EUR]``, ``true``, ``none``."""
    if form is not None and form.text is not None:
        return form.text(value)
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{value_text(key)}: {value_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration_text(seconds: float | None) -> str:
    """``24h``, ``90s``, ``250ms``; days only above one, since a day is said as ``24h``; ``None`` is ``off``."""
    if seconds is None:
        return "off"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        least = 2 * size if unit == "d" else size
        if seconds >= least and not seconds % size:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"


def size_text(count: int) -> str:
    """``64MiB``, ``10MB`` or the bytes."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 10**9), ("MB", 10**6)):
        if count and not count % size:
            return f"{count // size}{unit}"
    return str(count)


@cache
def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Field → the docstring below it, in one line: read from the source, since Python keeps none of a variable."""
    [node] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(node, ast.ClassDef)
    found: dict[str, str] = {}
    name = ""
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                found[name] = " ".join(text.split()).replace("``", "'")
                name = ""
            case _:
                name = ""
    return found
