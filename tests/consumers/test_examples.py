"""The examples of the page about reading in Python do what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bridge.model import Channel
from tests.consumers.streams import Stream
from tests.environment import clean_environment
from tests.servers import RedisServer
from tests.unit.doc_pages import DOCS, ROOT, blocks

EXAMPLES = blocks(DOCS / "how-to" / "read-in-python.md", "python")
URL = "redis://127.0.0.1:6379/0"
PRINTED = [
    "1786309548001-1 buy 0.10 at 7994.50\n",
    "([('10', '1')], [('11', '1')])\n",
    "Entry(key='md:{coinbase:BTC-USD}:trades', ",
    "md:{coinbase:BTC-USD}:book Entry(",
]


@pytest.mark.parametrize(("example", "printed"), list(zip(EXAMPLES, PRINTED, strict=True)))
def test_an_example(example, printed, redis_server: RedisServer) -> None:
    assert URL in example
    with redis_server.client() as client:
        trades, book = Stream(client, Channel.TRADES), Stream(client, Channel.BOOK)
        trades.key, book.key = "md:{coinbase:BTC-USD}:trades", "md:{coinbase:BTC-USD}:book"
        for stream in (trades, book):
            client.hset("bridge:catalog", stream.key, "{}")
        trades.trades(1)
        book.snapshot("10:1 9:1", "11:1")
    command = [sys.executable, "-u", "-c", example.replace(URL, redis_server.url)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment()) as process:
        assert process.stdout
        try:
            assert process.stdout.readline().startswith(printed)
        finally:
            process.kill()
