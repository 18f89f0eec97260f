"""The sources of the settings, as pydantic-settings runs them: the environment, the file, the files of secrets.

A variable's name begins with ``TICKBRIDGE_``, and ``__`` goes one level down: ``TICKBRIDGE_REDIS__URL`` is ``redis.url``.
A list's item is named by its position (``TICKBRIDGE_CONNECTORS__0__URL``), a connector also by its name and an account
by its own (``TICKBRIDGE_CONNECTORS__LIMITLEX__URL``); case doesn't matter and ``-`` and ``.`` are written ``_``. Lists
and mappings are given in YAML's short form, a list also as ``a,b``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, InitSettingsSource, PydanticBaseSettingsSource

from bridge.config.document import Document, Location, parse_text, read_document
from bridge.config.schema import Kind, inner, keys_of, kind_of, options_of, schema_at
from bridge.config.settings import PREFIX
from bridge.config.values import Mistake, at_home, read_secret
from bridge.errors import Problem
from bridge.suggestions import nearest

__all__ = ["EnvironmentSource", "FileSource", "SecretFileSource"]

# Ours, but no setting: the config's path, the tokens of the gateway, and what the test suite reads.
_RESERVED = re.compile(r"TICKBRIDGE_(?:CONFIG|WEB_TOKENS(?:_FILE)?|WEB_PROCESSES|TEST_.*)")
# Kubernetes puts these into every pod beside a Service whose name begins with "tickbridge".
_SERVICE_LINK = re.compile(
    r"TICKBRIDGE_(?:(?!.*__)[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_[A-Z]+(?:_[A-Z]+)?)?)"
)


class FileSource(InitSettingsSource):
    """The YAML file; without a path, an empty one.

    ``lines`` has the line of each location, ``problems`` what is wrong with the file's form.
    """

    def __init__(self, settings_cls: type[BaseSettings], path: Path | None) -> None:
        super().__init__(settings_cls, {})
        document = read_document(path) if path is not None else Document()
        data = {} if document.data is None else document.data
        if not isinstance(data, dict):
            document.add((), "should be a mapping of settings, such as 'redis:' and 'connectors:'")
            data = {}
        # Not given to the base class: it would accept a key that is written in another case.
        self.init_kwargs = _without_nulls(data, ())
        self.lines = document.lines
        self.problems = document.problems

    def __call__(self) -> dict[str, Any]:
        """All that no variable has changed: what one has comes from the environment's source, which runs before."""
        return {name: value for name, value in self.init_kwargs.items() if name not in self.current_state}


