"""Walking the models by location: what may stand where. For suggestions, and for the environment's overrides."""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from bridge.config import catalogue
from bridge.config.document import Location

__all__ = ["Kind", "inner", "keys_of", "kind_of", "options_of", "schema_at"]


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
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return Kind.MODEL
    origin = get_origin(schema) or schema
    if origin in (tuple, list, set, frozenset):
        return Kind.LIST
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return Kind.MAPPING
    if schema is Any or origin in (Union, types.UnionType):
        return Kind.ANY
    return Kind.SCALAR


def inner(schema: Any, key: str | int) -> Any:
    """The schema of a model's field, a mapping's value or a list's item; ``None`` if a model has no such field."""
    schema = _bare(schema)
    kind = kind_of(schema)
    if kind is Kind.MODEL:
        field = schema.model_fields.get(key)
        return None if field is None else field.annotation
    arguments = get_args(schema)
    if kind is Kind.MAPPING:
        return arguments[1] if arguments else Any
    if kind is Kind.LIST:
        return arguments[0] if arguments else Any
    return Any if kind is Kind.ANY else None


def keys_of(schema: Any) -> tuple[str, ...]:
    """The keys that are known beforehand: a model's fields, or the values of a mapping's enumerated keys."""
    schema = _bare(schema)
    kind = kind_of(schema)
    if kind is Kind.MODEL:
        return tuple(schema.model_fields)
    if kind is Kind.MAPPING and (arguments := get_args(schema)):
        key = _bare(arguments[0])
        if isinstance(key, type) and issubclass(key, StrEnum):
            return tuple(str(member) for member in key)
        if get_origin(key) is Literal:
            return tuple(str(value) for value in get_args(key))
    return ()


def options_of(connector: Any) -> Any:
    """The schema of a raw connector's ``options``: its exchange's own model, ``Any`` while that is unknown."""
    exchange = connector.get("exchange") if isinstance(connector, Mapping) else None
    return catalogue.options_model(exchange) if exchange in catalogue.exchange_names() else Any


def schema_at(root: Any, location: Location, data: Any) -> Any:
    """The schema at a location of the raw ``data``; ``None`` where nothing is known."""
    schema: Any = root
    for depth, key in enumerate(location):
        schema = (
            options_of(value_at(data, location[:depth])) if _is_options(location[: depth + 1]) else inner(schema, key)
        )
        if schema is None:
            return None
    return schema


def _is_options(location: Location) -> bool:
    return len(location) == 3 and location[0] == "connectors" and location[2] == "options"


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
