from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from bridge.exchange_errors import FrameError, ReportedError
from bridge.keys import Keys
from bridge.redaction import forget_secrets, register_secret
from bridge.redis.lease import Lease, new_instance
from bridge.redis.rejects import Rejects
from tests.patience import PATIENCE
from tests.servers import RedisServer

KEY = "bridge:rejects:x"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as found:
        yield found


@pytest.fixture
def clock():
    return Clock()


async def leased(client: Redis) -> Lease:
    lease = Lease(client, Keys(), "c", 2.0, new_instance())
    await lease.take(None, None, lambda pipe: pipe.hset("bridge:connector:c", "beat", 0))
    return lease


@pytest.fixture
async def rejects(client, clock):
    made = Rejects(await leased(client), KEY, "c", clock)
    task = asyncio.create_task(made.write(0.01))
    yield made
    task.cancel()
    await asyncio.wait([task])
    forget_secrets()


async def written(client, count):
    async with asyncio.timeout(PATIENCE):
        while await client.xlen(KEY) < count:
            await asyncio.sleep(0.01)
    return [fields for _, fields in await client.xrange(KEY)]


async def test_a_frame_is_kept_with_what_is_wrong(client, rejects):
    rejects.add("m", FrameError("x", b"not json", "no JSON"), 7)
    [fields] = await written(client, 1)
    assert fields == {
        "recv": "7",
        "connector": "c",
        "connection": "m",
        "error": "x: no JSON",
        "raw": "not json",
        "omitted": "0",
    }


async def test_of_a_storm_some_are_written_and_all_are_counted(client, rejects, clock):
    error = FrameError("x", b"not json", "no JSON")
    for _ in range(1000):
        rejects.add("m", error, 7)
    assert (rejects.count, rejects.omitted) == (1000, 900)
    await written(client, 100)
    clock.now += 1
    for _ in range(1000):
        rejects.add("m", error, 7)
    entries = await written(client, 105)
    assert (rejects.count, rejects.omitted) == (2000, 1895)
    assert [fields["omitted"] for fields in entries[99:]] == ["0", "900", "0", "0", "0", "0"]


async def test_a_large_frame_is_cut_without_cutting_a_secret(client, rejects):
    register_secret("hunter22")
    frame = b"x" * 16_380 + b"hunter22" + b"y" * 5_000_000
    rejects.add("m", FrameError("x", frame, frame.decode() + "\x1b[2J"), 7)
    rejects.add("m", FrameError("x", "株".encode() * 1_000_000, ""), 7)
    rejects.add("m", FrameError("x", b"\xff" * 1_000_000, ""), 7)
    for fields in await written(client, 3):
        assert len(fields["raw"].encode()) <= 16_384
        assert len(fields["error"].encode()) <= 2_048
        assert "hunter" not in fields["raw"]


async def test_while_redis_is_away_they_wait_and_then_are_counted(clock, own_server: RedisServer):
    async with (
        Redis.from_url(own_server.url, decode_responses=True) as client,
        Redis.from_url(own_server.url, decode_responses=True) as writer,
    ):
        rejects = Rejects(await leased(writer), KEY, "c", clock)
        own_server.stop()
        task = asyncio.create_task(rejects.write(0.01))
        for number in range(1000):
            clock.now += 1
            rejects.add("m", FrameError("x", b"not json", "no JSON"), number)
        assert rejects.omitted == 800
        own_server.restart()
        kept = 1000 - rejects.omitted
        entries = await written(client, kept)
        assert [int(fields["recv"]) for fields in entries] == list(range(kept))
        task.cancel()
        await asyncio.wait([task])


def test_an_error_that_quotes_the_exchange_is_short_and_visible():
    said = ReportedError("x", "\x1b[2J" + "y" * 5_000_000, code="\x1b" * 1000, topic="\u202e" * 1000)
    assert len(str(said)) < 3_000
    assert said.message.startswith("\\x1b[2Jyyy")
    assert said.code == "?" * 97 + "..."
    assert str(said).isprintable()
    assert ReportedError("x", "no", code=1005).code == 1005


def test_an_errors_words_are_made_only_when_somebody_asks(monkeypatch):
    cleaned = []
    monkeypatch.setattr("bridge.exchange_errors.presentable", lambda text, limit: cleaned.append(text) or text[:limit])
    error = FrameError("x", b"{", "no JSON")
    assert not cleaned
    assert (str(error), error.message) == ("x: no JSON", "no JSON")
    assert cleaned


def test_no_form_of_an_error_shows_a_secret_or_acts_on_a_terminal():
    register_secret("hunter22hunter22")
    error = FrameError("x", b"{", "\x1b[2J token=hunter22hunter22")
    trace = "".join(traceback.format_exception(error))
    for shown in (str(error), repr(error), error.message, str(error.words), f"{error.args}", trace):
        assert "hunter22" not in shown
        assert "\x1b" not in shown
    assert "\\x1b[2J" in trace
    forget_secrets()
