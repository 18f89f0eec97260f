"""The schema of the configuration: what may stand where, for suggestions and variables, and as JSON Schema for editors.

The JSON Schema (draft 2020-12) is made of the same models that validate the config. It is a little wider than they are,
never narrower: what hangs together (an account that is named, a stream with two writers) only ``tickbridge check`` finds.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bridge.config.accounts import Account, account_model, account_of, credentials_of
from bridge.config.connectors import ConnectorSettings, exchange_names, offered_channels, options_model
from bridge.config.document import Location
from bridge.config.settings import Limits, Settings
from bridge.config.units import Form

__all__ = [
    "TITLE",
    "Kind",
    "config_schema",
    "descriptions",
    "form_of",
    "inner",
    "keys_of",
    "kind_of",
    "options_of",
    "schema_at",
    "value_at",
]

TITLE = "Tickbridge configuration"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: tuple[tuple[type, dict[str, Any]], ...] = (
    (bool, {"type": "boolean"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (str, {"type": ["string", "number"]}),  # the loader takes an unquoted number for text
    (Path, {"type": "string"}),
)
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


class Kind(StrEnum):
    """The shapes that a schema can have, seen from above."""

    MODEL = "model"
    MAPPING = "mapping"
    LIST = "list"
    SCALAR = "scalar"
    ANY = "any"


def kind_of(schema: Any) -> Kind:
    """The shape of a type; ``Annotated`` and ``| None`` don't count, a real union is ``ANY``."""
    schema = _bare(schema)
    if _is(schema, BaseModel):
        return Kind.MODEL
    origin = get_origin(schema) or schema
    if origin in (tuple, list, set, frozenset):
        return Kind.LIST
    if _is(origin, Mapping):
        return Kind.MAPPING
    if schema is Any or origin in (Union, types.UnionType):
        return Kind.ANY
    return Kind.SCALAR


def inner(schema: Any, key: str | int) -> Any:
    """The schema of a model's field, a mapping's value or a list's item; ``None`` if a model has no such field.

    Of an account it has all credentials that any exchange declares.
    """
    schema = _bare(schema)
    kind = kind_of(schema)
    if kind is Kind.MODEL:
        field = schema.model_fields.get(key)
        return None if field is None else field.annotation
    arguments = get_args(schema)
    if kind is Kind.MAPPING:
        value = arguments[1] if arguments else Any
        return account_model() if _bare(value) is Account else value
    if kind is Kind.LIST:
        return arguments[0] if arguments else Any
    return Any if kind is Kind.ANY else None


def keys_of(schema: Any) -> tuple[str, ...]:
    """The keys that are known beforehand: a model's fields, or the values of a mapping's enumerated keys."""
    schema = _bare(schema)
    kind = kind_of(schema)
    if kind is Kind.MODEL:
        return tuple(schema.model_fields)
    arguments = get_args(schema)
    return tuple(map(str, _choices(arguments[0]))) if kind is Kind.MAPPING and arguments else ()


def options_of(connector: Any) -> Any:
    """The schema of a raw connector's ``options``: its exchange's own model, ``Any`` while that is unknown."""
    exchange = connector.get("exchange") if isinstance(connector, Mapping) else None
    return options_model(exchange) if exchange in exchange_names() else Any


def schema_at(root: Any, location: Location, data: Any) -> Any:
    """The schema at a location of the raw ``data``; ``None`` where nothing is known."""
    schema: Any = root
    for depth, key in enumerate(location):
        if depth == 2 and key == "options" and location[0] == "connectors":
            schema = options_of(value_at(data, location[:depth]))
        elif depth == 1 and location[0] == "accounts":
            schema = account_of(value_at(data, location[:2]))
        else:
            schema = inner(schema, key)
        if schema is None:
            return None
    return schema


def value_at(data: Any, location: Location) -> Any:
    """What stands at a location of the raw ``data``; ``None`` where there is no such place."""
    for key in location:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _bare(schema: Any) -> Any:
    """Without ``Annotated`` and ``| None``."""
    while True:
        origin = get_origin(schema)
        if origin is Annotated:
            schema = get_args(schema)[0]
        elif origin in (Union, types.UnionType):
            rest = [part for part in get_args(schema) if part is not type(None)]
            if len(rest) != 1:
                return schema
            schema = rest[0]
        else:
            return schema


def _choices(schema: Any) -> tuple[Any, ...]:
    """The values that an enumeration or a ``Literal`` may have; none of any other type."""
    schema = _bare(schema)
    if get_origin(schema) is Literal:
        return get_args(schema)
    return tuple(map(str, schema)) if _is(schema, StrEnum) else ()


def _is(schema: Any, kind: type) -> bool:
    return isinstance(schema, type) and issubclass(schema, kind)


