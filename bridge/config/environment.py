"""The environment over the file: ``TICKBRIDGE_REDIS__URL`` replaces ``redis.url``, and so every value.

``__`` goes one level down. A list's item is named by its position (``TICKBRIDGE_CONNECTORS__0__URL``), a connector
also by its name and an account by its own (``TICKBRIDGE_CONNECTORS__LIMITLEX__URL``); case doesn't matter and ``-`` and
``.`` are written ``_``. Lists and mappings are given in YAML's short form, a list also as ``a,b``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from bridge.config.document import Location, parse_text
from bridge.config.schema import Kind, inner, keys_of, kind_of, options_of
from bridge.errors import Problem
from bridge.suggestions import nearest

__all__ = ["PREFIX", "LayeredSource"]

PREFIX = "TICKBRIDGE_"

# Ours, but no setting: the file's path, and what the test suite reads.
_RESERVED = re.compile(r"TICKBRIDGE_(?:CONFIG|TEST_.*)")
# Kubernetes puts these into every pod beside a Service whose name begins with "tickbridge".
_SERVICE_LINK = re.compile(
    r"TICKBRIDGE_(?:(?!.*__)[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_[A-Z]+(?:_[A-Z]+)?)?)"
)
# Two ways to give one value: the environment's choice replaces the file's.
_PAIRS = (("url", "url_file"), ("api_key", "api_key_file"), ("api_secret", "api_secret_file"))
_INSTEAD = {one: other for a, b in _PAIRS for one, other in ((a, b), (b, a))}


class _UnknownVariableError(Exception):
    """A variable that leads nowhere; ``hint`` says where it may have been meant to lead."""

    def __init__(self, hint: str = "") -> None:
        self.hint = hint
        super().__init__(hint)


class LayeredSource(PydanticBaseSettingsSource):
    """The file's values with the environment's over them.

    ``origins`` then tells which variable a location's value came from, ``problems`` what was wrong with variables.
    """

    def __init__(self, settings_cls: type[BaseSettings], data: Mapping[str, Any], env: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._data: dict[str, Any] = copy.deepcopy(dict(data))
        self._env = env
        self.origins: dict[Location, str] = {}
        self.problems: list[Problem] = []

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One top-level value, as the base class wants it."""
        _ = field
        return self._data.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values, as plain data for the settings' validation."""
        for variable in sorted(filter(_is_setting, self._env), key=_order):
            try:
                self._override(variable, self._env[variable])
            except _UnknownVariableError as error:
                self.problems.append(Problem(variable, "unknown variable", error.hint))
        return self._data

    def _override(self, variable: str, text: str) -> None:
        segments = variable.removeprefix(PREFIX).split("__")
        schema: Any = self.settings_cls
        container: Any = self._data
        location: Location = ()
        for depth, segment in enumerate(segments):
            known = PREFIX + "__".join(segments[:depth])
            key = _key(schema, container, segment, known, "__".join(segments[depth:]))
            below = options_of(container) if key == "options" and len(location) == 2 else inner(schema, key)
            location = (*location, key)
            if depth == len(segments) - 1:
                self._put(container, key, self._parse(variable, below, text), location, variable)
                return
            schema, container = below, _descend(container, key, kind_of(below))
            if container is None:
                return  # the file has something of a wrong shape here, which validation will say

    def _put(self, container: Any, key: str | int, value: Any, location: Location, variable: str) -> None:
        if isinstance(container, list):
            assert isinstance(key, int)
            container[key : key + 1] = [value]
        else:
            container[key] = value
            other = _INSTEAD.get(str(key))
            if other is not None and (*location[:-1], other) not in self.origins:
                container.pop(other, None)
        self.origins[location] = variable

    def _parse(self, variable: str, schema: Any, text: str) -> Any:
        kind = kind_of(schema)
        if kind is Kind.SCALAR:
            return text
        document = parse_text(text)
        for problem in document.problems:
            self.problems.append(Problem(variable, problem.message))
        if kind is Kind.LIST and isinstance(document.data, str):
            return [item.strip() for item in document.data.split(",")]
        return document.data


