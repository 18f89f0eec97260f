"""The connections that the topics of many pairs need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from bridge.exchanges.api import ConnectionPlan, Session, Subscription
from bridge.exchanges.toolkit.pairs.listing import share_out
from bridge.model import Channel

__all__ = ["topic_plans"]


def topic_plans(
    name: str,
    pairs: Sequence[str],
    topics: Callable[[str], Mapping[Channel, str]],
    session: Callable[[Sequence[str], Mapping[str, list[Subscription]]], Callable[[], Session]],
    *,
    most: int | None = None,
    most_bytes: int | None = None,
    rotate: float | None = None,
) -> Iterator[ConnectionPlan]:
    """As few connections as the limits of topics and bytes allow (`share_out`), named ``<name>-1`` and so on.

    Args:
        name: what their names begin with.
        pairs: those that have topics here.
        topics: the topic of each channel of a pair; one may be that of several channels.
        session: makes what makes a session, of its pairs and of the streams that each topic feeds.
        most: topics of one connection.
        most_bytes: of one connection's topics.
        rotate: seconds after which each is replaced.
    """

    def names(pair: str) -> list[str]:
        return list(dict.fromkeys(topics(pair).values()))

    for number, part in enumerate(share_out(pairs, most, topics=names, most_bytes=most_bytes), 1):
        streams: dict[str, list[Subscription]] = {}
        for pair in part:
            for channel, topic in topics(pair).items():
                streams.setdefault(topic, []).append(Subscription(channel, pair))
        fed = tuple(stream for topic in streams.values() for stream in topic)
        yield ConnectionPlan(f"{name}-{number}", fed, session(part, streams), rotate)
