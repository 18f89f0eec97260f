"""``tickbridge completion``: completion scripts for shells, made from the parsers of the commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bridge.cli.common import add_config_option
from bridge.cli.described import Command

__all__ = ["add_parser"]

_USE = """\
bash:  tickbridge completion bash > ~/.local/share/bash-completion/completions/tickbridge
       or, for this shell only:  source <(tickbridge completion bash)
zsh:   tickbridge completion zsh > "${fpath[1]}/_tickbridge"
       or, after compinit:  source <(tickbridge completion zsh)
fish:  tickbridge completion fish > ~/.config/fish/completions/tickbridge.fish
"""
_KINDS = ("connector", "account", "pair")


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Prints a script with which a shell completes commands, options, their values, and names from the "
        "config.",
        epilog=_USE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", nargs="?", help="bash, zsh or fish")
    # Used by the scripts themselves.
    parser.add_argument("--names", choices=_KINDS, help=argparse.SUPPRESS)
    add_config_option(parser, required=False)
    parser.set_defaults(func=completion)


def completion(options: argparse.Namespace) -> int:
    """Print the script, or, for use by a script, the names of a kind.

    Raises:
        ConfigError: no shell is given.
    """
    if options.names:
        return _print_names(options.names, options.config)
    from bridge.cli.shells import bash, fish, zsh
    from bridge.errors import ConfigError, Problem

    if options.shell is None:
        raise ConfigError([Problem("SHELL", "is missing", "bash, zsh or fish")], "arguments")
    script: Callable[[Sequence[Command]], str] = {"bash": bash, "zsh": zsh, "fish": fish}[options.shell]
    print(script(_commands()), end="")
    return 0


def _print_names(kind: str, config: Path | None) -> int:
    """Print the names of a kind from the config, or nothing if it cannot be read."""
    from bridge.config import load_settings
    from bridge.errors import ConfigError

    try:
        settings = load_settings(config)
    except ConfigError:
        return 0
    names = {
        "connector": [connector.name for connector in settings.connectors],
        "account": list(settings.accounts),
        "pair": list(dict.fromkeys(pair for connector in settings.connectors for pair in connector.pairs)),
    }
    if names[kind]:
        print(*names[kind], sep="\n")
    return 0


def _commands() -> list[Command]:
    from bridge.cli.main import COMMANDS, command_parser

    return [Command(name, words, command_parser(name).actions) for name, words in COMMANDS.items()]
