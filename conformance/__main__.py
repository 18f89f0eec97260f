"""``python -m conformance``: plays the cases with a subject, and reports which of them it passes."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from redis.exceptions import RedisError

from bridge.errors import BridgeError
from bridge.redis.topology import RedisUrlError
from conformance.cases import FOLDER, Case, CaseError, find, load
from conformance.play import Outcome, Player
from conformance.report import as_json, lines, row, summary
from conformance.server import ServerError, own_server, users_server
from conformance.subject import SubjectError

__all__ = ["main"]

_DESCRIPTION = """Plays the conformance cases with a subject, a program that wraps a client library.
conformance/README.md says how to write one."""
_OWN = f"{shlex.quote(sys.executable)} -m conformance.python_subject"


class _Parser(argparse.ArgumentParser):
    """Ends with exit code 1 after a wrong argument, as all our commands do."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line. Exit codes: 0 all passed, 1 not all or a wrong argument, 2 no Redis."""
    args = _parse(argv)
    try:
        cases = [load(path) for path in find(args.cases, args.folder)]
        if args.list:
            width = max(len(case.name) for case in cases)
            print("\n".join(f"{case.name:{width}}  {case.title}" for case in cases))
            return 0
        return _run(args, cases)
    except (CaseError, SubjectError, RedisUrlError) as error:
        _complain(error)
        return 1
    except (ServerError, BridgeError, RedisError) as error:
        _complain(error)
        return 2
    except KeyboardInterrupt:
        return 130


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser("python -m conformance", description=_DESCRIPTION)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="names of cases, or files (default: all)")
    parser.add_argument(
        "--subject", metavar="COMMAND", default=_OWN, help="how to start the subject (default: the one for Python)"
    )
    parser.add_argument("--redis", metavar="URL", help="an empty database to use (default: a server for this run)")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=30.0, help="for each answer (default: 30)"
    )
    parser.add_argument("--strict", action="store_true", help="a part that the subject does not have is a failure")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--list", action="store_true", help="list the cases, and run nothing")
    parser.add_argument("--folder", metavar="DIR", type=Path, default=FOLDER, help="another folder of cases")
    args = parser.parse_args(argv)
    try:
        args.subject = shlex.split(args.subject)
    except ValueError as error:
        parser.error(f"argument --subject: {error}")
    if not args.subject:
        parser.error("argument --subject: is empty")
    return args


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above zero")
    return value


def _run(args: argparse.Namespace, cases: Sequence[Case]) -> int:
    width = max(len(case.name) for case in cases)
    outcomes: list[Outcome] = []
    with (
        users_server(args.redis) if args.redis else own_server() as (url, client),
        Player(client, url, args.subject, args.timeout) as player,
    ):
        name = player.introduce()
        for case in cases:
            outcome = player.play(case)
            if args.strict and outcome.skipped:
                outcome.problems.append(f"without {', '.join(outcome.skipped)}, and --strict asks for all parts")
            outcomes.append(outcome)
            if not args.json:
                print("\n".join([row(outcome, width), *lines(outcome)]), flush=True)
        print(as_json(name, outcomes) if args.json else f"\n{summary(name, outcomes)}", flush=True)
        player.end()
    return int(any(outcome.problems for outcome in outcomes))


def _complain(error: Exception) -> None:
    print(f"conformance: {error}", file=sys.stderr)
    for line in error.stderr if isinstance(error, SubjectError) else ():
        print(f"conformance: stderr: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
