"""``tickbridge schema``: prints the JSON Schema of the config."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["add_parser", "schema_text"]


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "schema",
        help="print the JSON Schema of the config, for editors",
        description="Prints a JSON Schema (draft 2020-12), with which editors complete a config and mark mistakes in it.",
    )
    parser.add_argument("what", choices=("config",), metavar="config", help="schema of the config file")
    parser.set_defaults(func=schema)


def schema(options: argparse.Namespace) -> int:
    """Print the schema."""
    del options
    print(schema_text(), end="")
    return 0


def schema_text() -> str:
    """The schema of the config as text."""
    from bridge.config.schema import config_schema

    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"
