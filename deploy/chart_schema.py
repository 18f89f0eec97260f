"""Writes the exchanges' part of the chart's schema: ``python3 dev.py chart [--check]``.

Everything in ``helm/tickbridge/values.schema.json`` that follows from the exchanges and channels comes from the models of
the config: names, channels, each exchange's options, retention and silence. The rest of that file is written by hand.
``--check`` writes nothing and says whether the file is up to date, exit 1 if not.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bridge.config.schema import config_schema
from bridge.exchanges import families, names
from bridge.model import CONNECTOR_CHANNELS, PUBLIC_CHANNELS

__all__ = ["PATH", "generated", "main"]

PATH = Path(__file__).parents[1] / "helm" / "tickbridge" / "values.schema.json"


def main(arguments: list[str] | None = None) -> int:
    """Write the schema, or check it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="chart", description="Write the exchanges' part of the chart's schema.")
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    options = parser.parse_args(arguments)
    text = PATH.read_text(encoding="utf-8")
    wanted = generated(text)
    if options.check and wanted != text:
        print(f"{PATH.name}: the exchanges have changed; run: python3 dev.py chart", file=sys.stderr)
        return 1
    if not options.check:
        PATH.write_text(wanted, encoding="utf-8")
        print(f"{PATH.name}: written")
    return 0


def generated(text: str) -> str:
    """The schema ``text`` with the exchanges' part as the models have it."""
    schema: dict[str, Any] = json.loads(text)
    definitions, connector = schema["definitions"], schema["definitions"]["connector"]
    definitions["exchange"] = {"enum": sorted(names())}
    families_of = [{"type": "string", "pattern": f"^{prefix.replace('.', '[.]')}[a-z0-9]+$"} for prefix in families()]
    definitions["anyExchange"] = {"anyOf": [{"$ref": "#/definitions/exchange"}, *families_of]}
    definitions["channel"] = {"enum": [str(channel) for channel in CONNECTOR_CHANNELS if channel in PUBLIC_CHANNELS]}
    rules = config_schema()["properties"]["connectors"]["items"]["allOf"]
    connector["allOf"] = [_rule(rule) for rule in rules]
    connector["properties"]["silence"]["properties"] = _of_each_channel("silence")
    schema["properties"]["config"]["properties"]["retention"]["properties"] = _of_each_channel("limits")
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _of_each_channel(definition: str) -> dict[str, Any]:
    return {str(channel): {"$ref": f"#/definitions/{definition}"} for channel in CONNECTOR_CHANNELS}


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    """What an exchange says of its connectors, in the chart's dialect (draft 7, no nulls)."""
    return {
        "if": rule["if"],
        "then": {"properties": {key: _plain(of) for key, of in rule["then"]["properties"].items()}},
    }


def _plain(schema: Any) -> Any:
    """Without ``null``, which Helm takes for "as in values.yaml", and without defaults, which it doesn't read."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema if each not in (None, "null", {"type": "null"})]
    if not isinstance(schema, dict):
        return schema
    found = {key: _plain(value) for key, value in schema.items() if key != "default"}
    kinds = found.get("type")
    if isinstance(kinds, list) and len(kinds) == 1:
        found["type"] = kinds[0]
    if found.get("type") == "object":
        found.setdefault("additionalProperties", True)
    if found.get("additionalProperties") == {}:
        found["additionalProperties"] = True
    if any("ms|s|m|h|d" in str(each.get("pattern")) for each in found.get("anyOf", ())):
        return {**_kept(found), "$ref": "#/definitions/duration"}
    return found


def _kept(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: schema[key] for key in ("description",) if key in schema}


if __name__ == "__main__":
    sys.exit(main())
