"""Between sessions and publisher: what may stand in a stream, and in which order.

One `Topic` per stream. It drops what an exchange repeats after a reconnect, lets a delta through only where it
continues the snapshot before it, and writes the control entries. Every event it receives is published, or is a repeat,
or is counted in a `lost` entry.
"""

from __future__ import annotations

from bridge.exchanges.rules import BookRules
from bridge.model import BOOKS, Channel
from bridge.sequencer.books import BookTopic
from bridge.sequencer.checked import CheckedBook
from bridge.sequencer.identified import IdTopic
from bridge.sequencer.large import LargeBook
from bridge.sequencer.rest_book import RestBook
from bridge.sequencer.splice import MARGIN
from bridge.sequencer.states import StateTopic
from bridge.sequencer.succession import OVERLAP, succeed
from bridge.sequencer.top import TopBook
from bridge.sequencer.topic import Sink, Topic
from bridge.sequencer.window import Window

__all__ = [
    "MARGIN",
    "OVERLAP",
    "BookTopic",
    "CheckedBook",
    "IdTopic",
    "LargeBook",
    "RestBook",
    "Sink",
    "StateTopic",
    "TopBook",
    "Topic",
    "Window",
    "book_type",
    "succeed",
    "topic_type",
]

_TOPICS: dict[Channel, type[Topic]] = {
    Channel.TRADES: IdTopic,
    Channel.FILLS: IdTopic,
    Channel.LIQUIDATIONS: IdTopic,
    **dict.fromkeys(BOOKS, BookTopic),
}


def book_type(rules: BookRules) -> type[CheckedBook]:
    """The kind of topic that a book has which is held to rules."""
    if rules.snapshot == "rest":
        return RestBook
    return LargeBook if rules.large else CheckedBook


def topic_type(channel: Channel) -> type[Topic]:
    """The kind of topic that a channel's streams have."""
    return _TOPICS.get(channel, StateTopic)
