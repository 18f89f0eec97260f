"""A pipeline's states as a table: which may follow which, and what each event leads to in each state, on a real server."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bridge.publish.state import State, may_follow
from tests.unit.proxy import Proxy
from tests.unit.publishing import desk, hurry, raw, until

NEXT = {
    "away": "recovering, standing by, displaced",
    "recovering": "away, flowing, standing by, displaced",
    "flowing": "away, sorting out, standing by, displaced",
    "sorting out": "away, flowing, waiting, standing by, displaced",
    "waiting": "away, flowing, standing by, displaced",
    "standing by": "away, flowing, sorting out, displaced",
    "displaced": "",
}
PLACES = ("away", "recovering", "flowing", "sorting out", "waiting", "standing by", "displaced")
LEADS_TO = {
    #               away          recovering    flowing       sorting out   waiting       standing by   displaced
    "a cut":       ("flowing",    "flowing",    "flowing",    "flowing",    "flowing",    "standing by", "displaced"),
    "stand_by":    ("standing by", "standing by", "standing by", "standing by", "standing by", "standing by", "displaced"),
    "may_write":   ("flowing",    "flowing",    "flowing",    "flowing",    "flowing",    "flowing",    "displaced"),
    "displace":    ("displaced",  "displaced",  "displaced",  "displaced",  "displaced",  "displaced",  "displaced"),
    "renew":       ("flowing",    "flowing",    "flowing",    "flowing",    "flowing",    "standing by", "displaced"),
    "a put":       ("flowing",    "flowing",    "flowing",    "flowing",    "flowing",    "standing by", "displaced"),
}  # fmt: skip
"""Where a pipeline is in the end, once whatever kept it in its place is over."""


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


@pytest.mark.parametrize("state", State)
def test_which_may_follow(state):
    assert {str(other) for other in State if may_follow(state, other)} == set(NEXT[str(state)].split(", ")) - {""}


async def put_into(place, d, proxy, client, ends):
    """Bring the pipeline into a state in which it stays; ``ends`` says how that is over."""
    pipeline = d.pipeline
    [stream] = pipeline.queue.streams
    await until(lambda: d.publisher.connected)
    ends.callback(setattr, pipeline, "look_around", pipeline.look_around)
    pipeline.look_around = lambda *_, **__: None  # nothing but what the test does
    await until(lambda: pipeline.sender.transfer is None)
    if place == "away":
        proxy.refuse = True
        proxy.cut()
        ends.callback(lambda: setattr(proxy, "refuse", False))
    elif place == "recovering":
        recover, ready = pipeline._recover, asyncio.Event()

        async def stays(connection):
            await ready.wait()
            await recover(connection)

        pipeline._recover = stays
        proxy.cut()
        ends.callback(ready.set)
    elif place == "sorting out":
        client.set(stream.key, "not a stream")
        sort_out = pipeline._repairs.sort_out
        done = asyncio.Event()

        async def slowly(*args):
            await asyncio.wait([asyncio.ensure_future(done.wait()), args[0].lost], return_when="FIRST_COMPLETED")
            return await sort_out(*args)

        pipeline._repairs.sort_out = slowly
        d.put(stream)
        ends.callback(lambda: (client.delete(stream.key), done.set()))
    elif place == "waiting":
        client.config_set("maxmemory", 1)
        d.put(stream)
        ends.callback(lambda: client.config_set("maxmemory", 0))
    elif place == "standing by":
        d.publisher.stand_by()
    elif place == "displaced":
        d.publisher.displace()
    await until(lambda: str(pipeline.state) == place)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("event", LEADS_TO)
async def test_what_an_event_leads_to(own_server, place, event):
    expected = LEADS_TO[event][PLACES.index(place)]
    async with Proxy(own_server.port) as proxy, desk(own_server, proxy.url, patience=2.0) as d:
        stream = await d.stream()
        with raw(own_server) as client, contextlib.ExitStack() as ends:
            await put_into(place, d, proxy, client, ends)
            connections = proxy.connections
            {
                "a cut": proxy.cut,
                "stand_by": d.publisher.stand_by,
                "may_write": d.publisher.may_write,
                "displace": d.publisher.displace,
                "renew": lambda: d.publisher.renew("a test"),
                "a put": lambda: d.put(stream),
            }[event]()
            await asyncio.sleep(0)
            ends.close()
            if event in ("a cut", "renew") and place in ("flowing", "waiting"):
                await until(lambda: proxy.connections > connections)
        await until(lambda: str(d.pipeline.state) == expected)
        before = d.publisher.published
        d.put(stream)
        if expected == "flowing":
            await until(lambda: not stream.blocked)
            await until(lambda: d.publisher.waiting == 0)
            assert d.seqs(stream) == list(range(1, d.count + 1))
            assert d.publisher.lost == 0
        else:
            await asyncio.sleep(0.05)  # nothing can be waited for where nothing may happen
            assert (d.publisher.published, str(d.pipeline.state)) == (before, expected)


async def test_the_states_of_an_ordinary_life(own_server):
    async with Proxy(own_server.port) as proxy, desk(own_server, proxy.url) as d:
        stream = await d.stream()
        d.put(stream)
        await d.drained()
        proxy.cut()
        await until(lambda: d.events.recoveries == 2)
        with raw(own_server) as client:
            client.config_set("maxmemory", 1)
            d.put(stream)
            await until(lambda: d.pipeline.state is State.WAITING)
            client.config_set("maxmemory", 0)
        await d.drained()
        beginning = ["recovering", "flowing", "away", "recovering", "flowing", "sorting out", "waiting", "flowing"]
        assert d.states[: len(beginning)] == beginning
        await until(lambda: d.pipeline.state is State.FLOWING)


async def test_whatever_goes_wrong_inside_ends_the_publisher(redis_server):
    """A callback's error would vanish in the event loop's log, and leave a publisher that publishes nothing."""
    for broken in ("send", "taken"):
        with pytest.raises(ExceptionGroup) as caught:
            async with desk(redis_server) as d:
                stream = await d.stream()
                await until(lambda: d.publisher.connected)

                def mistake(*_):
                    raise KeyError("a mistake")

                setattr(d.pipeline.sender, broken, mistake)
                d.put(stream)
                await d.ended()
        assert caught.group_contains(KeyError, match="a mistake")


async def test_a_housekeeper_that_dies_ends_the_publisher(redis_server):
    with pytest.raises(ExceptionGroup) as caught:
        async with desk(redis_server) as d:
            d.publisher._limit_the_blocked = lambda: {}["a mistake"]
            await d.ended()
    assert caught.group_contains(KeyError, match="a mistake")