def _is_setting(variable: str) -> bool:
    return (
        variable.startswith(PREFIX)
        and not _RESERVED.fullmatch(variable)
        and (not _SERVICE_LINK.fullmatch(variable) or variable == PREFIX)
    )


def _order(variable: str) -> list[tuple[int, int, str]]:
    """Wholes before their parts, positions in order and before names: so a later variable can build on an earlier.

    The alphabet does the rest: an ``exchange`` comes before the ``options`` whose meaning it decides.
    """
    segments = variable.removeprefix(PREFIX).upper().split("__")
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in segments]


def _folded(name: str) -> str:
    """How a name is written in a variable: any case, every special character an underscore."""
    return re.sub(r"[^a-z0-9]", "_", name.casefold())


def _key(schema: Any, container: Any, segment: str, known: str, rest: str) -> str | int:
    """The key or position that a segment of a variable means.

    Raises:
        _UnknownVariableError: none; with the nearest variable as a hint.
    """
    kind = kind_of(schema)
    if kind is Kind.LIST:
        return _position(schema, container, segment, known)
    if kind is Kind.SCALAR or not segment:
        raise _UnknownVariableError(f"did you mean {known}?" if known != PREFIX else "")
    present = [key for key in container if isinstance(key, str)] if kind is not Kind.MODEL else []
    names = [*keys_of(schema), *present]
    for name in names:
        if _folded(name) == _folded(segment):
            return name
    if kind is Kind.ANY or (kind is Kind.MAPPING and not keys_of(schema)):
        return segment.lower()
    raise _UnknownVariableError(_suggest(schema, names, known, rest))


def _suggest(schema: Any, names: list[str], known: str, rest: str) -> str:
    """The nearest variable, looking one level further down too: REDIS_URL means REDIS__URL."""
    candidates = [_folded(name).upper() for name in names]
    for name in names:
        candidates += [f"{_folded(name)}__{_folded(key)}".upper() for key in keys_of(inner(schema, name))]
    head, *below = rest.split("__")
    close = nearest(rest, candidates)
    if close is None and (close := nearest(head, candidates)):
        close = "__".join([close, *below])
    separator = "" if known == PREFIX else "__"
    return f"did you mean {known}{separator}{close}?" if close else ""


def _position(schema: Any, items: list[Any], segment: str, known: str) -> int:
    if segment.isdecimal():
        if int(segment) <= len(items):
            return int(segment)
        raise _UnknownVariableError(f"there are only {len(items)} before it")
    named: dict[str, list[int]] = {}
    if kind_of(inner(schema, 0)) is Kind.MODEL:
        for index, item in enumerate(items):
            if isinstance(item, Mapping) and isinstance(item.get("name"), str):
                named.setdefault(_folded(item["name"]), []).append(index)
    found = named.get(_folded(segment), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise _UnknownVariableError(f"{len(found)} have this name; use a position: {known}__{found[0]}")
    close = nearest(segment, named)
    close = f"{known}__{close.upper()}" if close else None
    raise _UnknownVariableError(f"did you mean {close}…?" if close else f"use a position: {known}__0…")


def _descend(container: Any, key: str | int, kind: Kind) -> Any:
    """What stands at ``key``, made if nothing does; ``None`` if it is of another shape than the schema's."""
    shape: type = list if kind is Kind.LIST else dict
    if isinstance(container, list):
        assert isinstance(key, int)
        if key == len(container):
            container.append(shape())
    elif container.get(key) is None:
        # Below a scalar there is nothing to make: the next step says so.
        if kind is Kind.SCALAR:
            return {}
        container[key] = shape()
    found = container[key]
    return found if kind is Kind.SCALAR or isinstance(found, shape) else None
