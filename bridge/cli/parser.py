"""The argument parser of all commands, with short messages about mistakes.

A wrong value is reported in one line; a misspelt option with the closest one and the usage of its command.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["USER_MISTAKE", "Parser"]

USER_MISTAKE = 1
_MOST_USAGE_LINES = 3
_FEW = 4
"""So many choices are all listed, also where one is close to what was given."""
_OPTION = re.compile(r"--?[A-Za-z][\w-]*")
_WRONG_VALUE = re.compile(r"(argument \S+: )?invalid (\w+) value: (.*)")
_REQUIRED = "the following arguments are required: "
_KINDS = {"int": "a whole number", "float": "a number"}


class Parser(argparse.ArgumentParser):
    """A parser that exits with 1 on mistakes, like on every other mistake of the user.

    Options cannot be abbreviated: an abbreviation may become ambiguous with a new option.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **settings})
        self._given: list[str] = []
        self.narrow: Callable[[argparse.ArgumentParser, Sequence[str]], None] | None = None
        """Called with the command line before it is parsed, to hide options from the help that do not apply."""

    @property
    def actions(self) -> list[argparse.Action]:
        """All options and positions in the order of the help."""
        return self._actions

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the options; exits on unknown words."""
        given = list(sys.argv[1:] if args is None else args)
        self._given = given
        if self.narrow is not None:
            self.narrow(self, given)
        # Before argparse, which would report a misspelt required option as missing.
        self._refuse([word for word in _options(given) if word not in self._option_string_actions])
        options, rest = super().parse_known_args(given, namespace)
        if any(not word.startswith("-") for word in rest) and self._takes_more:
            # Positions behind an option; not at once, since what is missing is told less well by this way.
            options, rest = super().parse_known_intermixed_args(given, namespace)
        self._refuse(rest)
        return options

    @property
    def _takes_more(self) -> bool:
        return any(action.nargs in ("*", "+") for action in self._actions if not action.option_strings)

    def format_usage(self) -> str:
        """The usage in at most three lines."""
        self._shorten()
        return super().format_usage()

    def format_help(self) -> str:
        """The help, with a usage of at most three lines, because the options follow anyway."""
        self._shorten()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Report a mistake in one line, and exit with 1."""
        if message.startswith(_REQUIRED):
            self._missing(message.removeprefix(_REQUIRED).split(", "))
        if match := _WRONG_VALUE.fullmatch(message):
            where, kind, value = match.groups()
            message = f"{where or ''}{value} is not {_KINDS.get(kind, 'a valid value')}"
        self.exit(USER_MISTAKE, f"{self.prog}: {message}\n")

    def mistake(self, message: str) -> NoReturn:
        """Report a mistake and the usage, and exit with 1."""
        self.exit(USER_MISTAKE, f"{self.prog}: {message}\n{self.format_usage()}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Report a wrong choice with the closest one, in the same words in every version of Python."""
        from bridge.suggestions import did_you_mean

        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            close, listed = did_you_mean(str(value), known), f"known: {', '.join(known)}"
            hint = close if close and len(known) > _FEW else "; ".join(part for part in (listed, close) if part)
            raise argparse.ArgumentError(action, f"no such choice: {value!r} ({hint})")

    def _refuse(self, words: Sequence[str]) -> None:
        """Exit with a message about words that the command does not know, if there are any."""
        from bridge.suggestions import nearest

        if not words:
            return
        names = {name.lstrip("-"): name for name in self._option_string_actions if name.startswith("--")}
        lines = []
        for word in words:
            if not word.startswith("-"):
                lines.append(f"unexpected argument {word!r}{self._as_config(word)}")
                continue
            close = nearest(word.lstrip("-"), names)
            lines.append(f"no option {word!r}" + (f"; did you mean {names[close]!r}?" if close else ""))
        self.mistake(f"\n{self.prog}: ".join(dict.fromkeys(lines)))

    def _as_config(self, word: str) -> str:
        """A hint for ``tickbridge check my.yaml``, which many users write."""
        takes_config = "--config" in self._option_string_actions
        looks_like = Path(word).suffix in (".yaml", ".yml") or Path(word).is_file()
        return f"; did you mean --config {word}?" if takes_config and looks_like else ""

    def _missing(self, names: list[str]) -> NoReturn:
        lines = []
        for name in names:
            named = next((word for word in self._given if self._as_config(word)), None)
            if name == "--config" and named:
                lines.append(f"unexpected argument {named!r}{self._as_config(named)}")
            elif name == "--config":
                lines.append(
                    "no config: there is no ./tickbridge.yaml; use --config FILE, or write one with 'tickbridge init'"
                )
            else:
                lines.append(f"{name} is missing")
        self.mistake(f"\n{self.prog}: ".join(lines))

    def _shorten(self) -> None:
        """Replace a long usage by one with only what is required."""
        if self.usage is not None or super().format_usage().count("\n") <= _MOST_USAGE_LINES:
            return
        places = [action for action in self._actions if not action.option_strings]
        needed = [action for action in self._actions if action.option_strings and action.required]
        parts = [
            self.prog,
            *(part for part in (self._synopsis(places), self._synopsis(needed)) if part),
            "[OPTION ...]",
        ]
        self.usage = " ".join(parts).replace("%", "%%")

    def _synopsis(self, actions: Sequence[argparse.Action]) -> str:
        formatter = self.formatter_class(prog="")
        formatter.add_usage(None, actions, [], prefix="")
        return " ".join(formatter.format_help().split())


def _options(words: Sequence[str]) -> list[str]:
    """The words that argparse takes for options, without their values."""
    before = words[: words.index("--")] if "--" in words else words
    names = (word.partition("=")[0] for word in before)
    return [name for name in names if _OPTION.fullmatch(name)]
