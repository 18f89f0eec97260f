"""Builds and parses all Redis keys of the product.

The braces are a Redis Cluster hash tag: all streams of a pair, and all of an account, are in one slot.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

from msgspec import Struct

from bridge.model import PUBLIC_CHANNELS, Channel

__all__ = ["Keys", "StreamKey", "checked_namespace"]

_CHANNELS = frozenset(str(channel) for channel in Channel)
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]*").fullmatch
_INTERVAL = re.compile(r"[1-9][0-9]{0,8}[smhd]").fullmatch


def checked_namespace(text: str) -> str:
    """The value of an option ``--namespace``; empty for none.

    Raises:
        ArgumentTypeError: keys cannot begin with it.
    """
    if not _NAMESPACE(text):
        raise ArgumentTypeError(f"{text!r} should be letters, digits, '_', '.' and '-' only")
    return text


class StreamKey(Struct, frozen=True):
    """The parts of a stream key; ``subject`` is a pair, or an account, with its sub-account if any (``main/sub``).

    ``interval`` is that of candles (``1m``); other channels have none.
    """

    exchange: str
    subject: str
    channel: Channel
    interval: str = ""

    @property
    def public(self) -> bool:
        return self.channel in PUBLIC_CHANNELS

    @property
    def suffix(self) -> str:
        """The end of the key: ``trades``, ``candles:1m``."""
        return f"{self.channel}:{self.interval}" if self.interval else str(self.channel)


class Keys:
    """The keys of a ``namespace`` (``""``: none)."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace
        self._prefix = f"{namespace}:" if namespace else ""

    def stream(self, exchange: str, subject: str, channel: Channel) -> str:
        """``md:{limitlex:BTC-EUR}:trades`` or ``acct:{limitlex:main}:orders``; for candles see `candles`."""
        return self.of(StreamKey(exchange, subject, channel))

    def candles(self, exchange: str, pair: str, interval: str) -> str:
        """The stream of a pair's candles: ``md:{limitlex:BTC-EUR}:candles:1m``."""
        return self.of(StreamKey(exchange, pair, Channel.CANDLES, interval))

    def of(self, stream: StreamKey) -> str:
        """The key that these are the parts of."""
        kind = "md" if stream.public else "acct"
        return f"{self._prefix}{kind}:{{{stream.exchange}:{stream.subject}}}:{stream.suffix}"

    def snapshot(self, exchange: str, pair: str) -> str:
        """The hash with the newest full book of a pair, for late joiners."""
        return f"{self._prefix}md:{{{exchange}:{pair}}}:book:snapshot"

    def instrument(self, exchange: str, pair: str) -> str:
        """The hash with what the exchange lists of a pair: tick size, lot size, status and so on."""
        return f"{self._prefix}md:{{{exchange}:{pair}}}:instrument"

    def wallet(self, exchange: str, account: str) -> str:
        """The hash in which the wallets consumer keeps an account's state."""
        return f"{self._prefix}acct:{{{exchange}:{account}}}:wallet"

    def catalog(self) -> str:
        """The hash that lists the public streams."""
        return f"{self._prefix}bridge:catalog"

    def accounts_catalog(self) -> str:
        """The hash that lists the streams of accounts, separate from the public ones so that rights can differ."""
        return f"{self._prefix}bridge:catalog:accounts"

    def catalog_of(self, channel: Channel) -> str:
        """The catalog that lists streams of this channel."""
        return self.catalog() if channel in PUBLIC_CHANNELS else self.accounts_catalog()

    def connector(self, name: str) -> str:
        """The heartbeat hash of a connector; gone when the connector is dead."""
        return f"{self._prefix}bridge:connector:{name}"

    def nautilus(self, stream: StreamKey) -> str:
        """The copy of a stream for NautilusTrader: ``nautilus:{limitlex:BTC-EUR}:trades``."""
        return f"{self._prefix}nautilus:{{{stream.exchange}:{stream.subject}}}:{stream.suffix}"

    def service(self, instance: str) -> str:
        """The heartbeat of a process that writes streams of `SERVICE_CHANNELS`: a string, gone when the process is dead."""
        return f"{self._prefix}bridge:service:{instance}"

    def standby(self, connector: str) -> str:
        """The hash with the state of the process that stands by for a connector; gone when there is none."""
        return f"{self._prefix}bridge:connector:{connector}:standby"

    def fence(self, connector: str) -> str:
        """The string that says which process may write a connector's streams; only a takeover changes it."""
        return f"{self._prefix}bridge:connector:{connector}:fence"

    def rejects(self, exchange: str) -> str:
        """The capped stream of frames that could not be parsed."""
        return f"{self._prefix}bridge:rejects:{exchange}"

    def limits_held(self, address: str) -> str:
        """The string that is there for as long as an exchange wants no request: ``bridge:limits:{api.example.com}:held``."""
        return f"{self._prefix}bridge:limits:{{{address}}}:held"

    def limits_used(self, address: str) -> str:
        """The sorted set of the requests to an address, each with its weight, within the time that the exchange counts."""
        return f"{self._prefix}bridge:limits:{{{address}}}:used"

    def limits_spent(self, address: str) -> str:
        """What the earlier 0.1.0 has in place of ``limits_used``: a stream."""
        return f"{self._prefix}bridge:limits:{{{address}}}:spent"

    def cursor(self, name: str) -> str:
        """The hash in which a reader saves its position under a name: field = stream key, value = entry ID."""
        return f"{self._prefix}bridge:cursor:{name}"

    def parse(self, key: str) -> StreamKey | None:
        """The parts of a data stream's key; ``None`` for any other key."""
        if not key.startswith(self._prefix):
            return None
        kind, _, rest = key[len(self._prefix) :].partition(":{")
        tag, _, channel = rest.partition("}:")
        exchange, _, subject = tag.partition(":")
        channel, colon, interval = channel.partition(":")
        if kind not in ("md", "acct") or not exchange or not subject or channel not in _CHANNELS:
            return None
        if bool(colon) != (channel == Channel.CANDLES) or (colon and not _INTERVAL(interval)):
            return None
        parsed = StreamKey(exchange, subject, Channel(channel), interval)
        return parsed if parsed.public == (kind == "md") else None
