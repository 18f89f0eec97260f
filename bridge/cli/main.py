"""``tickbridge``: runs a command and turns its outcome into an exit code.

0 is success, 1 a mistake of the user (arguments, config), 2 the environment (Redis or an exchange is unreachable).
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from bridge import __version__
from bridge.cli.parser import USER_MISTAKE, Parser
from bridge.process.starting import quick_imports
from bridge.suggestions import nearest

__all__ = ["COMMANDS", "GROUPS", "command_parser", "main", "parse"]

GROUPS = {
    "set up": {
        "init": "write a first config, with comments",
        "check": "validate a config; with --connect, also try Redis and the exchanges",
        "exchanges": "list the exchanges, their channels, and how far holes in their books are noticed",
        "pairs": "list the pairs of an exchange",
        "schema": "print the schema of the config, for editors, or of the streams, for programs",
        "completion": "print a completion script for a shell",
        "size": "estimate what Redis memory, CPU and network a config needs",
        "acl": "print Redis users with the minimum rights for connectors, readers, consumers, operators",
    },
    "run": {
        "up": "connect to exchanges now: a server, connectors, books and a live view, without a config",
        "run": "run connectors, which write exchange feeds to Redis Streams",
        "handover": "let the standby of a connector take over",
        "record": "record the live connections of a connector",
    },
    "read": {
        "top": "watch streams and connectors on a terminal",
        "status": "say whether all streams are live and all connectors run",
        "doctor": "collect versions, config, states and log lines in one file for an issue report, without secrets",
        "streams": "list the streams, with their state, newest entry and rate",
        "tail": "show entries as they arrive",
        "books": "keep order books, show them, keep the late-join hashes up to date",
        "wallets": "keep balances, positions, open orders and fills in a hash for each account",
        "web": "serve the streams to browsers, and a page that shows them",
        "candles": "build candles from trades, as streams of their own",
        "parquet": "keep hourly Parquet files of every stream",
        "nautilus": "write trades, quotes and candles in the form that NautilusTrader reads",
        "export": "write streams into files: Parquet, CSV or JSON lines",
    },
    "try out": {
        "demo": "run everything on this machine, with nothing else installed",
        "simulate": "run a simulated exchange, WebSocket and REST",
        "chaos": "let everything fail on purpose, and audit the streams",
        "replay": "serve a recording as its exchange would",
    },
}
"""Title → command → one line of help. A command is the module of its name in this package, with
``add_parser(subparsers)``, which sets ``func``. It is imported only when needed, so that the help is fast."""

COMMANDS = {name: words for group in GROUPS.values() for name, words in group.items()}
"""Command → one line of help."""

_DONE, _USER = 0, USER_MISTAKE
_ENVIRONMENT = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code. ``--help``, ``--version`` and usage errors raise ``SystemExit``.

    Without arguments it prints the help and returns 1, like git: nothing was done, and a script with an empty variable
    should notice.
    """
    _accept_any_text()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        _top_parser().print_help()
        return _flushed(_USER)
    with quick_imports():
        try:
            options = parse(arguments)
        except SystemExit as end:
            sys.exit(_flushed(int(end.code or _DONE)))
        return _run(options)


def _accept_any_text() -> None:
    """Let characters that the encoding of standard output or error lacks be escaped, not be an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line (without ``tickbridge``); ``func`` of the result runs it.

    Raises:
        SystemExit: help or the version was shown (0), or there is a mistake (1).
    """
    name = arguments[0] if arguments else ""
    if name not in COMMANDS:
        _explain(name, arguments[1:])
    options: argparse.Namespace = command_parser(name).parse_args(arguments[1:])
    return options


def _explain(name: str, rest: Sequence[str]) -> NoReturn:
    """Show help or version, or report a wrong command, and exit."""
    top = _top_parser()
    if name == "help":
        (command_parser(rest[0]) if rest and rest[0] in COMMANDS else top).print_help()
        sys.exit(_DONE)
    if name.startswith("-"):
        top.parse_args([name])
        top.mistake("options follow a command, as in 'tickbridge check --config FILE'")
    close = nearest(name, COMMANDS)
    hint = f"did you mean {close!r}?" if close else "'tickbridge --help' lists them"
    top.mistake(f"no command {name!r}; {hint}")


