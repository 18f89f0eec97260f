"""A hook of MkDocs: a page on the schema of the streams, made of the schema itself, and the schema as files beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

__all__ = ["on_files"]

ROOT = Path(__file__).parents[1]
PAGE = "reference/streams-schema.md"
JSON_SCHEMA = "reference/streams.schema.json"
ASYNCAPI = "reference/streams.asyncapi.json"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page and the two files."""
    sys.path.insert(0, str(ROOT))  # the product need not be installed: the model needs nothing but msgspec
    from bridge.contract.asyncapi import asyncapi  # noqa: PLC0415 - after the path is set
    from bridge.contract.streams import streams_schema  # noqa: PLC0415

    schema = streams_schema()
    made = {
        PAGE: "\n".join(_page(schema)),
        JSON_SCHEMA: json.dumps(schema, indent=2, ensure_ascii=False),
        ASYNCAPI: json.dumps(asyncapi(), indent=2, ensure_ascii=False),
    }
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def _page(schema: dict[str, Any]) -> Iterator[str]:
    yield "# Schema of the streams\n"
    yield (
        "This page is made from the schema that `tickbridge schema streams` prints. As files: "
        f"[JSON Schema]({Path(JSON_SCHEMA).name}) (draft 2020-12) and [AsyncAPI 3.0]({Path(ASYNCAPI).name}). "
        "What the values mean is explained under [Streams](streams.md).\n"
    )
    entry_id = schema["x-entry-id"]
    yield f"The ID of an entry is `{entry_id['template']}`. {entry_id['description']}\n"
    yield "## Streams\n"
    yield "| channel | key | types |\n|---|---|---|"
    for channel, stream in schema["x-streams"].items():
        types = " ".join(f"[`{name}`](#{name})" for name in stream["types"])
        yield f"| {channel} | `{stream['template']}` | {types} |"
    yield "\n## Types\n"
    for name, entry in schema["$defs"].items():
        yield from _type(name, entry)


def _type(name: str, entry: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    yield entry["description"].replace("\n", "\n\n") + "\n"
    yield "| field | value |\n|---|---|"
    for field, value in entry["properties"].items():
        further = " Only in streams that have it." if field in entry["x-further-fields"] else ""
        yield f"| `{field}` | {_value(value)}{further} |"
    yield ""


def _value(value: dict[str, Any]) -> str:
    if "const" in value:
        return f"`{value['const']}`"
    words = " ".join(f"`{word}`" for word in value.get("enum", ()) if word)
    return " ".join(part for part in (words and f"{words}.", value.get("description", "")) if part) or "Text."
