"""Topics of an exchange whose answers name the topics, not the request; a topic may have several forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from bridge.exchanges.toolkit.sessions.topics import Topics
from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["NamedTopics"]


class NamedTopics(Topics):
    """What became of each topic.

    Args:
        forms: topic → how it is asked for, the newest form first: an older one is tried where a newer is refused.
        most: how many topics one request may name.
        limit: seconds that an answer may take.
        left_out: why a topic is refused that an answer leaves out; ``None`` where only an error refuses one.
        kind: what the topics of one request have to have in common.
        first: the topic that the others wait for.
    """

    def __init__(
        self,
        forms: Mapping[str, Sequence[str]],
        most: int,
        *,
        limit: float = 10.0,
        left_out: str | None = None,
        kind: Callable[[str], str] = lambda _: "",
        first: str = "",
    ) -> None:
        super().__init__(forms, most, limit=int(limit * SECOND), kind=kind, first=first)
        self._forms = forms
        self._left_out = left_out
        self._form: dict[str, int] = {}
        self._given_back: Counter[str] = Counter()
        """Topic → how often it was given back, and that is not answered."""

    @property
    def settled(self) -> bool:
        """Whether nothing is awaited; data is an answer, too."""
        awaited = (name for asked in self._asked.values() for name in asked.topics if name not in self.served)
        return not self._waiting and not self._others and next(awaited, None) is None

    def form(self, name: str) -> str:
        """How the topic is, or was last, asked for."""
        return self._forms[name][self._form.get(name, 0)]

    def meant(self, ident: str, ending: str) -> list[str]:
        """The topics that an answer may be about which names its request, and nothing of them but perhaps their ``ending``.

        Where the request is none of ours, it may be any that is awaited. Empty, if it can't be told.
        """
        ours = self._asked.get(ident)
        if ours and len(ours.topics) == 1:
            return list(ours.topics)
        names = dict.fromkeys(name for asked in ([ours] if ours else self._asked.values()) for name in asked.topics)
        return [name for name in names if ending and name.endswith(ending)]

    def accepted(self, names: Sequence[str], now: int) -> tuple[list[str], list[str]]:
        """An answer accepts these topics; returns those of which it is news that they are served, or are refused."""
        self.answered = True
        fresh = self._settle(names)
        ident = next((i for i, asked in self._asked.items() if not names or set(names) & set(asked.topics)), None)
        missing = self._asked[ident].topics if ident and self._left_out is not None else ()
        self._awaited_no_more([*names, *missing])
        return fresh, self._older([name for name in missing if name not in self.served], self._left_out or "", now)

    def rejected_topic(self, name: str, reason: str, now: int) -> list[str]:
        """An error refuses this topic; returns it if that is news, and no older form is tried."""
        self.answered = True
        if name not in self.served and not any(name in asked.topics for asked in self._asked.values()):
            return []
        self._awaited_no_more([name])
        self.served.discard(name)
        return self._older([name], reason, now)

    def ended(self, name: str, reason: str, now: int) -> list[str]:
        """A topic is subscribed no longer; returns it if that is news, and not the answer to its being given back."""
        if self._given_back[name]:
            self._given_back[name] -= 1
            return []
        return self.rejected_topic(name, reason, now)

    def renew(self, names: Sequence[str], now: int) -> None:
        self._given_back.update(name for name in names if name not in self._again)
        super().renew(names, now)

    def tick(self, now: int) -> list[str]:
        for name, at in self._again.items():
            if at <= now:
                self._form.pop(name, None)
        return super().tick(now)

    def _older(self, names: Sequence[str], reason: str, now: int) -> list[str]:
        """Ask for the next older forms; returns the topics that have none, and are refused now."""
        last = [name for name in names if self._form.get(name, 0) + 1 == len(self._forms[name])]
        older = [name for name in names if name not in last]
        self._form.update((name, self._form.get(name, 0) + 1) for name in older)
        refused = [name for name in last if self._refuse(name, reason, now)]
        self._ask(older, now)
        return refused

    def _awaited_no_more(self, names: Iterable[str]) -> None:
        """Take topics out of the requests that aren't answered."""
        found = set(names)
        for ident, asked in list(self._asked.items()):
            asked.topics = tuple(name for name in asked.topics if name not in found)
            if not asked.topics:
                del self._asked[ident]