def command_parser(name: str) -> Parser:
    """The parser of one command."""
    parents = Parser(prog="tickbridge", add_help=False).add_subparsers()
    import_module(f"bridge.cli.{name}").add_parser(parents)
    parser: Parser = parents.choices[name]
    return parser


def _top_parser() -> Parser:
    width = max(map(len, COMMANDS)) + 2
    lines = ["Writes exchange feeds to Redis Streams, each event exactly once, and builds books and wallets from them."]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:{width}}{words}" for name, words in commands.items())]
    parser = Parser(
        prog="tickbridge",
        usage="tickbridge [--help] [--version] COMMAND [OPTION ...]",
        description="\n".join(lines),
        epilog="'tickbridge COMMAND --help' shows the options of a command.\n"
        "Exit codes: 0 done, 1 a mistake in config or arguments, 2 Redis or an exchange is unreachable.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tickbridge {__version__}")
    return parser


def _run(options: argparse.Namespace) -> int:
    from bridge.process.output import open_missing_streams, queued_output

    open_missing_streams()
    if not getattr(options, "long_running", False):
        return _flushed(_outcome(options))
    with queued_output(_report_dropped):
        return _outcome(options)


def _outcome(options: argparse.Namespace) -> int:
    from bridge.errors import BridgeError
    from bridge.redaction import presentable

    try:
        code: Any = options.func(options)
    except BridgeError as error:
        _complain(f"tickbridge: {presentable(str(error), lines=True)}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _closed_pipe()
    except OSError as error:
        return _unusable(error)
    except Exception:  # noqa: BLE001  (Python's own traceback might show secrets, and would exit with 1)
        return _crash()
    return _DONE if code is None else int(code)


def _flushed(code: int) -> int:
    """The exit code, after a flush: Python would report a failure only during its shutdown."""
    _complain("")
    if sys.stdout is None:
        return code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _closed_pipe()
    except OSError as error:
        unwritten = _unwritten(error)
        return code or unwritten
    return code


def _unusable(error: OSError) -> int:
    """Report that a file cannot be used, or output not be written; any other error is a bug."""
    from bridge.files import OF_THE_MACHINE
    from bridge.printable import printable

    of_the_machine = error.errno in OF_THE_MACHINE
    if error.filename is None:
        return _unwritten(error) if of_the_machine else _crash()
    verb = "write" if of_the_machine else "use"
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    _complain(f"tickbridge: cannot {verb} {printable(path)}: {error.strerror}; choose another place\n")
    return _ENVIRONMENT if of_the_machine else _USER


def _unwritten(error: OSError) -> int:
    """Report that output cannot be written, for example because the disk is full."""
    if sys.stdout is not None:
        _closed_pipe()
    _complain(f"tickbridge: cannot write: {error.strerror or error}\n")
    return _ENVIRONMENT


def _closed_pipe() -> int:
    """End without an error when the reader of the output is gone (``tickbridge tail | head``)."""
    # Python flushes stdout at exit, and would fail again.
    _redirect_to_null(sys.stdout.fileno())
    return _DONE


def _redirect_to_null(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _report_dropped(stream: str, count: int) -> None:
    from bridge.process.logs import report_dropped

    report_dropped(stream, count)


def _complain(text: str) -> None:
    if sys.stderr is not None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # nobody reads it, and Python must not fail again at exit
            _redirect_to_null(sys.stderr.fileno())


def _crash() -> int:
    import traceback

    from bridge.process.logs import presentable_traceback

    _complain(
        f"{presentable_traceback(traceback.format_exc())}"
        "tickbridge: this is a bug in tickbridge; please report it with the lines above\n"
    )
    return _ENVIRONMENT
