"""The parser of every command: what it says about a mistake is short, and about that mistake alone.

A wrong value is one line. A misspelt option is named with the nearest one, and with the usage of its own command.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["USER_MISTAKE", "Parser"]

USER_MISTAKE = 1
_MOST_USAGE_LINES = 3
_OPTION = re.compile(r"--?[A-Za-z][\w-]*")
_WRONG_VALUE = re.compile(r"(argument \S+: )?invalid (\w+) value: (.*)")
_WRONG_CHOICE = re.compile(r"argument (\S+): invalid choice: .*")
_REQUIRED = "the following arguments are required: "
_KINDS = {"int": "a whole number", "float": "a number"}


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes exit with 1, like every other mistake of the user's.

    Options are not abbreviated: what is short for one option today may be short for two tomorrow.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **settings})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The options; a word that is none of the command's ends it."""
        given = list(sys.argv[1:] if args is None else args)
        # Before argparse, which would rather complain of a required option whose misspelt name stands there.
        self._refuse([word for word in _options(given) if word not in self._option_string_actions])
        options, rest = super().parse_known_args(given, namespace)
        self._refuse(rest)
        return options

    def format_usage(self) -> str:
        """The usage in three lines at most."""
        self._shorten()
        return super().format_usage()

    def format_help(self) -> str:
        """The help, with a usage of three lines at most: below it the options follow anyway."""
        self._shorten()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in a line of its own, and end with 1."""
        if message.startswith(_REQUIRED):
            self._missing(message.removeprefix(_REQUIRED).split(", "))
        if match := _WRONG_VALUE.fullmatch(message):
            where, kind, value = match.groups()
            message = f"{where or ''}{value} is not {_KINDS.get(kind, 'a valid value')}"
        self.exit(USER_MISTAKE, f"{self.prog}: {message}\n")

    def mistake(self, message: str) -> NoReturn:
        """Say what is wrong and how the command is called, and end with 1."""
        self.exit(USER_MISTAKE, f"{self.prog}: {message}\n{self.format_usage()}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """A wrong choice with the nearest one, in the same words on every Python."""
        from bridge.suggestions import did_you_mean

        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), known) or f"known: {', '.join(known)}"
            raise argparse.ArgumentError(action, f"no such choice: {value!r} ({hint})")

    def _refuse(self, words: Sequence[str]) -> None:
        """End with what is said of words that the command doesn't know; nothing happens if there are none."""
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
        """``tickbridge check my.yaml`` is what many write."""
        takes_config = "--config" in self._option_string_actions
        looks_like = Path(word).suffix in (".yaml", ".yml") or Path(word).is_file()
        return f"; did you mean --config {word}?" if takes_config and looks_like else ""

    def _missing(self, names: list[str]) -> NoReturn:
        lines = []
        for name in names:
            if name == "--config":
                lines.append(
                    "no config: there is no ./tickbridge.yaml here; name one with --config FILE, or write one with "
                    "'tickbridge init'"
                )
            else:
                lines.append(f"{name} is missing")
        self.mistake(f"\n{self.prog}: ".join(lines))

    def _shorten(self) -> None:
        """In place of a long usage: what is required, and that there are options."""
        if self.usage is not None or super().format_usage().count("\n") <= _MOST_USAGE_LINES:
            return
        needed = [action for action in self._actions if action.required or not action.option_strings]
        formatter = self.formatter_class(prog=self.prog)
        formatter.add_usage(None, needed, [])
        short = formatter.format_help().strip().removeprefix("usage: ")
        self.usage = f"{' '.join(short.split())} [OPTION ...]".replace("%", "%%")


def _options(words: Sequence[str]) -> list[str]:
    """Those of the words that argparse takes for options, without their values."""
    before = words[: words.index("--")] if "--" in words else words
    names = (word.partition("=")[0] for word in before)
    return [name for name in names if _OPTION.fullmatch(name)]