class EnvironmentSource(EnvSettingsSource):
    """The variables over the file: everything at the top level that one of them changes, as a whole.

    The base class reads variables by the same rules of naming, but it can't change one item of a list, knows no item by
    its name, merges a mapping where a variable should replace it, ignores variables that lead nowhere, and ends at the
    first value that it can't read.

    ``origins`` has the variable that each location's value came from, ``problems`` what is wrong with variables.
    """

    def __init__(self, settings_cls: type[BaseSettings], file: FileSource, env: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._variables = {name: text for name, text in env.items() if self._is_setting(name)}
        self._data: dict[str, Any] = copy.deepcopy(file.init_kwargs)
        self.origins: dict[Location, str] = {}
        self.problems: list[Problem] = []

    def __call__(self) -> dict[str, Any]:
        """The values that have changed, as plain data."""
        for variable in sorted(self._variables, key=lambda name: _order(self._segments(name))):
            try:
                self._override(variable)
            except _UnknownVariableError as error:
                self.problems.append(Problem(variable, "unknown variable", error.hint))
        changed = {location[0] for location in self.origins}
        return {name: value for name, value in self._data.items() if name in changed}

    def _is_setting(self, variable: str) -> bool:
        return (
            variable.startswith(self.env_prefix)
            and not _RESERVED.fullmatch(variable)
            and (not _SERVICE_LINK.fullmatch(variable) or variable == self.env_prefix)
        )

    def _segments(self, variable: str) -> list[str]:
        return variable.removeprefix(self.env_prefix).split(self.env_nested_delimiter)

    def _override(self, variable: str) -> None:
        segments = self._segments(variable)
        schema: Any = self.settings_cls
        container: Any = self._data
        location: Location = ()
        for depth, segment in enumerate(segments):
            known = PREFIX + "__".join(segments[:depth])
            key = _key(schema, container, segment, known, "__".join(segments[depth:]))
            below = options_of(container) if key == "options" and len(location) == 2 else inner(schema, key)
            location = (*location, key)
            if depth == len(segments) - 1:
                self._put(container, location, self._parse(variable, below), keys_of(schema))
                self.origins[location] = variable
                return
            schema, container = below, _descend(container, key, kind_of(below))
            if container is None:
                return  # the file has something of a wrong shape here, which validation will say

    def _put(self, container: Any, location: Location, value: Any, known: tuple[str, ...]) -> None:
        key = location[-1]
        if isinstance(container, list):
            assert isinstance(key, int)
            container[key : key + 1] = [value]
            return
        container[key] = value
        # Two ways to give one value: the environment's choice replaces the file's.
        name = str(key)
        other = name.removesuffix("_file") if name.endswith("_file") else f"{name}_file"
        if other in known and (*location[:-1], other) not in self.origins:
            container.pop(other, None)

    def _parse(self, variable: str, schema: Any) -> Any:
        text, kind = self._variables[variable], kind_of(schema)
        if kind is Kind.SCALAR:
            return text
        if kind is Kind.LIST and text.lstrip().startswith("*"):
            return _words(text)  # patterns of pairs; to YAML, an alias of nothing
        document = parse_text(text)
        for problem in document.problems:
            self.problems.append(Problem(variable, problem.message))
        if kind is Kind.LIST and isinstance(document.data, str):
            return _words(document.data)
        return document.data


class SecretFileSource(PydanticBaseSettingsSource):
    """The contents of secret files: where ``api_secret_file`` names one, ``api_secret``, and so for every such pair.

    It runs last: environment and file together (``current_state``) say which files there are. ``origins`` has the file
    that each location's value came from, ``mistakes`` what is wrong with files.
    """

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self.origins: dict[Location, Path] = {}
        self.mistakes: list[Mistake] = []

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Nothing: at the top level there is no secret."""
        _ = field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The secrets, as plain data."""
        return self._secrets_in(self.current_state, ())

    def _secrets_in(self, section: Mapping[str, Any], place: Location) -> dict[str, Any]:
        known = keys_of(schema_at(self.settings_cls, place, self.current_state))
        found: dict[str, Any] = {}
        for key, value in section.items():
            name = key.removesuffix("_file")
            if isinstance(value, Mapping):
                # Also where there are none: what is merged into this later keeps its order.
                found[key] = self._secrets_in(value, (*place, key))
            elif value and isinstance(value, str) and name != key and name in known:
                try:
                    secret = read_secret(at_home(value))
                except ValueError as error:
                    self.mistakes.append(((*place, key), str(error), ""))
                    continue
                if section.get(name) is None:
                    found[name] = secret
                    self.origins[*place, name] = at_home(value)
                else:
                    self.mistakes.append(((*place, key), _given_twice(name, key, place), ""))
        return found


def _given_twice(name: str, file: str, place: Location) -> str:
    if place == ("redis",):  # there it may be left out, too
        return f"is given together with {name}; give only one of them"
    return f"give exactly one of {name} and {file}"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _without_nulls(value: Any, location: Location) -> Any:
    """An empty value (``retention:`` with all its lines commented out) is a value not given."""
    if isinstance(value, dict):
        kept = {key: _without_nulls(item, (*location, key)) for key, item in value.items()}
        # An empty account is an account all the same, and lacks its key.
        keep_empty = location == ("accounts",)
        return {key: {} if item is None else item for key, item in kept.items() if item is not None or keep_empty}
    if isinstance(value, list):
        return [_without_nulls(item, (*location, index)) for index, item in enumerate(value)]
    return value


class _UnknownVariableError(Exception):
    """A variable that leads nowhere; ``hint`` says where it may have been meant to lead."""

    def __init__(self, hint: str = "") -> None:
        self.hint = hint
        super().__init__(hint)


def _order(segments: list[str]) -> list[tuple[int, int, str]]:
    """Wholes before their parts, positions in order and before names: so a later variable can build on an earlier.

    The alphabet does the rest: an ``exchange`` comes before the ``options`` whose meaning it decides.
    """
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.upper()) for part in segments]


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
