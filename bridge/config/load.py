"""From a file and the environment to ``Settings``, or to one error with all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bridge.config.document import Location, dotted
from bridge.config.exposed import exposed_files
from bridge.config.mistakes import cross_check, mistakes_of, with_hint
from bridge.config.schema import value_at
from bridge.config.settings import Settings
from bridge.config.sources import EnvironmentSource, FileSource, SecretFileSource
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
        return location in self._places.lines

    def variable(self, location: Location) -> str:
        """The variable that a setting comes from; empty for a default, and for what the file or a secret file gives."""
        return "" if value_at(self._data, location) is None else self._places.of(location)[0]

    def origin(self, location: Location) -> str:
        """``FILE:LINE``, the variable or the secret file that a setting comes from; empty for a default."""
        if location in self._places.secrets:
            return f"secret file {self._places.secrets[location]}"
        given = value_at(self._data, location) is not None
        return self.variable(location) or (f"{self.path}:{self._places.of(location)[1]}" if given else "")

    def exposed(self) -> list[tuple[Path, str]]:
        """Files with secrets that other users can read, with their modes: secret files, and the config if it has any."""
        locations = [place for place in self._places.lines if _is_secret(place, value_at(self._data, place))]
        own = [self.path] if self.path is not None and locations else []
        return exposed_files([*own, *self._places.secrets.values()])


def _is_secret(location: Location, value: object) -> bool:
    """Whether the file has a secret here: a password, a key, or a URL with a password."""
    name = location[-1] if location else None
    if not isinstance(value, str) or not value or not isinstance(name, str):
        return False
    if name in ("url", "proxy"):
        return "@" in value
    return location[0] == "accounts" and len(location) == 3 and name != "exchange" and not name.endswith("_file")


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
    source = str(path) if path is not None else "environment"
    file = FileSource(Settings, path)
    if file.problems and not file.init_kwargs:
        # Without a file to stand on, anything more would only be consequences.
        raise ConfigError(file.problems, source)
    environment = EnvironmentSource(Settings, file, os.environ if env is None else env)
    secrets = SecretFileSource(Settings)
    mistakes: list[Mistake] = []
    settings = None
    try:
        settings = Settings.read(environment, file, secrets)
    except ValidationError as error:
        mistakes = mistakes_of(error)
    data = secrets.current_state
    places = _Places(file.lines, environment.origins, secrets.origins)
    mistakes += [*secrets.mistakes, *cross_check(data)]
    problems = [*file.problems, *environment.problems]
    problems += [places.problem(with_hint(mistake, data)) for mistake in mistakes]
    if problems or settings is None:
        raise ConfigError(list(dict.fromkeys(problems)), source)
    return Loaded(settings, path, data, places)


class _Places:
    """Tells where a value came from: a line of the file, a variable or a secret file."""

    def __init__(
        self, lines: Mapping[Location, int], variables: Mapping[Location, str], secrets: Mapping[Location, Path]
    ) -> None:
        self.lines = lines
        self.secrets = secrets
        self._variables = variables

    def problem(self, mistake: Mistake) -> Problem:
        location, message, hint = mistake
        if location in self.secrets:  # what is wrong is the file, and so is the setting that names it
            location = (*location[:-1], f"{location[-1]}_file")
        variable, line = self.of(location)
        place = f"from {variable}" if variable else f"line {line}" if line else ""
        return Problem(dotted(location) or "(top level)", message, "; ".join(text for text in (place, hint) if text))

    def of(self, location: Location) -> tuple[str, int]:
        """The variable (else empty) or the line (else 0) that a value comes from."""
        # A variable first: where it replaced a whole mapping or list, the file's lines below are of no more use.
        for place in _upwards(location):
            if place in self._variables:
                return self._variables[place], 0
        return "", next((self.lines[place] for place in _upwards(location) if place in self.lines), 0)


def _upwards(location: Location) -> Iterator[Location]:
    for length in range(len(location), 0, -1):
        yield location[:length]
