"""Public trades over LMEX's main endpoints."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.errors import FrameError, ReportedError, TopicLeftOutError
from bridge.exchanges.base import SECOND, UNREADABLE, Reconnect, Said, Subscription
from bridge.exchanges.lmex.messages import NAME, Envelope, TradeRow, decode_trades, nanoseconds, text
from bridge.exchanges.lmex.names import Contracts, Market, market_of, old_symbol, pair_of
from bridge.exchanges.lmex.session import LmexSession
from bridge.exchanges.numbers import check_numbers
from bridge.model import Channel, Event, Trade

__all__ = ["TradesSession"]

_ANSWER_LIMIT = 10 * SECOND
_RETRY = 60 * SECOND
"""Between attempts at topics that the exchange doesn't accept."""
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
            self._asked = {}
            self.actions.append(Reconnect(f"no answer to the subscription within {_ANSWER_LIMIT // SECOND} s"))
        elif self._retry_at is not None and now >= self._retry_at and not self._asked:
            self._retry_at = None
            self._form = 0
            self._ask(sorted(self._refused_pairs), now)
        return ()

    def rejected(self, recv: int) -> Sequence[Event]:
        """Trades aren't numbered without holes: what was in the frame is missing, of any of the pairs."""
        return self.gaps([Subscription(Channel.TRADES, pair) for pair in self._pairs], recv)

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
                error = TopicLeftOutError(NAME, reason, topic=self._forms(pair)[-1])
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
        self._retry_at = recv + _RETRY
        return self.dead([Subscription(Channel.TRADES, pair)], recv, reason)

    def _data(self, message: Envelope, frame: bytes, recv: int) -> list[Event]:
        """Trades, newest first; the first batch of a pair is the exchange's recent history, and isn't marked.

        ``{"topic":"tradeHistoryApi","data":[{"price":77099.9,"size":6530,"side":"SELL","symbol":"BTCPFC","tradeId":
        35993384,"timestamp":1779800209269}]}``
        """
        if not message.topic.startswith("tradeHistoryApi"):
            return self._unknown(message.topic)
        try:
            rows = sorted(decode_trades(message.data), key=lambda row: row.tradeId)
            found = [self._trade(row, pair, recv) for row in rows if (pair := pair_of(row.symbol)) in self._pairs]
        except (*UNREADABLE, KeyError, ValueError) as error:
            raise FrameError(NAME, frame, f"{type(error).__name__}: {error}") from None
        fresh = dict.fromkeys(event.subject for event in found)
        self._begun.update(fresh)
        return [*self.lively([Subscription(Channel.TRADES, pair) for pair in fresh], recv), *found]

    def _trade(self, row: TradeRow, pair: str, recv: int) -> Trade:
        price, size = text(row.price), text(row.size)
        check_numbers(price, size)
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
