from __future__ import annotations

import asyncio
from itertools import islice, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.feed.policies import Damper, Pacer, Watchdog, backoff, look_every, pacer_of, send_budget
from tests.patience import PATIENCE


class TestBackoff:
    def test_the_first_retry_is_at_once_then_exponential_and_capped(self):
        waits = list(islice(backoff(Random(1)), 12))
        assert waits[0] == 0.0
        bounds = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
        for wait, bound in zip(waits[1:], bounds, strict=True):
            assert bound / 2 <= wait <= bound

    def test_it_is_deterministic_by_seed(self):
        assert list(islice(backoff(Random(7)), 9)) == list(islice(backoff(Random(7)), 9))
        assert list(islice(backoff(Random(7)), 9)) != list(islice(backoff(Random(8)), 9))

    @given(st.integers(0, 1000))
    def test_the_jitter_survives_the_cap(self, seed):
        capped = list(islice(backoff(Random(seed), first=1.0, cap=4.0), 40))[10:]
        assert max(capped) <= 4.0
        assert max(capped) - min(capped) > 0.5


class TestWatchdog:
    def test_ping_then_dead(self):
        dog = Watchdog(ping=15, dead=45, now=0)
        verdicts = {}
        for tick in range(1, 200):
            verdict = dog.check(tick / 4)
            if verdict:
                verdicts.setdefault(verdict, []).append(tick / 4)
        assert verdicts["ping"][:3] == [15, 30, 45]
        assert verdicts["dead"][0] == 45.25

    def test_a_frame_keeps_it_alive(self):
        dog = Watchdog(ping=15, dead=45, now=0)
        for second in range(1, 1000):
            if second % 40 == 0:
                dog.seen(second)
            assert dog.check(second) != "dead"
        assert dog.age(1000) == 40

    def test_who_was_busy_judges_nobody(self):
        dog = Watchdog(ping=15, dead=45, now=0)
        assert dog.check(60) == ""
        assert dog.check(60.25) == "ping"
        for tick in range(1, 90):
            assert dog.check(60.25 + tick / 4) != "dead"
        assert dog.check(82.75) == "dead"

    @pytest.mark.parametrize("dead", [0.05, 0.3, 1.0, 5.0, 30.0, 86_400.0, 1e12])
    def test_any_limit_is_kept(self, dead):
        """Pings are answered, so it lives; then nothing comes, and it is dead soon after the limit."""
        step = look_every(dead)
        dog = Watchdog(ping=10.0, dead=dead, now=1000.0)
        now, pinged = 1000.0, 0
        while pinged < 20 and now < 1400:
            now += step
            verdict = dog.check(now)
            assert verdict != "dead"
            if verdict == "ping":
                pinged += 1
                dog.seen(now + step / 10)
        assert pinged == 20
        silent = now
        for _ in range(10_000):
            now += step
            if dog.check(now) == "dead":
                break
        assert (0.9 * dead <= now - silent <= dead + 2 * step) or dead > 2_000

    def test_who_is_always_late_finds_out_in_the_end(self):
        dog = Watchdog(ping=0.1, dead=0.3, now=0)
        assert "dead" in [dog.check(turn * 0.2) for turn in range(1, 6)]


class TestPacer:
    async def test_attempts_are_kept_apart(self):
        loop = asyncio.get_running_loop()
        pacer = Pacer(0.05, loop.time)
        times = []

        async def attempt():
            await pacer.turn()
            times.append(loop.time())

        await asyncio.gather(*(attempt() for _ in range(4)))
        apart = [later - earlier for earlier, later in pairwise(times)]
        assert min(apart) >= 0.045

    async def test_the_first_goes_at_once(self):
        loop = asyncio.get_running_loop()
        pacer = Pacer(3600, loop.time)
        async with asyncio.timeout(PATIENCE):
            await pacer.turn()

    async def test_a_hold_is_for_those_too_who_wait_already(self):
        loop = asyncio.get_running_loop()
        pacer = Pacer(0.02, loop.time)
        await pacer.turn()
        times = []

        async def attempt():
            await pacer.turn()
            times.append(loop.time())

        waiting = [asyncio.create_task(attempt()) for _ in range(3)]
        await asyncio.sleep(0)
        held = loop.time() + 0.2
        pacer.hold(0.2)
        await asyncio.gather(*waiting)
        assert times[0] >= held
        assert min(later - earlier for earlier, later in pairwise(times)) >= 0.015

    async def test_turns_that_a_busy_loop_has_missed_are_not_made_up_for(self, monkeypatch):
        now, slept = [100.0], []

        async def oversleep(seconds):
            slept.append(seconds)
            now[0] += seconds + 5

        monkeypatch.setattr("bridge.feed.policies.asyncio.sleep", oversleep)
        pacer = Pacer(1.0, lambda: now[0])
        for _ in range(3):
            await pacer.turn()
        assert slept == [1.0, 1.0]

    async def test_while_attempts_fail_they_come_ever_further_apart(self, monkeypatch):
        now = [100.0]

        async def sleep(seconds):
            now[0] += seconds

        monkeypatch.setattr("bridge.feed.policies.asyncio.sleep", sleep)
        pacer = Pacer(0.25, lambda: now[0])
        times = []
        for _ in range(6):
            await pacer.turn()
            times.append(now[0])
            pacer.failed()
        assert [later - earlier for earlier, later in pairwise(times)] == [0.5, 1.0, 2.0, 2.0, 2.0]
        pacer.worked()
        await pacer.turn()
        assert now[0] - times[-1] == 0.25

    async def test_one_is_for_all_connections_to_a_host(self):
        one = pacer_of("wss://ws.example.org/a", 0.25)
        assert pacer_of("wss://WS.example.org", 0.25) is one
        assert pacer_of("wss://ws.example.org:444/a", 0.25) is not one
        assert send_budget("wss://ws.example.org/a", 8) is send_budget("wss://ws.example.org", 8)


class TestDamper:
    def test_calls_that_repeat_are_heeded_ever_later(self):
        damper = Damper(Random(3))
        heeded = [tick / 4 for tick in range(4 * 600) if damper.heed(1000 + tick / 4)]
        waits = [after - before for before, after in pairwise(heeded)]
        assert heeded[0] == 0
        assert all(wait <= 60.25 for wait in waits)
        assert waits[:6] == sorted(waits[:6])
        assert len(heeded) < 24

    def test_after_a_calm_minute_a_call_is_heeded_at_once(self):
        damper = Damper(Random(3))
        now = 1000.0
        for _ in range(100):
            now += 61
            assert damper.heed(now)
            assert not damper.heed(now)
            now += 60
