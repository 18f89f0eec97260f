"""Describes commands for shell completion: their options, their positions, and possible values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Command", "Option", "Value"]

_NAMED = {
    "connector": "connector",
    "account": "account",
    "accounts": "account",
    "pair": "pair",
    ("books", "pairs"): "pair",
    ("candles", "pairs"): "pair",
}
"""Options and positions (``dest``, or command and ``dest``) that take names from the config."""


def _words(dest: str) -> tuple[str, ...]:
    """Suggestions for an option that also accepts other values, such as several words with commas."""
    from bridge.cli.tail import entry_types
    from bridge.demo.recorded import RECORDED
    from bridge.exchanges import names
    from bridge.model import PUBLIC_CHANNELS, SERVICE_CHANNELS, Channel
    from bridge.simulator import EXCHANGES

    return {
        "exchange": tuple(names()),
        "exchanges": (*EXCHANGES, "both", *RECORDED),
        "markets": tuple(names()),
        "types": entry_types(),
        "channel": tuple(map(str, Channel)),
        "channels": tuple(str(channel) for channel in PUBLIC_CHANNELS if channel not in SERVICE_CHANNELS),
    }.get(dest, ())


class Value:
    """The value of an option or position: words, files, names from the config, or anything."""

    def __init__(self, command: str, action: argparse.Action) -> None:
        self.words = tuple(str(choice) for choice in action.choices or ()) or _words(action.dest)
        self.files = action.type is Path or action.metavar == "FILE"
        names = _NAMED.get((command, action.dest)) or _NAMED.get(action.dest)
        self.names = "" if self.words or names is None else names
        self.many = action.nargs in ("*", "+") or isinstance(action.nargs, int)
        self.label = str(action.metavar or action.dest)


class Option:
    """An option: its spellings, its help in one line, and its value (``None``: a flag)."""

    def __init__(self, command: str, action: argparse.Action) -> None:
        self.names = tuple(action.option_strings)
        self.help = " ".join((str(action.help or "") % vars(action)).split())
        self.value = Value(command, action) if action.nargs != 0 else None


class Command:
    """A command: its help in one line, its options and its positions."""

    def __init__(self, name: str, words: str, actions: Sequence[argparse.Action]) -> None:
        self.name = name
        self.help = words
        shown = [action for action in actions if action.help is not argparse.SUPPRESS]
        self.options = [Option(name, action) for action in shown if action.option_strings]
        self.positions = [Value(name, action) for action in shown if not action.option_strings]
