"""Public trades over LMEX's main endpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.api import Reconnect, Said, Subscription
from bridge.exchanges.lmex.messages import NAME, Envelope, TradeRow, decode_trade, decode_trades, nanoseconds
from bridge.exchanges.lmex.names import Contracts, Market, market_of, old_symbol, pair_of
from bridge.exchanges.lmex.session import LmexSession
from bridge.exchanges.toolkit.fields import fields_of, text
from bridge.exchanges.toolkit.numbers import SECOND, check_numbers, shortened
from bridge.exchanges.toolkit.salvage import UNREADABLE, Damage, rows_of
from bridge.model import Channel, Event, Trade

__all__ = ["TradesSession"]

_ANSWER_LIMIT = 10 * SECOND
_RETRY = 60 * SECOND
"""Between attempts at topics that the exchange doesn't accept."""
_MOST = 2**63
_SIDES = {"BUY": "buy", "SELL": "sell"}


class TradesSession(LmexSession):
    """The trades of some pairs of one market."""

    def __init__(self, url: str, market: Market, pairs: tuple[str, ...], contracts: Contracts) -> None:
        super().__init__(f"{url}/ws/{market}")
        self._pairs = pairs
        self._contracts = contracts
        self._futures = market is Market.FUTURES
        self._asked: dict[str, str] = {}
        """Topic → pair, of the request that isn't answered yet."""
        self._asked_at = 0
        self._form = 0
        self._begun: set[str] = set()
        """Pairs whose first batch, the exchange's recent trades, has come."""
        self._refused_pairs: set[str] = set()
        self._retry_at: int | None = None

    def connected(self, now: int) -> None:
        super().connected(now)
        self._ask(self._pairs, now)

    def tick(self, now: int) -> Sequence[Event]:
        super().tick(now)
        if self._asked and now - self._asked_at > _ANSWER_LIMIT:
            return self._unanswered(now)
        if self._retry_at is not None and now >= self._retry_at and not self._asked:
            self._retry_at = None
            self._form = 0
            self._ask(sorted(self._refused_pairs), now)
        return ()

    def _unanswered(self, now: int) -> list[Event]:
        """No answer came: where others are served, only what was asked for is ``down``, else the connection is no good."""
        late, self._asked = self._asked, {}
        reason = f"no answer to the subscription within {_ANSWER_LIMIT // SECOND} s"
        live = {stream.subject for stream in self._live}
        if not live:
            self.actions.append(Reconnect(reason))
            return []
        events: list[Event] = []
        for topic, pair in late.items():
            if pair not in live:
                if pair not in self._refused_pairs:
                    self.actions.append(
                        Said(ReportedError(NAME, reason, ErrorKind.TOPIC_LEFT_OUT, topic=topic), f"no trades of {pair}")
                    )
                events += self._give_up(pair, now, reason)
        return events

    def _clock_back(self, now: int) -> None:
        self._asked_at = min(self._asked_at, now)
        if self._retry_at is not None:
            self._retry_at = min(self._retry_at, now + _RETRY)

    def rejected(self, recv: int) -> Sequence[Event]:
        """Trades aren't numbered without holes: what was in the frame is missing, of any of the pairs."""
        return self.gaps(self._all(), recv)

    def resync(self, subject: str, now: int, reason: str) -> None:
        """There are no books here."""

    def _forms(self, pair: str) -> list[str]:
        """A pair's topics, newest first; only the V2 topics carry the new symbols."""
        if not self._futures:
            return [f"tradeHistoryApi:{pair}"]
        old = [f"tradeHistoryApi:{old_symbol(pair)}", f"tradeHistoryApi:{pair}"]
        return [f"tradeHistoryApiV2:{pair}", *dict.fromkeys(old)]

    def _ask(self, pairs: Sequence[str], now: int) -> None:
        self._asked = {forms[self._form]: pair for pair in pairs if self._form < len(forms := self._forms(pair))}
        self._asked_at = now
        self.subscribe(list(self._asked))

    def _streams_of(self, topic: str) -> list[Subscription]:
        pair = pair_of(topic.partition(":")[2])
        return [Subscription(Channel.TRADES, pair)] if pair in self._pairs else []

    def _acknowledged(self, message: Envelope, recv: int) -> list[Event]:
        """Topics that the answer leaves out are asked for in their older form, or are dead."""
        accepted = set(message.channel or ())
        events = super()._acknowledged(message, recv)
        live = {stream.subject for stream in self._live}
        self._refused_pairs -= live
        left_out = [pair for topic, pair in self._asked.items() if topic not in accepted and pair not in live]
        self._asked = {}
        if left_out:
            self._form += 1
            self._ask(left_out, recv)
        for pair in left_out:
            if pair not in self._asked.values():
                reason = "the exchange doesn't accept the topic"
                error = ReportedError(NAME, reason, ErrorKind.TOPIC_LEFT_OUT, topic=self._forms(pair)[-1])
                self.actions.append(Said(error, f"no trades of {pair}"))
                events += self._give_up(pair, recv, reason)
        return events

    def _refused(self, error: ReportedError, recv: int) -> list[Event]:
        """A topic that was asked for, or one that stood until now."""
        standing = next((stream.subject for stream in self._streams_of(error.topic) if stream in self._live), None)
        pair = self._asked.pop(error.topic, standing)
        return [] if pair is None else self._give_up(pair, recv, error.words)

    def _give_up(self, pair: str, recv: int, reason: str) -> list[Event]:
        self._refused_pairs.add(pair)
        if self._retry_at is None:  # one that is refused again and again must not keep the others waiting
            self._retry_at = recv + _RETRY
        return self.dead([Subscription(Channel.TRADES, pair)], recv, reason)

    def _data(self, message: Envelope, frame: bytes, recv: int) -> list[Event]:
        """Trades, newest first; the first batch of a pair is the exchange's recent history, and isn't marked.

        ``{"topic":"tradeHistoryApi","data":[{"price":77099.9,"size":6530,"side":"SELL","symbol":"BTCPFC","tradeId":
        35993384,"timestamp":1779800209269}]}``
        """
        topic = message.topic
        if not topic.startswith("tradeHistoryApi"):
            return self._unknown(topic)
        damage = Damage(NAME, frame, counted=True)
        found: list[Event] = []
        heard: dict[str, None] = {}
        for row in sorted(self._rows(message, damage), key=_number):
            pair = pair_of(row.symbol)
            if pair not in self._pairs:
                if self._streams_of(topic):
                    damage.row(ValueError(f"{shortened(row.symbol)} is not the topic's"), self._streams_of(topic))
                continue
            heard[pair] = None
            try:
                found.append(self._trade(row, pair, recv))
            except (ValueError, KeyError) as error:
                damage.row(error, [Subscription(Channel.TRADES, pair)], len(found))
        self._begun.update(heard)
        live = self.lively([Subscription(Channel.TRADES, pair) for pair in heard], recv)
        return [*live, *(damage.settle(self, found, recv) if damage else found)]

    def _rows(self, message: Envelope, damage: Damage) -> list[TradeRow]:
        """The rows of a message that can be decoded, each for itself where one can't."""
        try:
            return decode_trades(message.data)
        except UNREADABLE:
            rows = []
            for raw in rows_of(message.data):
                try:
                    rows.append(decode_trade(raw))
                except UNREADABLE as error:
                    damage.row(error, self._streams_of_row(raw, message.topic))
            return rows

    def _streams_of_row(self, raw: msgspec.Raw, topic: str) -> list[Subscription]:
        """Who misses a row that can't be decoded: the pair that it names, or its topic; else any of the connection's."""
        named = self._streams_of(topic)
        with contextlib.suppress(*UNREADABLE, KeyError):
            pair = pair_of(text(fields_of(raw)["symbol"]))
            named = [Subscription(Channel.TRADES, pair)] if pair in self._pairs else named
        return named or self._all()

    def _damaged(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Event] | None:
        """How many trades the frame had isn't known."""
        if not topic.startswith("tradeHistoryApi"):
            return None
        damage = Damage(NAME, frame)
        damage.row(error, self._streams_of(topic) or self._all())
        return damage.settle(self, [], recv)

    def _all(self) -> list[Subscription]:
        return [Subscription(Channel.TRADES, pair) for pair in self._pairs]

    def _trade(self, row: TradeRow, pair: str, recv: int) -> Trade:
        price, size = text(row.price), text(row.size)
        check_numbers(price, size)
        if not 0 <= row.tradeId < _MOST:
            raise ValueError("tradeId is not an id")
        return Trade(
            pair,
            nanoseconds(row.timestamp),
            recv,
            str(row.tradeId),
            _SIDES[row.side],
            price,
            self._contracts.coins(pair, size),
            replay=pair not in self._begun,
            contracts=size if market_of(pair) is Market.FUTURES else None,
        )


def _number(row: TradeRow) -> int:
    return row.tradeId
