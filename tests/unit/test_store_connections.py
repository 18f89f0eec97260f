"""Over which connections a connector takes its lease, and reads how far the streams are."""

from __future__ import annotations

import pytest
import structlog

from bridge.config import load_settings
from bridge.connector.store import Store


@pytest.mark.parametrize(
    ("url", "same"),
    [("redis://h", True), ("redis+sentinel://a,b/m", True), ("redis+cluster://a,b", False)],
)
def test_the_lease_is_taken_where_the_streams_are_read(url: str, same: bool) -> None:
    """Two sets of connections may be to two masters, of which one was replaced and does not know it."""
    store = Store(load_settings(None, {"TICKBRIDGE_REDIS__URL": url}), "x", "okx", structlog.get_logger())
    assert (store.lease._client is store.client) == same
