"""Searching everything that a run has left behind for secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import redis
import zstandard

__all__ = ["find_secrets", "texts_of"]

_SIGNATURE = re.compile(rb"(?<![0-9a-f])[0-9a-f]{96}(?![0-9a-f])")
"""Hex HMAC-SHA384, as log-ins and REST calls are signed with."""


def find_secrets(secrets: Iterable[str], client: redis.Redis, files: Iterable[Path]) -> tuple[int, list[str]]:
    """Look through every key of Redis and every file.

    Returns:
        How many bytes were searched, and where something was found.
    """
    needles = [secret.encode() for secret in secrets]
    assert all(len(needle) > 8 for needle in needles), "too short to be told from anything else"
    searched, found = 0, []
    for where, data in [*texts_of(client), *((str(path), _content(path)) for path in files)]:
        searched += len(data)
        found += [f"a secret stands in {where}" for needle in needles if needle in data]
        found += [f"a signature stands in {where}: {match[0][:8]!r}…" for match in [_SIGNATURE.search(data)] if match]
    return searched, found


def texts_of(client: redis.Redis) -> Iterator[tuple[str, bytes]]:
    """Every key with its name and all that is in it."""
    for key in client.scan_iter("*"):
        kind = client.type(key)
        content: object
        if kind == "stream":
            content = client.xrange(key)
        elif kind == "hash":
            content = client.hgetall(key)
        else:
            content = client.get(key) if kind == "string" else client.dump(key)
        yield f"the key {key}", f"{key} {content}".encode(errors="replace")


def _content(path: Path) -> bytes:
    if path.suffix == ".zst":
        with path.open("rb") as packed:
            return zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read()
    return path.read_bytes()