def form_of(field: FieldInfo) -> Form | None:
    """The form that a field's type carries, optional or not."""
    return next((mark for mark in field.metadata if isinstance(mark, Form)), None) or _form(field.annotation)


def _form(schema: Any) -> Form | None:
    marks = getattr(schema, "__metadata__", ())
    parts = get_args(schema) if get_origin(schema) in (Union, types.UnionType) else ()
    return next((mark for mark in (*marks, *map(_form, parts)) if isinstance(mark, Form)), None)


@cache
def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Field → the docstring below it, in one line: read from the source, since Python keeps none of a variable.

    The fields of a model that is made while running have their own.
    """
    own = {name: field.description for name, field in model.model_fields.items() if field.description}
    if own:
        base = model.__base__
        assert base is not None
        return {**descriptions(base), **own}
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


def config_schema() -> dict[str, Any]:
    """The schema, with each exchange's own options and channels where that exchange is named."""
    return {"$schema": _DIALECT, "title": TITLE, **_model(Settings)}


def _model(model: type[BaseModel]) -> dict[str, Any]:
    words = descriptions(model)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: _field(model, name, field, words.get(name, "")) for name, field in model.model_fields.items()
        },
        "additionalProperties": False,
    }
    # One of the two limits is enough: the other keeps its default.
    required = [name for name, field in model.model_fields.items() if field.is_required() and model is not Limits]
    if required:
        schema["required"] = required
    if model is ConnectorSettings:
        schema["allOf"] = [_of_exchange(name, _connector(name)) for name in exchange_names()]
    elif issubclass(model, Account):
        schema["allOf"] = [_of_exchange(name, _account(model, name)) for name in exchange_names()]
    return schema


def _field(model: type[BaseModel], name: str, field: FieldInfo, words: str) -> dict[str, Any]:
    if name == "exchange" and issubclass(model, ConnectorSettings | Account):
        schema: dict[str, Any] = {"enum": list(exchange_names())}
    elif name == "options" and model is ConnectorSettings:
        schema = {"type": "object"}
    else:
        form = form_of(field)
        schema = dict(form.schema) if form else _type(field.annotation)
        if "type" in schema:
            schema |= {_BOUNDS[key]: bound for mark in field.metadata for key, bound in _bounds(mark)}
    if not field.is_required():
        schema = _or_null(schema)
    default = _default(field)
    return {**({"description": words} if words else {}), **default, **schema}


def _bounds(mark: Any) -> list[tuple[str, Any]]:
    return [(key, getattr(mark, key)) for key in _BOUNDS if getattr(mark, key, None) is not None]


def _default(field: FieldInfo) -> dict[str, Any]:
    """The default as the file would have it; nothing where it is a section of its own, or none."""
    value = None if field.is_required() or field.default_factory else field.get_default()
    if value is None or isinstance(value, BaseModel | Mapping | tuple):
        return {}
    form = form_of(field)
    return {"default": form.text(value) if form and form.text and isinstance(value, float | int) else value}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """An empty value is a value not given."""
    if isinstance(kind := schema.get("type"), str | list):
        return {**schema, "type": [*([kind] if isinstance(kind, str) else kind), "null"]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]} if "anyOf" in schema else schema


def _type(annotation: Any) -> dict[str, Any]:
    if form := _form(annotation):
        return dict(form.schema)
    bare, kind = _bare(annotation), kind_of(annotation)
    if kind is Kind.MODEL:
        return _model(bare)
    if kind is Kind.LIST:
        return {"type": "array", "items": _type(inner(bare, 0)), "uniqueItems": True}
    if kind is Kind.MAPPING:
        names = {"propertyNames": {"enum": list(keys_of(bare))}} if keys_of(bare) else {}
        return {"type": "object", "additionalProperties": _type(inner(bare, "")), **names}
    if choices := _choices(bare):
        return {"enum": list(choices)}
    return next((dict(schema) for known, schema in _SCALARS if _is(bare, known)), {})


def _of_exchange(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "if": {"properties": {"exchange": {"const": name}}, "required": ["exchange"]},
        "then": {"properties": properties},
    }


def _connector(exchange: str) -> dict[str, Any]:
    channels = [str(channel) for channel in offered_channels(exchange)]
    return {"channels": {"items": {"enum": channels}}, "options": _or_null(_model(options_model(exchange)))}


def _account(model: type[Account], exchange: str) -> dict[str, Any]:
    """No credential but those that the exchange declares, and what they are there."""
    declared = [credential.name for credential in credentials_of(exchange)]
    words = descriptions(account_model(exchange))
    given = [(name, key) for name in model.declared for key in (name, f"{name}_file")]
    return {key: {"description": words[key]} if name in declared else {"type": "null"} for name, key in given}
