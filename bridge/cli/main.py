"""``tickbridge``: finds the command, runs it, and turns its outcome into an exit code.

0 is done, 1 a user's mistake (arguments, config), 2 the environment (Redis or an exchange out of reach).
"""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn

from bridge import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "run": "run connectors: exchange sockets into Redis Streams",
    "check": "say what is wrong with a config; with --connect try Redis and the exchanges too",
    "demo": "the whole thing on this machine, with nothing else installed",
    "simulate": "a simulated exchange, WebSocket and REST",
    "replay": "serve a recording as its exchange would",
    "record": "record a connector's live sockets",
    "tail": "show entries as they come",
    "acl": "print Redis users with the least rights for connectors, readers, consumers, operators",
}
"""Command → one line of help. Each is a module here with ``add_parser(subparsers)``, which sets ``func``."""

_DONE, _USER, _ENVIRONMENT = 0, 1, 2
_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose usage errors exit with 1, like every other mistake of the user's."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_USER, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. ``--help``, ``--version`` and usage errors leave by ``SystemExit``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser(arguments).parse_args(arguments)
    return _run(options)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; only the command that is asked for is imported, so that help comes at once."""
    parser = _Parser(
        prog="tickbridge",
        description="Exchange WebSockets into Redis Streams, each event exactly once; out again as books and wallets.",
        epilog="Exit codes: 0 done, 1 a mistake in config or arguments, 2 Redis or an exchange is out of reach.",
    )
    parser.add_argument("--version", action="version", version=f"tickbridge {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, help_text in COMMANDS.items():
        module = f"bridge.cli.{name}"
        if find_spec(module) is None:
            continue
        if name == wanted:
            import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=help_text)
    return parser


def _run(options: argparse.Namespace) -> int:
    from bridge.output import open_missing_streams, queued_output

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
        return _unwritten(error) if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else _crash()
    except Exception:  # noqa: BLE001  (the last resort: Python's own traceback would show secrets and exit with 1)
        return _crash()
    return _DONE if code is None else int(code)


def _flushed(code: int) -> int:
    """The code, unless what was printed can't be written: Python would say so in the middle of its own end."""
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


def _unwritten(error: OSError) -> int:
    """The disk is full, say."""
    if sys.stdout is not None:
        _closed_pipe()
    _complain(f"tickbridge: cannot write: {error.strerror or error}\n")
    return _ENVIRONMENT


def _closed_pipe() -> int:
    """The reader of our output went away (``tickbridge tail | head``): that is an end, not an error."""
    # Python flushes stdout at exit and would complain there once more.
    _nowhere(sys.stdout.fileno())
    return _DONE


def _nowhere(descriptor: int) -> None:
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _report_dropped(stream: str, count: int) -> None:
    from bridge.logs import report_dropped

    report_dropped(stream, count)


def _complain(text: str) -> None:
    if sys.stderr is not None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # there is nobody to tell; Python must not fail over it once more at its end
            _nowhere(sys.stderr.fileno())


def _crash() -> int:
    import traceback

    from bridge.logs import presentable_traceback

    _complain(
        f"{presentable_traceback(traceback.format_exc())}"
        "tickbridge: this is a bug in tickbridge; please report it with the lines above\n"
    )
    return _ENVIRONMENT
