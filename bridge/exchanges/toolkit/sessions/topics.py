"""The topics of one connection: asked for in requests with ids, served or refused each for itself, asked for again later.

For exchanges whose answers name the request and not its topics. Pure: times come in (ns), requests are left in
``requests`` for the session to send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count

from msgspec import Struct

from bridge.exchanges.toolkit.pairs.listing import in_messages
from bridge.exchanges.toolkit.timing.waiting import spread
from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["Request", "Topics"]

_ANSWER_LIMIT = 10 * SECOND
_RETRY = 60 * SECOND
"""Between attempts at what is refused, about."""
_OTHERS_LIMIT = 5 * SECOND
"""How long topics wait for the first one."""
_AT_A_TIME = 10
"""Subscriptions that may be unanswered at the same time. What is sent is paced: the last of hundreds that were asked for
at once would be overdue before it is sent."""


class Request(Struct, frozen=True):
    """A message to be sent: ``op`` is ``subscribe`` or ``unsubscribe``."""

    op: str
    ident: str
    topics: tuple[str, ...]


class _Asked(Struct):
    topics: tuple[str, ...]
    at: int
    again: bool
    """Whether the topics were given back just before."""


class Topics:
    """What became of each topic.

    Args:
        names: the topics.
        most: how many of them one request may name.
        most_bytes: how long their names may be together, each with its quotes and comma.
        limit: how long an answer may take (ns).
        kind: what the topics of one request have to have in common.
        first: the topic that the others wait for, until somebody calls `ask_others`, it is refused, or that takes too long.
    """

    def __init__(
        self,
        names: Iterable[str],
        most: int,
        *,
        most_bytes: int | None = None,
        limit: int = _ANSWER_LIMIT,
        kind: Callable[[str], str] = lambda _: "",
        first: str = "",
    ) -> None:
        self.names = tuple(names)
        self.first = first
        self._most = most
        self._kind = kind
        self._most_bytes = most_bytes
        self._limit = limit
        self.no_answer = f"no answer to the subscription within {limit / SECOND:g} s"
        """Why a topic is refused, or the connection given up, where nothing is heard."""
        self.requests: list[Request] = []
        """To be sent, in this order; whoever sends them empties the list."""
        self.served: set[str] = set()
        self.refused: dict[str, str] = {}
        """Topic → why the exchange doesn't serve it."""
        self.answered = False
        """Whether anything has been heard of any topic."""
        self._waiting: deque[tuple[str, tuple[str, ...], bool]] = deque()
        """What is to be asked once other requests are answered: operation, topics, whether they are renewed."""
        self._asked: dict[str, _Asked] = {}
        self._again: dict[str, int] = {}
        """When a refused topic is asked for again."""
        self._heard: dict[str, int] = {}
        self._others: tuple[str, ...] = ()
        """Topics that wait for the first one, until ``_others_at``."""
        self._others_at = 0
        self._idents = count(1)
        self._ticked = 0

    @property
    def settled(self) -> bool:
        """Whether nothing is awaited."""
        return not self._asked and not self._waiting and not self._others

    def begin(self, now: int) -> None:
        """The connection is open: ask for all topics, or for the first of them."""
        self._ticked = now
        self._others = tuple(name for name in self.names if self.first and name != self.first)
        self._others_at = now + _OTHERS_LIMIT
        self._ask((self.first,) if self.first else self.names, now)

    def ask_others(self, now: int) -> None:
        """What the first topic has brought is there: ask for those that wait for it."""
        others, self._others = self._others, ()
        self._ask(others, now)

    def came(self, name: str, now: int) -> bool:
        """Data of a topic has come; whether it is news that the topic is served."""
        self._heard[name] = now
        if name in self.served or name not in self.names:
            return False
        self._settle([name])
        return True

    def acknowledged(self, ident: str, now: int) -> list[str]:
        """A request was accepted, the oldest where the answer names none; returns the topics of which that is news."""
        asked = self._answer(ident, now)
        return self._settle(asked.topics) if asked else []

    def standing(self, ident: str, named: str, now: int) -> list[str]:
        """A request was refused because one of its topics is subscribed already; returns those of which that is news.

        That one is as good as accepted; the others are asked for again, each by itself.
        """
        asked = self._answer(ident, now)
        if asked is None:
            return []
        stands = [named] if named in asked.topics else list(asked.topics)
        self._ask_each([name for name in asked.topics if name not in stands], asked, now)
        return self._settle(stands)

    def rejected(self, ident: str, reason: str, named: str, now: int) -> list[str]:
        """A request was refused, because of the topic ``named`` if that is one of it; returns those that are refused now.

        Whether the others of the request stand is not known: they are asked for again, each by itself.
        """
        asked = self._answer(ident, now)
        if asked is None:
            return []
        self.answered = True
        bad = [named] if named in asked.topics else list(asked.topics) if len(asked.topics) == 1 else []
        self._ask_each([name for name in asked.topics if name not in bad], asked, now)
        return [name for name in bad if self._refuse(name, reason, now)]

    def listed(self, held: Collection[str], reason: str, now: int) -> list[str]:
        """The exchange has listed all that it holds; returns topics that it had accepted, and are refused now.

        One of which data has come is served, whatever the list says.
        """
        missing = [name for name in self.names if name in self.served and name not in held and name not in self._heard]
        return [name for name in missing if self._refuse(name, reason, now)]

    def renew(self, names: Sequence[str], now: int) -> None:
        """Give topics back and ask for them again: the exchange begins with a snapshot."""
        names = [name for name in names if name not in self._again]
        self._waiting += [("unsubscribe", part, True) for part in self._parts(names)]
        self._ask(names, now, again=True)

    def ask_again(self, names: Sequence[str]) -> None:
        """Ask for topics that are served, and go on being so: the exchange sends a snapshot, which is all that matters."""
        self.requests += [Request("subscribe", str(next(self._idents)), part) for part in self._parts(names)]

    def heard(self, name: str, now: int) -> None:
        """Something of a topic has come, of whatever use it may be."""
        self._heard[name] = now
        self.answered = True

    def quiet(self, names: Iterable[str], now: int, limit: int) -> list[str]:
        """Those of the topics that are served and were not heard of for ``limit`` ns; asked for once in that time."""
        found = [name for name in names if name in self.served and now - self._heard.get(name, now) > limit]
        self._heard.update(dict.fromkeys(found, now))
        return found

    def tick(self, now: int) -> list[str]:
        """Ask again for what is due; returns topics that are refused now, because nothing was heard of them."""
        if now < self._ticked:
            self._set_back(now)
        self._ticked = now
        if self._others and (now >= self._others_at or self.first in self.refused):
            self.ask_others(now)
        late = [ident for ident, asked in self._asked.items() if now - asked.at > self._limit]
        silent = [name for ident in late for name in self._asked.pop(ident).topics if name not in self.served]
        refused = [name for name in silent if self._refuse(name, self.no_answer, now)]
        for name in [name for name, at in self._again.items() if at <= now]:
            del self._again[name]
            self._waiting.append(("subscribe", (name,), False))
        self._send(now)
        return refused

    def overdue(self, now: int) -> bool:
        """Whether nothing at all was heard though an answer is overdue: it is no single topic then."""
        return not self.answered and any(now - asked.at > self._limit for asked in self._asked.values())

    def _answer(self, ident: str, now: int) -> _Asked | None:
        """The request that is answered, if it is awaited; the next one may be sent."""
        asked = self._asked.pop(ident or next(iter(self._asked), ""), None)
        self._send(now)
        return asked

    def _ask(self, names: Sequence[str], now: int, *, again: bool = False) -> None:
        self._waiting += [("subscribe", part, again) for part in self._parts(names)]
        self._send(now)

    def _parts(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The topics of each request."""
        kinds: dict[str, list[str]] = {}
        for name in names:
            kinds.setdefault(self._kind(name), []).append(name)
        return [part for alike in kinds.values() for part in in_messages(alike, self._most, self._most_bytes)]

    def _ask_each(self, names: Sequence[str], asked: _Asked, now: int) -> None:
        """Ask for topics one by one, but for those whose data shows that they stand; data of before a renewal doesn't."""
        open_ones = [name for name in names if asked.again or name not in self.served]
        self._waiting += [("subscribe", (name,), asked.again) for name in open_ones]
        self._send(now)

    def _send(self, now: int) -> None:
        while self._waiting and (len(self._asked) < _AT_A_TIME or self._waiting[0][0] == "unsubscribe"):
            op, topics, again = self._waiting.popleft()
            ident = str(next(self._idents))
            if op == "subscribe":
                self._asked[ident] = _Asked(topics, now, again)
            self.requests.append(Request(op, ident, topics))

    def _settle(self, names: Sequence[str]) -> list[str]:
        self.answered = True
        fresh = [name for name in names if name not in self.served]
        self.served.update(fresh)
        for name in names:
            self.refused.pop(name, None)
            self._again.pop(name, None)
        return fresh

    def _refuse(self, name: str, reason: str, now: int) -> bool:
        """Whether it is news that the topic is refused for this reason."""
        news = self.refused.get(name) != reason
        self.served.discard(name)
        self.refused[name] = reason
        self._again[name] = now + spread(_RETRY, name)
        return news

    def _set_back(self, now: int) -> None:
        """Our clock was set back, by hours maybe: what is waited for is waited for from now on."""
        for asked in self._asked.values():
            asked.at = min(asked.at, now)
        self._heard = {name: min(at, now) for name, at in self._heard.items()}
        self._others_at = min(self._others_at, now + _OTHERS_LIMIT)
        self._again = {name: min(at, now + _RETRY) for name, at in self._again.items()}
