"""``tickbridge init``: writes a first config, and next to it the schema for editors."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from bridge.cli import values
from bridge.cli.common import DEFAULT_CONFIG
from bridge.files import naming

__all__ = ["DEFAULT_EXCHANGE", "add_parser"]

SCHEMA_FILE = "tickbridge.schema.json"
DEFAULT_EXCHANGE = "coinbase"
_OWN = 0o600
"""A config may later contain a key, or a URL with a password."""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    from bridge.exchanges import names

    parser = subparsers.add_parser(
        "init",
        help="write a first config, with comments",
        description="Writes a config that 'tickbridge run' accepts as it is, with comments and every default. Only you can "
        f"read it (mode 600). {SCHEMA_FILE} is written next to it and named in its first line: editors with a YAML "
        "language server use it to complete settings and mark mistakes, without network access.",
    )
    parser.add_argument(
        "--exchange",
        choices=names(),
        default=DEFAULT_EXCHANGE,
        help=f"{', '.join(names())} (default: {DEFAULT_EXCHANGE})",
        metavar="NAME",
    )
    parser.add_argument(
        "--pairs",
        nargs="+",
        action="extend",
        type=values.words,
        metavar="PAIR",
        help="BTC-USD ETH-USD, or BTC-USD,ETH-USD (default: two pairs of the exchange)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=DEFAULT_CONFIG,
        help="file to write; - for stdout, without a schema (default: ./tickbridge.yaml)",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.set_defaults(func=init)


def init(options: argparse.Namespace) -> int:
    """Write the config, or print it.

    Raises:
        ConfigError: a pair is not valid, the file exists, or its folder does not.
        OSError: a file cannot be written.
    """
    from bridge.config.written import config_template
    from bridge.errors import ConfigError, Problem
    from bridge.exchanges import exchange_type

    pairs = list(dict.fromkeys(pair for pairs in options.pairs or () for pair in pairs))
    _check(pairs)
    pairs = pairs or list(exchange_type(options.exchange).example_pairs)
    if str(options.output) == "-":
        print(config_template(options.exchange, pairs), end="")
        return 0
    output: Path = options.output
    if os.path.lexists(output) and not options.force:
        hint = "use --force to replace it, or --output FILE for another file"
        raise ConfigError([Problem("--output", f"{output} exists, and was not changed", hint)], "init")
    try:
        schema = _write_schema(output.with_name(SCHEMA_FILE), force=options.force)
        _write(output, config_template(options.exchange, pairs, SCHEMA_FILE), force=options.force)
    except (FileNotFoundError, NotADirectoryError) as error:
        words = f"cannot write {error.filename}: {error.strerror}"
        raise ConfigError([Problem("--output", words, "name a file in an existing folder")], "init") from None
    print(f"{output}: {options.exchange}, {', '.join(pairs)}")
    print(schema)
    config = "" if output == DEFAULT_CONFIG else f" --config {output}"
    print(
        f"next: tickbridge check{config} --connect; tickbridge run{config}; in another terminal: tickbridge tail{config}"
    )
    return 0


def _check(pairs: list[str]) -> None:
    """Check that these are valid names of pairs.

    Raises:
        ConfigError: some are not; it lists all of them.
    """
    from bridge.config.values import is_pair, likely_pair
    from bridge.errors import ConfigError, Problem

    wrong = [pair for pair in pairs if not is_pair(pair)]
    if wrong:
        problems = [
            Problem("--pairs", f"{pair!r} is not a pair", f"did you mean {likely!r}?" if likely else "write BTC-USD")
            for pair in wrong
            for likely in [likely_pair(pair)]
        ]
        raise ConfigError(problems, "init")


def _write_schema(path: Path, *, force: bool) -> str:
    """Write the schema, unless the file exists; returns a line about it."""
    from bridge.cli.schema import schema_text

    text = schema_text()
    if path.exists() and not force:
        same = path.read_text(encoding="utf-8", errors="replace") == text
        return (
            f"{path}: the schema, for editors" if same else f"{path}: differs, and was kept; use --force to replace it"
        )
    _write(path, text, force=force, mode=0o666)
    return f"{path}: its schema, for editors"


def _write(path: Path, text: str, *, force: bool, mode: int = _OWN) -> None:
    """Write a new file; with ``force``, replace an existing one atomically."""
    target = path.with_name(f".{path.name}.{os.getpid()}") if force else path
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with naming(path), os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if force:
            target.replace(path)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
