"""A session for an exchange that acknowledges what it doesn't serve: wrong paths, misspelt names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from bridge.exchanges.api import Output, Reconnect, Replace, Send
from bridge.exchanges.toolkit.sessions.session import TopicSession
from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["ProvenSession"]

_PROOF = 8 * SECOND
"""How long a connection with a canary may be silent once something is acknowledged."""
_SILENT = 60 * SECOND
"""And how long later, before another connection is tried beside it."""
_NOT_HELD = "acknowledged, and yet not among the subscriptions"


class ProvenSession(TopicSession):
    """One that takes an acknowledgement for a claim, and data for its proof.

    Until anything has come over a connection with a canary, none of its streams is live, and if nothing comes at all, it is
    given up. A topic that was accepted, is not in the list, and has brought nothing is refused.
    """

    _canary = ""
    """A topic that always speaks; it may feed no stream."""
    _listing = ""
    """A request for the list of what is subscribed, sent after acknowledgements; `_listed` takes the answer."""
    _proven = True
    _heard: int | None = None
    """When anything came last, or the first acknowledgement (ns)."""

    def _begin(self, now: int) -> list[Output]:
        self._proven = not self._canary
        self._claimed: dict[str, None] = {}
        """Topics that are acknowledged, before anything has come."""
        return super()._begin(now)

    def tick(self, now: int) -> Sequence[Output]:
        out = super().tick(now)
        limit = _SILENT if self._proven else _PROOF
        if not self._canary or self._heard is None or now - self._heard <= limit:
            return out
        self._heard = now
        if self._proven:
            return [*out, Replace(f"nothing came for {limit // SECOND} s")]
        path = self._url.partition("?")[0]
        return [
            *out,
            Reconnect(f"acknowledged, but nothing came within {limit // SECOND} s: is {path} the right path?"),
        ]

    def _came(self, topic: str, recv: int) -> list[Output]:
        self._heard = recv
        if self._proven:
            return super()._came(topic, recv)
        self._proven = True
        return [*self._settle(list(self._claimed), (), recv), *super()._came(topic, recv)]

    def _listed(self, held: Collection[str], now: int) -> list[Output]:
        """The exchange has listed what is subscribed."""
        return self._settle((), self._topics.listed(held, _NOT_HELD, now), now)

    def _settle(self, served: Iterable[str], refused: Iterable[str], now: int, *, told: bool = False) -> list[Output]:
        news = list(served)
        ask = [Send(self._listing)] if news and self._listing and self._topics.settled else []
        if not self._proven:
            self._claimed.update(dict.fromkeys(news))
            if news and self._heard is None:
                self._heard = now
            news = []
        out = super()._settle(news, refused, now, told=told)
        self.ready = self.ready and self._proven
        return [*out, *ask]
