"""The JSON Schema of the config (draft 2020-12), from the same models that validate it: for editors.

It is a little wider than the models, never narrower: what hangs together (an account that is named, a stream with two
writers) only ``tickbridge check`` finds.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bridge.config import catalogue
from bridge.config.forms import Form, descriptions, form_of
from bridge.config.models import Account, ConnectorSettings, Limits, Settings

__all__ = ["TITLE", "config_schema"]

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
        schema["allOf"] = [_of_exchange(name) for name in catalogue.exchange_names()]
    return schema


def _field(model: type[BaseModel], name: str, field: FieldInfo, words: str) -> dict[str, Any]:
    if name == "exchange" and model in (ConnectorSettings, Account):
        schema: dict[str, Any] = {"enum": list(catalogue.exchange_names())}
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
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        form = next((mark for mark in annotation.__metadata__ if isinstance(mark, Form)), None)
        return dict(form.schema) if form else _type(arguments[0])
    if origin in (Union, types.UnionType):
        [inner] = [part for part in arguments if part is not type(None)]
        return _type(inner)
    return _scalar(annotation) if origin is None else _container(origin, arguments)


def _container(origin: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (tuple, list):
        return {"type": "array", "items": _type(arguments[0]), "uniqueItems": True}
    key, value = arguments
    names = {"propertyNames": _scalar(key)} if _is(key, StrEnum) else {}
    return {"type": "object", "additionalProperties": _type(value), **names}


def _scalar(kind: Any) -> dict[str, Any]:
    if _is(kind, StrEnum):
        return {"enum": [str(member) for member in kind]}
    if _is(kind, BaseModel):
        return _model(kind)
    return next((dict(schema) for known, schema in _SCALARS if _is(kind, known)), {})


def _is(annotation: Any, kind: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, kind)


def _of_exchange(name: str) -> dict[str, Any]:
    channels = [str(channel) for channel in catalogue.public_channels(name)]
    return {
        "if": {"properties": {"exchange": {"const": name}}, "required": ["exchange"]},
        "then": {
            "properties": {
                "channels": {"items": {"enum": channels}},
                "options": _or_null(_model(catalogue.options_model(name))),
            }
        },
    }
