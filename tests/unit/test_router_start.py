"""A connector that starts at the moment when Redis stops accepting writes says so in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from bridge.errors import RedisUnavailableError
from bridge.redis.catalog import Catalog
from tests.servers import RedisServer
from tests.unit.routers import opened


async def test_a_catalog_that_is_refused_is_explained(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a master that its replicas have just left."""

    async def refused(*_: object) -> bool:
        raise ResponseError("NOREPLICAS Not enough good replicas to write.")

    monkeypatch.setattr(Catalog, "show", refused)
    with pytest.raises(RedisUnavailableError, match="NOREPLICAS"):
        async with opened(redis_server, tmp_path):
            pass
