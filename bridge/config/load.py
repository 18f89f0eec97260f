"""From a file and the environment to ``Settings``, or to one error with all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bridge.config.document import Document, Location, dotted, read_document
from bridge.config.environment import LayeredSource
from bridge.config.mistakes import UNKNOWN_KEY, cross_check, mistakes_of, with_hint
from bridge.config.settings import Settings
from bridge.config.values import Mistake
from bridge.errors import ConfigError, Problem

__all__ = ["Loaded", "load_settings", "load_with_origins"]


class Loaded:
    """Settings, and where each of them comes from."""

    def __init__(self, settings: Settings, path: Path | None, data: Mapping[str, Any], places: _Places) -> None:
        self.settings = settings
        self.path = path
        self._data = data
        self._places = places

    def in_file(self, location: Location) -> bool:
        """Whether the file itself has this."""
        return self._places.has_line(location)

    def origin(self, location: Location) -> str:
        """``FILE:LINE`` or the variable that a setting comes from; empty for a default."""
        value: Any = self._data
        for key in location:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return ""
        variable, line = self._places.of(location)
        return variable or f"{self.path}:{line}"


def load_settings(path: Path | None, env: Mapping[str, str] | None = None) -> Settings:
    """The settings of a YAML file with the environment's ``TICKBRIDGE_…`` variables over it.

    Without a ``path`` they come from the environment alone, without an ``env`` that is the process's own.

    Raises:
        ConfigError: the file can't be read, or anything in it or in a variable is wrong: all mistakes at once.
    """
    return load_with_origins(path, env).settings


def load_with_origins(path: Path | None, env: Mapping[str, str] | None = None) -> Loaded:
    """The same, with where each setting comes from.

    Raises:
        ConfigError: as above.
    """
    document = read_document(path) if path is not None else Document()
    source = str(path) if path is not None else "environment"
    top = document.data if document.data is not None else {}
    if not isinstance(top, dict):
        document.add((), "should be a mapping of settings, such as 'redis:' and 'connectors:'")
        top = {}
    if document.problems and not top:
        # Without a file to stand on, anything more would only be consequences.
        raise ConfigError(document.problems, source)

    layers = LayeredSource(Settings, _without_nulls(top, ()), os.environ if env is None else env)
    data = layers()
    places = _Places(document.lines, layers.origins)
    problems = [*document.problems, *layers.problems]
    settings, mistakes = _validate(data)
    problems += [places.problem(mistake) for mistake in mistakes]
    if problems or settings is None:
        raise ConfigError(list(dict.fromkeys(problems)), source)
    return Loaded(settings, path, data, places)


def _validate(data: dict[str, Any]) -> tuple[Settings | None, list[Mistake]]:
    """The settings, or all mistakes: of form, of values and between the parts."""
    known = {key: value for key, value in data.items() if key in Settings.model_fields}
    mistakes: list[Mistake] = [((key,), UNKNOWN_KEY, "") for key in data if key not in known]
    settings = None
    try:
        settings = Settings(**known)
    except ValidationError as error:
        mistakes += mistakes_of(error)
    mistakes += cross_check(data)
    return settings, [with_hint(mistake, data) for mistake in mistakes]


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


class _Places:
    """Tells where a value came from: a line of the file or a variable."""

    def __init__(self, lines: Mapping[Location, int], origins: Mapping[Location, str]) -> None:
        self._lines = lines
        self._origins = origins

    def problem(self, mistake: Mistake) -> Problem:
        location, message, hint = mistake
        variable, line = self.of(location)
        place = f"from {variable}" if variable else f"line {line}" if line else ""
        return Problem(dotted(location) or "(top level)", message, "; ".join(text for text in (place, hint) if text))

    def has_line(self, location: Location) -> bool:
        """Whether this very value is in the file."""
        return location in self._lines

    def of(self, location: Location) -> tuple[str, int]:
        """The variable (else empty) or the line (else 0) that a value comes from."""
        # A variable first: where it replaced a whole mapping or list, the file's lines below are of no more use.
        for place in _upwards(location):
            if place in self._origins:
                return self._origins[place], 0
        return "", next((self._lines[place] for place in _upwards(location) if place in self._lines), 0)


def _upwards(location: Location) -> Iterator[Location]:
    for length in range(len(location), 0, -1):
        yield location[:length]
