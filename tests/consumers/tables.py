"""Rows of exported files, read back as the entries that they were."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["entries", "raw", "rows_of"]

OWN = ("ms", "seq", "extra")
TIMES = ("ts", "recv")


def raw(client, key: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """All entries of a stream: ID, and names and values sorted, also those that are there twice."""
    reply = client.connection_pool.get_connection()
    try:
        reply.send_command("XRANGE", key, "-", "+")
        found = reply.read_response()
    finally:
        client.connection_pool.release(reply)
    return [(entry_id, sorted(zip(flat[::2], flat[1::2], strict=True))) for entry_id, flat in found]


def entries(rows: list[dict[str, Any]], *, ours: bool = True) -> list[tuple[str, list[tuple[str, str]]]]:
    """The same out of rows of a table, as docs/how-to/export-to-files.md says."""
    return [rows_of(row, ours=ours) for row in rows]


def rows_of(row: dict[str, Any], *, ours: bool) -> tuple[str, list[tuple[str, str]]]:
    extra = json.loads(row["extra"], object_pairs_hook=list) if row["extra"] else []
    fields = [(name, str(value)) for name, value in row.items() if name not in OWN and value is not None]
    said = {name for name, _ in extra}
    fields += [(name, "") for name in TIMES if ours and row[name] is None and name not in said]
    fields += [(name, text) for name, text in extra if text is not None]
    return f"{row['ms']}-{row['seq']}", sorted(fields)
