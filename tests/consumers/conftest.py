"""What several of these tests begin with."""

from __future__ import annotations

import pytest

from tests.consumers.accounts import Account
from tests.servers import RedisServer


@pytest.fixture
def account(redis_server: RedisServer):
    with redis_server.client() as client:
        yield Account(client)
