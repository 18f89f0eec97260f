"""Services whose output nobody reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge.keys import Keys
from bridge.model import Channel, Control, ControlEvent
from consumers.books import BookKeeper, as_text
from consumers.items import Entry
from consumers.wallet_lines import as_json
from consumers.wallet_lines import as_text as line_of
from tests.consumers.streams import Stream
from tests.e2e.harness import eventually
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer

Start = Callable[..., subprocess.Popen[bytes]]
EVIL = "\x1b]0;OWNED\x07\u009b31m\u202e"


@pytest.fixture
def stream(redis_server: RedisServer) -> Iterator[Stream]:
    with redis_server.client() as client:
        yield Stream(client, Channel.BOOK)


@pytest.fixture
def start(redis_server: RedisServer) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(**streams: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "consumers.books", "--redis", redis_server.url, "--http", "off"]
        words = [*command, "--interval", "0.01", "--every", "0.1"]
        process = subprocess.Popen(words, env=clean_environment(), **streams)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def _nobody() -> dict[str, Any]:
    _, stuck = os.pipe()
    os.set_blocking(stuck, False)
    try:
        while True:
            os.write(stuck, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(stuck, True)
    return {"stdout": stuck, "stderr": stuck}


def _full() -> dict[str, Any]:
    full = os.open("/dev/full", os.O_WRONLY)
    return {"stdout": full, "stderr": full}


def _closed() -> dict[str, Any]:
    return {"preexec_fn": lambda: (os.close(1), os.close(2))}


@pytest.mark.parametrize("streams", [_nobody, _full, _closed])
def test_the_late_join_hash_is_kept_and_signals_end_it(redis_server, stream, start, streams) -> None:
    stream.snapshot("10:1", "11:3")
    process = start(**streams())
    with redis_server.client() as client:
        client.hset("bridge:catalog", stream.key, "{}")
        snapshot = "md:{limitlex:BTC-EUR}:book:snapshot"
        for _ in range(3):
            before = client.hget(snapshot, "id")
            stream.delta(f"{9 + stream.seq % 2}:{stream.seq}")
            eventually(lambda before=before: client.hget(snapshot, "id") not in (None, before), "a newer hash")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_what_an_entry_says_does_not_act_on_the_terminal() -> None:
    stream = Keys().parse("acct:{limitlex:main}:orders")
    assert stream is not None
    entry = Entry("k", stream, "1-1", 1, Control("main", None, 1, Channel.ORDERS, ControlEvent.DOWN, EVIL))
    keeper = BookKeeper(stream)
    keeper.reason = EVIL
    for line in (line_of(entry), as_json(entry), as_text(keeper, 1)):
        assert line.isprintable()
        assert "OWNED" in line
    assert json.loads(as_json(entry))["reason"] == EVIL
