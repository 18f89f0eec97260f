"""CCXT's coroutines, driven by hand: no event loop, no clock, no socket.

What they wait for yields itself: a `Promise` that a message settles, a `Sleep` that a time ends, a `Request` that has
to be sent. A `Machine` runs them as far as they get, and says what it needs from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any

from msgspec import Struct

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Flow, HttpRequest, HttpResponse

__all__ = ["Machine", "Promise", "Request", "Sleep", "Task", "gather", "race"]


class Promise:
    """A value that comes later; what CCXT calls a future. ``hashes`` are the messages that it is about."""

    def __init__(self, hashes: Sequence[str] = ()) -> None:
        self.hashes = tuple(hashes)
        self._settled = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._then: list[Callable[[Promise], None]] = []

    def __await__(self) -> Generator[Promise, None, Any]:
        if not self._settled:
            yield self
        return self.result()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    def done(self) -> bool:
        return self._settled

    def cancelled(self) -> bool:
        return False

    def resolve(self, value: Any = None) -> None:
        self._settle(value, None)

    def reject(self, error: Any = None) -> None:
        """CCXT's modules reject with whatever they have."""
        self._settle(None, error if isinstance(error, BaseException) else ValueError(str(error)))

    def then(self, call: Callable[[Promise], None]) -> None:
        """Have this called once it is settled; at once, if it is."""
        if self._settled:
            call(self)
        else:
            self._then.append(call)

    def follow(self, other: Promise) -> None:
        """Become what the other is."""
        self._settle(other._value, other._error)

    def _settle(self, value: Any, error: BaseException | None) -> None:
        if self._settled:
            return
        self._settled, self._value, self._error = True, value, error
        waiting, self._then = self._then, []
        for call in waiting:
            call(self)


def race(promises: Sequence[Promise]) -> Promise:
    """What the first of them becomes."""
    first = Promise([name for promise in promises for name in promise.hashes])
    for promise in promises:
        promise.then(first.follow)
    return first


async def gather(*awaited: Awaitable[Any], return_exceptions: bool = False) -> list[Any]:
    """In the place of `asyncio.gather`: one after the other."""
    found: list[Any] = []
    for one in awaited:
        try:
            found.append(await one)
        except Exception as error:
            if not return_exceptions:
                raise
            found.append(error)
    return found


class Sleep(Struct):
    """A pause of so many milliseconds."""

    milliseconds: float

    def __await__(self) -> Generator[Sleep, None, None]:
        yield self


class Request(Struct):
    """A REST call to a full address; awaiting it gives the `HttpResponse`, or raises what came of it."""

    method: str
    url: str
    headers: dict[str, str]
    body: str

    def __await__(self) -> Generator[Request, HttpResponse, HttpResponse]:
        return (yield self)


class Task:
    """A coroutine on its way. ``result`` is settled with its end."""

    def __init__(self, machine: Machine, work: Coroutine[Any, Any, Any], owner: Any = None) -> None:
        self._machine = machine
        self._work = work
        self.owner = owner
        """What it is run for; ``None`` for what a module has started by itself."""
        self.url = ""
        """The first connection that it has spoken over."""
        self.near = ""
        """One that it has only looked at: others log in over it."""
        self.hashes: tuple[str, ...] = ()
        """The messages that it has waited for last."""
        self.insists = False
        """Whether it asks also for what CCXT believes to be subscribed to."""
        self.status = 0
        """HTTP status of its last REST call; 0: none was answered."""
        self.result = Promise()

    def step(self, value: Any = None, error: BaseException | None = None) -> None:
        """Run until it waits for something, or ends."""
        self._machine.current = self
        try:
            wanted = self._work.send(value) if error is None else self._work.throw(error)
        except StopIteration as stop:
            self.result.resolve(stop.value)
            self._machine.ended.append(self)
        except Exception as failure:  # noqa: BLE001 - whatever a module of CCXT's raises is its call's end
            self.result.reject(failure)
            self._machine.ended.append(self)
        else:
            self._machine.wait(self, wanted)
        finally:
            self._machine.current = None


class Machine:
    """All coroutines of one codec, and what they have asked for; times in ns."""

    def __init__(self) -> None:
        self.now = 0
        self.current: Task | None = None
        self._ready: deque[Task] = deque()
        self.ended: list[Task] = []
        """Those that have come to their end since somebody looked."""
        self.requests: list[tuple[Task, Request]] = []
        """REST calls that wait to be made."""
        self.sends: list[tuple[str, Any]] = []
        """Connection and message, in order."""
        self._timers: list[tuple[int, Callable[[], None]]] = []
        self._asleep: list[tuple[int, Callable[[], None]]] = []

    def start(self, work: Coroutine[Any, Any, Any], owner: Any = None) -> Task:
        """Have it run with the others."""
        task = Task(self, work, owner)
        self._ready.append(task)
        return task

    def later(self, milliseconds: float, call: Callable[[], None]) -> None:
        """Have this called after so many milliseconds."""
        self._timers.append((self.now + int(milliseconds * 1e6), call))

    def run(self) -> None:
        """Run all as far as they get."""
        while self._ready:
            self._ready.popleft().step()

    def tick(self, now: int) -> None:
        """Call what is due."""
        self.now = now
        for timers in (self._timers, self._asleep):
            due = [timer for timer in timers if timer[0] <= now]
            for timer in due:
                timers.remove(timer)
                timer[1]()

    def wake(self) -> bool:
        """Where nothing ticks yet: end all pauses. Whether there was one."""
        asleep, self._asleep = self._asleep, []
        for _, call in asleep:
            call()
        return bool(asleep)

    def converse(self, request_of: Callable[[Request], HttpRequest]) -> Flow[None]:
        """Run all as far as they get, REST calls included, one after the other; nobody waits for a time."""
        self.run()
        while self.requests or self.wake():
            if self.requests:
                yield from self.answer(*self.requests.pop(0), request_of)
            self.run()

    def answer(self, task: Task, request: Request, request_of: Callable[[Request], HttpRequest]) -> Flow[None]:
        """Make one REST call for a task; it goes on with what comes of it."""
        try:
            response = yield request_of(request)
        except RestError as error:
            task.step(error=error)
        else:
            self.now = max(self.now, response.recv)
            task.status = response.status
            task.step(response)

    def wait(self, task: Task, wanted: Any) -> None:
        """The task goes on when what it wants is there."""
        if isinstance(wanted, Promise):
            task.hashes = wanted.hashes or task.hashes
            wanted.then(lambda _: self._ready.append(task))
        elif isinstance(wanted, Request):
            self.requests.append((task, wanted))
        elif isinstance(wanted, Sleep):
            self._asleep.append((self.now + int(wanted.milliseconds * 1e6), lambda: self._ready.append(task)))
        else:
            self._ready.append(task)
