"""A session whose topics are arguments: objects that a request lists, and that answers and data repeat.

Each argument is acknowledged or refused for itself, in any order; a refusal names its argument in words, or only its
request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.api import Output, Said, Subscription
from bridge.exchanges.toolkit.sessions.maintenance import Maintenance
from bridge.exchanges.toolkit.sessions.named_topics import NamedTopics
from bridge.exchanges.toolkit.sessions.pings import Pings
from bridge.exchanges.toolkit.sessions.session import TopicSession
from bridge.exchanges.toolkit.sessions.topics import Request
from bridge.exchanges.toolkit.timing.request_count import RequestCount

__all__ = ["Arg", "ArgSession"]

Arg = Mapping[str, str]
"""What is subscribed to, as the exchange has it: ``{"channel":"books","instId":"BTC-USDT"}``."""


class ArgSession(TopicSession):
    """One over such topics; a topic's name is the values of its argument, ``books.BTC-USDT``.

    Args:
        exchange: its name, for errors.
        url: where the connection goes.
        args: topic → its argument.
        streams: topic → the streams that it feeds.
        most: how many one request may list.
        pings: those that the exchange wants.
        maintenance: what is announced.
        requests: counts them.
    """

    _no_such_topic: Collection[str] = ()
    """Codes of the refusals that say that there is no such instrument."""

    def __init__(
        self,
        exchange: str,
        url: str,
        args: Mapping[str, Arg],
        streams: Mapping[str, list[Subscription]],
        *,
        most: int,
        pings: Pings,
        maintenance: Maintenance | None = None,
        requests: RequestCount | None = None,
    ) -> None:
        topics = NamedTopics({topic: (topic,) for topic in args}, most)
        super().__init__(exchange, url, streams, topics, pings, maintenance=maintenance, requests=requests)
        self._named: NamedTopics = topics
        self._args = args

    def _topic(self, channel: str, about: str) -> str:
        """The topic of an argument; where it is the channel alone, messages may say more closely what they are about."""
        topic = f"{channel}.{about}" if about else channel
        return channel if topic not in self._args and channel in self._args else topic

    def _request(self, request: Request) -> str:
        args = [self._args[topic] for topic in request.topics]
        return msgspec.json.encode({"id": request.ident, "op": request.op, "args": args}).decode()

    def _accepted(self, topic: str, now: int) -> list[Output]:
        """A topic is acknowledged."""
        return self._settle(*self._named.accepted([topic], now), now)

    def _given_back(self, topic: str, now: int) -> list[Output]:
        """A topic is subscribed no longer: because we have asked for that, or because the exchange has ended it."""
        return self._settle((), self._named.ended(topic, "the exchange has ended this subscription", now), now)

    def _withdrawn(self, topic: str, reason: str, now: int) -> list[Output]:
        """A topic is refused, maybe after it was acknowledged."""
        return self._settle((), self._named.rejected_topic(topic, reason, now), now)

    def _refusal(self, topic: str, reason: str) -> Output:
        """``reason`` may begin with a code: ``60018: wrong URL or channel``."""
        code, _, words = reason.partition(": ")
        if not code.isdecimal():
            return super()._refusal(topic, reason)
        kind = ErrorKind.UNKNOWN_MARKET if code in self._no_such_topic else ErrorKind.REPORTED
        return Said(ReportedError(self._exchange, words, kind, code=code, topic=topic))
