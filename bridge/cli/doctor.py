"""``tickbridge doctor``: collects what an issue report needs in one file, without secrets."""

from __future__ import annotations

import argparse
import io
import os
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.cli.common import add_config_option
from bridge.files import naming

if TYPE_CHECKING:
    from bridge.doctor.report import Section

__all__ = ["add_parser"]

_LINES = 200
_STDIN = "-"


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="collect versions, config, states and log lines in one file for an issue report, without secrets",
        description="Writes versions, the effective config, the states of connectors and streams, the last control "
        "entries and log lines into one file for an issue report. Secrets are masked; read it before you send it.",
    )
    add_config_option(parser, required=False)
    parser.add_argument(
        "--log",
        metavar="FILE",
        action="append",
        default=[],
        help="a log whose last lines are included; - for standard input; may be repeated",
    )
    parser.add_argument("--lines", metavar="N", type=int, default=_LINES, help=f"lines of each log (default: {_LINES})")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="where to write; - for standard output (default: a new tickbridge-doctor-….txt)",
    )
    parser.set_defaults(func=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Write the report. What cannot be had is said in it, and is no error: it is what the report is for.

    Raises:
        ConfigError: a log cannot be read, the file to write exists, or an argument makes no sense.
    """
    from bridge.doctor.secrets import learn
    from bridge.errors import ConfigError, Problem

    if options.lines < 1:
        raise ConfigError([Problem("--lines", "should be at least 1")], "arguments")
    learn(options.config, os.environ)
    text = "".join(_written(section) for section in _sections(options))
    now = datetime.now(UTC)
    target = options.output or f"tickbridge-doctor-{now:%Y%m%d-%H%M%S}.txt"
    if target == _STDIN:
        print(text, end="")
        return 0
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        hint = "give another --output" if isinstance(error, FileExistsError) else ""
        raise ConfigError([Problem(target, f"cannot write it: {error.strerror}", hint)], "--output") from None
    try:
        with naming(target), os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except BaseException:
        Path(target).unlink(missing_ok=True)
        raise
    print(f"{target}: read it before you attach it to an issue")
    return 0


def _sections(options: argparse.Namespace) -> list[Section]:
    from bridge.doctor.report import config_section, log_section, redis_sections, version_section
    from bridge.process.loops import run_async
    from bridge.redaction import register_secrets

    config, loaded = config_section(options.config, os.environ)
    sections = [version_section(os.environ), config]
    if loaded is None:
        sections.append(("Redis", ["not asked: the config is invalid"]))
    else:
        register_secrets(loaded.settings.secrets())
        sections += run_async(redis_sections(loaded))
    for name in options.log:
        with _opened(name) as file:
            sections.append(log_section("from standard input" if name == _STDIN else name, file, options.lines))
    return sections


def _opened(name: str) -> Any:
    from bridge.errors import ConfigError, Problem

    if name == _STDIN:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        return nullcontext(sys.stdin or io.StringIO())
    try:
        return Path(name).open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError([Problem(name, f"cannot read it: {error.strerror}")], "--log") from None


def _written(section: Section) -> str:
    heading, lines = section
    return "\n".join([f"## {heading}", "", *(f"    {line}" for line in lines), "", ""])
