"""``tickbridge schema``: prints the JSON Schema of the config, or the contract of the streams for programs."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["FORMATS", "add_parser", "schema_text", "streams_text"]

FORMATS = ("json-schema", "asyncapi")
"""The forms in which the streams are described."""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "schema",
        help="print the schema of the config, for editors, or of the streams, for programs",
        description="Prints a JSON Schema (draft 2020-12) of the config, with which editors complete it and mark "
        "mistakes in it; or the contract of the streams, from which programs make types and documentation.",
    )
    parser.add_argument("what", choices=("config", "streams"), metavar="config|streams", help="what is described")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="json-schema (the default), or asyncapi (3.0; streams only)",
    )
    parser.set_defaults(func=schema, parser=parser)


def schema(options: argparse.Namespace) -> int:
    """Print the schema."""
    if options.what == "streams":
        print(streams_text(options.format), end="")
        return 0
    if options.format != FORMATS[0]:
        options.parser.error("--format asyncapi is for the streams: tickbridge schema streams --format asyncapi")
    print(schema_text(), end="")
    return 0


def schema_text() -> str:
    """The schema of the config as text."""
    from bridge.config.schema import config_schema

    return _text(config_schema())


def streams_text(form: str) -> str:
    """The contract of the streams as text, in one of `FORMATS`."""
    if form == "asyncapi":
        from bridge.contract.asyncapi import asyncapi

        return _text(asyncapi())
    from bridge.contract.streams import streams_schema

    return _text(streams_schema())


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
