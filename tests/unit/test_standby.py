"""A standby takes the streams over: what it makes of times, of heartbeats, and of what comes meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import structlog
from msgspec import structs

from bridge.clock import CLOCK
from bridge.config import load_settings
from bridge.connector.opening import Tail
from bridge.connector.standby import Standby
from bridge.errors import RedisUnavailableError
from bridge.exchanges.api import Subscription
from bridge.model import Channel, Control, ControlEvent, Event, Fill, Trade
from bridge.publish.stream import Retention, Stream
from bridge.sequencer import topic_type
from tests.patience import PATIENCE

S = 1_000_000_000
HOUR = 3600 * S
ORDERS = Subscription(Channel.ORDERS, "main")
BEAT = {"instance": "a", "beat": "1", "host": "h", "pid": "1"}


class Presence:
    interval = 1.0

    async def stand_by(self, fields: Mapping[str, Any]) -> None: ...

    async def stand_by_no_more(self) -> None: ...


class Store:
    """Redis, in which a writer has left its streams; it is gone."""

    def __init__(self) -> None:
        self.presence = Presence()
        self.left: list[Event] = []
        self.down = False
        """What the catalog says of streams."""
        self.set = 0
        """By how much (ns) the clock of the writer's host was set before it received them."""
        self.claimed: list[str] = []

    def stream(self, channel: Channel, subject: str) -> Stream:
        return Stream(f"acct:{{x:{subject}}}:{channel}", channel, subject, Retention(1_000, 1e6))

    async def succeed(self, streams: Any, fields: Any, seen: Any, *, by_connections: bool) -> list[str]:
        fields()
        self.claimed = streams()
        return []

    async def is_down(self, stream: Stream) -> bool:
        return self.down

    async def end_predecessors(self, names: list[str]) -> None: ...

    async def go_on(self, stream: Stream, back: int, since: int | None = None) -> Tail:
        begin = self.left[-1].recv - back if self.left else 0
        begin = begin if since is None else min(begin, since)
        events = [event for event in self.left if event.recv >= begin]
        return Tail(
            [structs.replace(event, recv=event.recv + self.set) for event in events],
            0,
            [event.recv // 1_000_000 for event in events],
        )


class Publisher:
    def __init__(self) -> None:
        self.entries: list[Event] = []

    def add(self, stream: Stream) -> None: ...

    def put(self, stream: Stream, event: Event) -> None:
        self.entries.append(event)


class Bench:
    """A standby whose topics take trades."""

    def __init__(self) -> None:
        self.store, self.publisher = Store(), Publisher()
        self.topics: dict[Subscription, Any] = {}
        self.openings: list[list[Event]] = []
        """What was written each time when the streams were to be opened that only the writer can feed."""
        self.fails = 0
        """So many times Redis is out of reach then."""
        parts: Any = (self.store, self.publisher, None, self.topics, load_settings(None, {}))
        self.standby = Standby(*parts, deferred=[ORDERS], opening=self._open, log=structlog.get_logger())

    async def _open(self) -> None:
        self.openings.append(list(self.publisher.entries))
        if len(self.openings) <= self.fails:
            raise RedisUnavailableError("redis", "away")

    def add(self, subject: str, channel: Channel = Channel.TRADES, begun: int = 0) -> Any:
        stream = Stream(f"md:{{x:{subject}}}:{channel}", channel, subject, Retention(1_000, 1e6))
        self.standby.window.add(stream, begun)
        topic = topic_type(channel)(stream, self.standby.window, lambda *_: None)
        self.topics[Subscription(channel, subject)] = topic
        return topic

    async def take_over(self, holder: Any = None) -> list[Event]:
        await self.standby.run(lambda: {"state": "standby"}, holder or Holder())
        return self.publisher.entries


class Holder:
    """``paused``: for how long nothing was written, of each takeover."""

    def __init__(self) -> None:
        self.paused: list[float] = []

    def took_over(self, pause: float) -> None:
        self.paused.append(pause)

    @contextlib.asynccontextmanager
    async def kept(self, fields: Mapping[str, Any]) -> AsyncIterator[None]:
        yield


def trade(recv: int, ident: str, pair: str = "A-B") -> Trade:
    return Trade(pair, recv, recv, ident, "buy", "1", "1")


@pytest.mark.parametrize("shown", [True, False], ids=["a heartbeat shows it", "since the last heartbeat"])
@pytest.mark.parametrize("mine", [-HOUR, 0])
@pytest.mark.parametrize("its", [-HOUR, -2 * S, 2 * S, HOUR])
async def test_hosts_clocks_were_set(its: int, mine: int, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries have the time of a clock that was set, and what is held has that of a clock that cannot be."""
    bench, now = Bench(), CLOCK.now()
    monkeypatch.setattr(CLOCK, "shift", mine)
    topic = bench.add("A-B")
    topic.go_live(now - 90 * S)
    topic.accept(trade(now - 80 * S, "1"))
    at, steady = now + its * shown, now
    bench.standby._seen({**BEAT, "at": str(at), "steady": str(steady), "ids_ahead": "0"})
    bench.standby.window.forget(now - 12 * S)
    topic.accept(trade(now - S, "2"))
    live = Control("A-B", None, now - 90 * S, Channel.TRADES, ControlEvent.LIVE)
    bench.store.left, bench.store.set = [live, trade(now - 80 * S, "1")], its
    holder = Holder()
    assert await bench.take_over(holder) == [trade(now - S, "2")]
    [paused] = holder.paused
    assert 80 <= paused < 80 + PATIENCE, "by the clock that nobody sets"


@pytest.mark.parametrize("down", [True, False])
async def test_an_account_of_which_one_connection_was_down_for_long(down: bool) -> None:
    """Its streams have data all the same, and the newest entries do not say that they are down."""
    bench, now = Bench(), CLOCK.now()
    topic = bench.add("main", Channel.FILLS)
    topic.go_live(now - 90 * S)
    fills = [Fill("main", None, now - ago * S, str(ago), "1", "A-B", "buy", "1", "1", "0", "A") for ago in (3, 1)]
    for fill in fills:
        topic.accept(fill)
    bench.standby._alive = now - 2 * S
    gap = Control("main", None, now - 3 * S, Channel.FILLS, ControlEvent.GAP)
    bench.store.left, bench.store.down = [gap, *fills[:1]], down
    said = [event.event if isinstance(event, Control) else event for event in await bench.take_over()]
    assert said == [ControlEvent.LIVE] * down + fills[1:]


async def test_what_the_exchange_said_again_after_a_reconnect_of_the_standby_is_written_already() -> None:
    """The connection was cut for a while; then the history came at once, a moment before the writer was gone."""
    bench, now = Bench(), CLOCK.now()
    topic = bench.add("A-B")
    topic.go_live(now - 90 * S)
    happened = [trade(now - ago * S, str(100 - ago)) for ago in (60, 50, 40, 30, 20, 1)]
    for event in (*happened[1:], trade(now, "100")):
        topic.accept(structs.replace(event, recv=now - S, replay=event.id != "100"))
    bench.standby._alive = now - 2 * S
    live = Control("A-B", None, now - 90 * S, Channel.TRADES, ControlEvent.LIVE)
    # The first one Redis has lost; another was never written.
    bench.store.left = [live, *happened[2:3], happened[4]]
    fresh = [event.id for event in await bench.take_over() if isinstance(event, Trade)]
    assert fresh == [happened[3].id, happened[5].id, "100"]


async def test_a_connection_that_hangs_brings_after_the_takeover_what_is_written() -> None:
    bench, now = Bench(), CLOCK.now()
    topic = bench.add("A-B")
    topic.go_live(now - 90 * S)
    feed = [trade(now - ago * S, "") for ago in range(40, 0, -1)]
    for event in feed[:15]:
        topic.accept(event)
    bench.standby._alive = now - S
    bench.store.left = [Control("A-B", None, now - 90 * S, Channel.TRADES, ControlEvent.LIVE), *feed]
    assert await bench.take_over() == []
    for event in [*feed[15:], trade(now, "")]:
        topic.accept(structs.replace(event, recv=now + S))
    assert [event.ts for event in bench.publisher.entries] == [now]


async def test_what_a_frozen_standby_gets_at_once_has_happened_before() -> None:
    """The tail is read as far back as what it got then."""
    bench, now = Bench(), CLOCK.now()
    topic = bench.add("A-B", begun=now - 30 * S)
    topic.go_live(now - 90 * S)
    feed = [trade(now - ago * S, "") for ago in range(40, 0, -1)]
    for event in feed[18:21]:  # frozen since it began
        topic.accept(structs.replace(event, recv=now - 3 * S))
    bench.standby._alive = now - S
    bench.store.left = [Control("A-B", None, now - 90 * S, Channel.TRADES, ControlEvent.LIVE), *feed]
    assert [event for event in await bench.take_over() if isinstance(event, Trade)] == []
    for event in [*feed[21:], trade(now, "")]:
        topic.accept(structs.replace(event, recv=now + S))
    assert [event.ts for event in bench.publisher.entries if isinstance(event, Trade)] == [now]


@pytest.mark.parametrize("channel", [Channel.TRADES, Channel.FILLS])
async def test_what_was_written_since_the_standby_began_may_come_when_it_is_connected(channel: Channel) -> None:
    """It has not been connected since: what it fetches then is written."""
    bench, now = Bench(), CLOCK.now()
    topic = bench.add("main", channel, begun=now - 30 * S)
    kinds: dict[Channel, Callable[[int], Any]] = {
        Channel.TRADES: lambda at: trade(at, "", "main"),
        Channel.FILLS: lambda at: Fill("main", at, at, "", "", "A-B", "buy", "1", "1", "", ""),
    }
    feed = [kinds[channel](now - ago * S) for ago in range(28, 3, -1)]
    bench.standby._alive = now - S
    bench.store.left = [Control("main", None, now - 90 * S, channel, ControlEvent.LIVE), *feed]
    await bench.take_over()
    topic.reopened(now)
    for event in [*feed, kinds[channel](now + 1)]:
        topic.accept(structs.replace(event, recv=now + S))
    assert [event.ts for event in bench.publisher.entries if not isinstance(event, Control)] == [now + 1]


async def test_what_is_older_than_the_newest_written_is_no_news_behind_a_control_entry() -> None:
    """The writer missed a trade without an id while it was down; then its connection was lost again, and nobody wrote since."""
    bench, now = Bench(), CLOCK.now()
    topic = bench.add("A-B")
    topic.go_live(now - 90 * S)
    missed, written, after = (trade(now - ago * S, "") for ago in (29, 7, 6))
    missed = structs.replace(missed, recv=now - 9 * S)  # told again after a reconnect
    for event in (missed, written, after):
        topic.accept(event)
    bench.standby._alive = now - S
    live, down = (
        Control("A-B", None, now - ago * S, Channel.TRADES, event, "")
        for ago, event in ((90, ControlEvent.LIVE), (1, ControlEvent.DOWN))
    )
    bench.store.left = [live, written, after, down]
    entries = await bench.take_over()
    assert [event for event in entries if isinstance(event, Trade)] == []


def test_only_what_is_later_than_the_rest_was_told_again() -> None:
    """A recording is played months later: then all of it is as late."""
    bench, now = Bench(), CLOCK.now()
    topic, months = bench.add("A-B"), 100 * 24 * 3600 * S
    for ago in (3, 2, 1):
        topic.accept(structs.replace(trade(now - ago * S, str(9 - ago)), ts=now - months - ago * S))
    assert bench.standby.window.told_again(topic.stream) == 0
    topic.accept(structs.replace(trade(now, "1"), ts=now - months - 60 * S))
    assert bench.standby.window.told_again(topic.stream) == now - months - 60 * S


def test_an_old_heartbeat_that_is_seen_again_is_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Redis was away, it is looked at again: the writer may have died meanwhile, and written nothing before that."""
    bench, now = Bench(), CLOCK.now()
    topic = bench.add("A-B")
    bench.standby._seen(BEAT)
    topic.accept(trade(now + S, "1"))
    monkeypatch.setattr(CLOCK, "now", lambda: now + 60 * S)
    bench.standby._seen(BEAT)
    assert len(bench.standby.window.release(topic.stream).events) == 2
    assert bench.standby._alive < now + S


async def test_what_the_writer_wrote_before_redis_was_set_back_may_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failover: the standby was not connected while the writer wrote what the new master lacks."""
    bench, now = Bench(), CLOCK.now()
    topic = bench.add("A-B")
    topic.go_live(now - 9 * S)
    feed = [trade(now - ago * S, str(ago)) for ago in (8, 7, 2)]
    for event in feed[:2]:
        topic.accept(event)
    topic.down(now - 6 * S, "connection broken")
    topic.go_live(now - 3 * S)  # and a trade of four seconds ago was missed
    topic.accept(feed[2])
    for number, ago in enumerate((8, 7, 6, 5, 4, 3, 2)):
        monkeypatch.setattr(CLOCK, "now", lambda at=now - ago * S: at)
        bench.standby._seen({**BEAT, "epoch": "7", "beat": str(number)})
    monkeypatch.setattr(CLOCK, "now", lambda: now)
    bench.standby._seen({**BEAT, "epoch": "7", "beat": "1"})
    bench.store.left = [Control("A-B", None, now - 90 * S, Channel.TRADES, ControlEvent.LIVE), *feed[:2]]
    said = [
        str(e.event) if isinstance(e, Control) else e.id
        for e in await bench.take_over()
        if isinstance(e, (Control, Trade))
    ]
    assert said == ["down", "live", "2"]


def test_it_could_take_over_once_the_writer_has_lived_on_since_its_streams_were_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a stream with few events may have none that both have received."""
    bench, now, beats = Bench(), CLOCK.now(), iter(range(100))

    def seen(at: float) -> bool:
        monkeypatch.setattr(CLOCK, "now", lambda: now + int(at * S))
        bench.standby._seen({**BEAT, "beat": str(next(beats))})
        return bench.standby.settled

    assert not bench.standby.settled, "no heartbeat was seen"
    one, other = bench.add("A-B"), bench.add("C-D", Channel.BOOK)
    one.go_live(now)
    assert not seen(0.5)
    assert seen(1.1)
    monkeypatch.setattr(CLOCK, "now", lambda: now + 60 * S)
    other.go_live(now + 60 * S)
    assert not bench.standby.settled
    assert not seen(60.9)
    assert seen(61.2)
    one.down(now + 62 * S, "connection broken")
    assert bench.standby.settled, "that it is down is said elsewhere"
    one.go_live(now + 63 * S)
    assert not seen(63.5)
    assert seen(64.5)


async def test_a_pair_that_comes_as_the_takeover_ends_is_not_held_for_ever() -> None:
    bench, now = Bench(), CLOCK.now()

    class Late(Holder):
        @contextlib.asynccontextmanager
        async def kept(self, fields: Mapping[str, Any]) -> AsyncIterator[None]:
            yield
            bench.add("C-D").accept(trade(now, "1", "C-D"))

    assert trade(now, "1", "C-D") in await bench.take_over(Late())


async def test_streams_that_only_the_writer_can_feed_are_opened_by_the_writer() -> None:
    """They are claimed with the others, which go on first."""
    bench, now = Bench(), CLOCK.now()
    bench.fails = 1
    bench.add("A-B").accept(trade(now, "1"))
    await bench.take_over()
    assert bench.store.claimed == ["md:{x:A-B}:trades", "acct:{x:main}:orders"]
    assert [trade(now, "1") in written for written in bench.openings] == [True, True], (
        "the second time in spite of Redis"
    )
    assert bench.standby.done.is_set()
