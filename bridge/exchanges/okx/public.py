"""OKX's connections, and its public channels: trades, books, best prices, statistics, and the exchange's own maintenance.

A topic is a channel and what it is about, ``books.BTC-USDT``. Each argument of a request is acknowledged or refused for
itself, in any order; a refusal names its topic in words, if at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.api import Output, Reconnect, Replace, Said, Send, Subscription, Unknown, Warn
from bridge.exchanges.toolkit.pairs.names import channels_of, coins_of
from bridge.exchanges.toolkit.sessions.arg_session import Arg, ArgSession
from bridge.exchanges.toolkit.sessions.maintenance import Maintenance
from bridge.exchanges.toolkit.sessions.pings import Pings
from bridge.exchanges.toolkit.timing.request_count import RequestCount
from bridge.exchanges.toolkit.timing.times import milliseconds
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.exchanges.toolkit.values.fields import Row, decode_rows, nested_rows
from bridge.exchanges.toolkit.values.numbered_trades import NumberedTrades
from bridge.exchanges.toolkit.values.numbers import best_first, check_ids, check_numbers, shortened
from bridge.exchanges.toolkit.values.salvage import peek, rows_of
from bridge.exchanges.toolkit.values.statistics import Statistics
from bridge.model import BookDelta, BookSnapshot, Channel, Levels, Liquidation, Trade

__all__ = ["NAME", "Envelope", "OkxSession", "PublicSession"]

NAME = "okx"
_MOST_REQUESTS = 440
"""Requests over one connection within an hour, beyond which another takes over; the exchange refuses more than 480."""
_PER_REQUEST = 50
"""Topics of one request: some 4 KB, and the exchange takes 64."""
_TOO_MANY = (60014, 60023, 50011, 50061)
_NOT_LOGGED_IN = 60011
_UPGRADE = 64008
_CROWDED = "too many connections are subscribed to this channel"
_WHOLE_SERVICE = ("0", "5")
"""Kinds of maintenance that concern all pairs: of WebSockets, of trading."""
_IN_WORDS = re.compile(r'channel"?: ?"?([A-Za-z0-9-]{1,64})"?, ?"?inst(?:Id|Type)"?: ?"?([A-Za-z0-9-]{1,64})').findall


class _Arg(Struct, frozen=True):
    channel: str = ""
    instId: str = ""  # noqa: N815 - the exchange's names
    instType: str = ""  # noqa: N815


class Envelope(Struct):
    """Any message but ``ping`` and ``pong``: data has an ``arg`` and no ``event``.

    ``{"id":"1512","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}``
    ``{"id":"1","event":"error","code":"60018","msg":"Subscribe failed, … instId:NOPE-USDT doesn't exist.","connId":"5e"}``
    """

    arg: _Arg = _Arg()
    action: str = ""
    data: Raw = Raw()
    event: str = ""
    id: str = ""
    code: str | int = ""
    msg: str = ""
    channel: str = ""

    @property
    def number(self) -> int:
        """The code; 0 without one."""
        return int(self.code) if str(self.code).isdecimal() else 0

    @property
    def words(self) -> str:
        return f"{self.code}: {self.msg or 'no reason given'}" if self.code else self.msg or "no reason given"


class _TradeRow(Struct):
    instId: str  # noqa: N815 - the exchange's names
    tradeId: str  # noqa: N815
    px: str
    sz: str
    side: Literal["buy", "sell"]
    ts: str
    count: str = "1"


class _BookRow(Struct):
    asks: list[list[str]]
    bids: list[list[str]]
    ts: str
    seqId: Annotated[int, Meta(ge=0, le=2**63 - 1)]  # noqa: N815 - the exchange's names
    prevSeqId: int | None = None  # noqa: N815


_decode_envelope: Callable[[bytes], Envelope] = msgspec.json.Decoder(Envelope).decode
_TYPED: dict[str, Any] = {"books": _BookRow, "bbo-tbt": _BookRow, "trades": _TradeRow, "trades-all": _TradeRow}
"""What comes most often; of other channels, rows are text."""
_LISTS: dict[str, Callable[[Any], list[Any]]] = {
    kind: msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
    for kind, row in _TYPED.items()
} | {"liquidation-orders": lambda data: nested_rows(data, "details", "instId")}
_ROWS: dict[str, Callable[[Any], Any]] = {kind: msgspec.json.Decoder(row).decode for kind, row in _TYPED.items()}


class OkxSession(ArgSession):
    """How all connections speak: pings as bare text, answers, the exchange's notices."""

    _no_such_topic = ("60018", "51001")

    def __init__(
        self, url: str, args: Mapping[str, Arg], streams: Mapping[str, list[Subscription]], maintenance: Maintenance
    ) -> None:
        pings, requests = Pings("ping", 20, 10), RequestCount(_MOST_REQUESTS, 3600)
        super().__init__(
            NAME, url, args, streams, most=_PER_REQUEST, pings=pings, maintenance=maintenance, requests=requests
        )

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        """Also the texts ``ping`` and ``pong``, which are no JSON."""
        self._pings.heard = True
        if len(frame) == len(b"ping") and frame in (b"ping", b"pong"):
            return [Send("pong")] if frame == b"ping" else []
        return super().receive(frame, recv)

    def _decode(self, frame: bytes) -> tuple[str, Envelope]:
        message = _decode_envelope(frame)
        return ("" if message.event else self._of(message.arg)), message

    def _peek(self, frame: bytes) -> Sequence[str]:
        return [self._of(_Arg(peek(frame, "channel"), peek(frame, "instId"), peek(frame, "instType")))]

    def _of(self, arg: _Arg) -> str:
        return self._topic(arg.channel, arg.instId or arg.instType)

    def _answer(self, message: Envelope, recv: int) -> list[Output]:
        topic = self._of(message.arg)
        if message.event == "error":
            return self._error(message, recv)
        if message.event == "notice":
            return [Replace(message.words) if message.number == _UPGRADE else Warn(message.words)]
        if message.event == "channel-conn-count-error":  # it comes after an acknowledgement
            return self._withdrawn(message.channel, _CROWDED, recv)
        if message.event in ("subscribe", "unsubscribe") and topic in self._args:
            return (self._accepted if message.event == "subscribe" else self._given_back)(topic, recv)
        known = message.event == "channel-conn-count"
        return [] if known else [Unknown(message.event or "message without arg")]

    def _error(self, message: Envelope, recv: int) -> list[Output]:
        """A refusal names its topic in words, or only its request; other errors are about neither."""
        code, words = message.number, message.words
        if code in _TOO_MANY:
            kind = ErrorKind.TOO_MANY_REQUESTS
            return [Said(ReportedError(NAME, message.msg, kind, code=message.code)), Replace(words)]
        named = {self._topic(channel, about) for channel, about in _IN_WORDS(message.msg)} & set(self._args)
        if len(named) == 1 and code != _NOT_LOGGED_IN:
            return self._withdrawn(named.pop(), words, recv)
        said = Said(ReportedError(NAME, message.msg, code=message.code))
        if code == _NOT_LOGGED_IN:
            return [said, Reconnect(words)]
        return [said, *(self._refused(message.id, words, "", recv) if message.id else [])]


class PublicSession(OkxSession):
    """Some pairs' channels at one of the exchange's addresses.

    ``symbols`` are the pairs' names at the exchange, ``kinds`` the channels'. ``status`` says whose maintenance counts, the
    live system's (``1``) or the demo's (``2``); it is empty where this address has no such channel.
    """

    def __init__(
        self,
        url: str,
        symbols: Mapping[str, str],
        kinds: Mapping[Channel, str],
        *,
        maintenance: Maintenance,
        contracts: Contracts,
        status: str = "",
    ) -> None:
        args: dict[str, Arg] = {"status": {"channel": "status"}} if status else {}
        streams: dict[str, list[Subscription]] = {topic: [] for topic in args}
        for pair, symbol in symbols.items():
            for arg, wanted in _args_of(pair, symbol, kinds):
                topic = ".".join(arg.values())
                args[topic] = arg
                streams.setdefault(topic, []).extend(wanted)
        super().__init__(url, args, streams, maintenance)
        self._symbols = symbols
        self._pairs = {symbol: pair for pair, symbol in symbols.items()}
        self._contracts = contracts
        self._status = status
        self._statistics = Statistics()
        self._trades = NumberedTrades()
        self._begun: set[str] = set()
        """Topics of trades that have had a message: the first has the last trade before the subscription."""
        self._readers: dict[str, Callable[[Any, str, int], Sequence[Output]]] = {
            "status": self._announced,
            **dict.fromkeys(("trades", "trades-all"), self._trade),
            "bbo-tbt": self._quote,
            "tickers": self._ticker,
            "funding-rate": self._funding,
            "mark-price": self._mark,
            "index-tickers": self._index,
            "open-interest": self._interest,
            "liquidation-orders": self._liquidations,
        }

    def connected(self, now: int) -> Sequence[Output]:
        self._pings.begin(now)
        return self._begin(now)

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        """The exchange answers a subscription with a snapshot."""
        del now, reason
        topic = f"books.{self._symbols.get(subject, '')}"
        if topic in self._args:
            self._due.add(topic)
        return ()

    def tick(self, now: int) -> Sequence[Output]:
        return [*super().tick(now), *self._trades.missing(now)]

    def rejected(self, recv: int) -> Sequence[Output]:
        self._statistics.forget()
        return super().rejected(recv)

    def _data(self, topic: str, message: Envelope, recv: int) -> list[Output]:
        rows, read = _LISTS.get(message.arg.channel, decode_rows)(message.data), self._reader(message)
        found = [told for row in rows for told in read(row, topic, recv)]
        self._begun.add(topic)
        return found

    def _salvage(self, topic: str, message: Any, frame: bytes, *, recv: int, error: Exception) -> list[Output]:
        """Row by row; what comes after a quote or statistics that are lost is news, even if it says the same."""
        for stream in self._streams[topic]:
            self._statistics.forget(stream)
        if topic.startswith("index-tickers."):
            self._statistics.index(topic.partition(".")[2], "")
        if message is None:
            return super()._salvage(topic, message, frame, recv=recv, error=error)
        kind, read = message.arg.channel, self._reader(message)
        rows: list[Any] = rows_of(message.data) if kind in _ROWS else _LISTS.get(kind, decode_rows)(message.data)
        decode, counted = _ROWS.get(kind, lambda row: row), kind.startswith("trades")
        return self._each(topic, rows, lambda row: [*read(decode(row), topic, recv)], frame, recv, counted=counted)

    def _reader(self, message: Envelope) -> Callable[[Any, str, int], Sequence[Output]]:
        kind = message.arg.channel
        return partial(self._levels, message.action) if kind == "books" else self._readers[kind]

    def _pair(self, symbol: str, topic: str) -> str:
        if not topic.endswith(f".{symbol}"):
            raise ValueError(f"{shortened(symbol)} is not what the topic is about")
        return self._pairs[symbol]

    def _trade(self, row: _TradeRow, topic: str, recv: int) -> Sequence[Output]:
        """Trades of one taker's order at one price, as one; ``tradeId`` is that of the last of ``count``.

        ``source`` 1 is liquidity that books don't show: such a trade may lie inside their spread.

        ``{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9",
        "sz":"0.12060306","side":"buy","ts":"1630048897897","count":"3","source":"0","seqId":1234}]}``
        """
        check_ids(row.tradeId)
        check_numbers(row.px)
        pair, ts = self._pair(row.instId, topic), milliseconds(row.ts)
        size, contracts = self._contracts.coins_and_contracts(pair, row.sz)
        self._trades.told(pair, row.tradeId, row.count, recv)
        return [Trade(pair, ts, recv, row.tradeId, row.side, row.px, size, topic not in self._begun, contracts)]

    def _levels(self, action: str, row: _BookRow, topic: str, recv: int) -> Sequence[Output]:
        """A book's levels: price, size, a zero of old, number of orders. ``ts`` is when the message was made.

        Sequence numbers rise by any step; after maintenance one may be smaller than the one that it continues. Once a
        minute a quiet book comes without levels and with the number that it has. ``checksum`` is always 0 since June 2026.

        ``{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[["8476.98","415","0","13"]],
        "bids":[["8476.97","0","0","0"]],"ts":"1597026383185","checksum":0,"prevSeqId":123456,"seqId":123457}]}``
        """
        pair, ts, number = self._streams[topic][0].subject, milliseconds(row.ts), str(row.seqId)
        bids, asks = self._sides(pair, row)
        if action == "snapshot":
            return [BookSnapshot(pair, ts, recv, number, best_first(bids, bids=True), best_first(asks, bids=False))]
        if action != "update" or row.prevSeqId is None or row.prevSeqId < 0:
            raise ValueError(f"{shortened(action)} that continues {row.prevSeqId}")
        return [BookDelta(pair, ts, recv, number, bids, asks, str(row.prevSeqId))]

    def _sides(self, pair: str, row: _BookRow) -> tuple[Levels, Levels]:
        """Bids and asks, their sizes in coins."""
        sides: list[Levels] = [[(level[0], level[1]) for level in side] for side in (row.bids, row.asks)]
        return self._contracts.levels(pair, sides[0]), self._contracts.levels(pair, sides[1])

    def _quote(self, row: _BookRow, topic: str, recv: int) -> Sequence[Output]:
        """The best levels, at most every 10 ms; the last are said again where nothing has changed.

        ``{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["111.06","55154","0","2"]],"bids":[["111.05",
        "57745","0","2"]],"ts":"1670324386802","seqId":363996337}]}``
        """
        pair = self._streams[topic][0].subject
        return self._statistics.quote(pair, milliseconds(row.ts), recv, *self._sides(pair, row))

    def _ticker(self, row: Row, topic: str, recv: int) -> Sequence[Output]:
        """The last 24 hours, whole each time; published when anything of it has changed. Volume is in coins.

        ``{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instType":"SPOT","instId":"BTC-USDT","last":"9999.99",
        "askPx":"9999.99","bidPx":"8888.88","open24h":"9000","high24h":"10000","low24h":"8888.88","volCcy24h":"2222",
        "vol24h":"2222","ts":"1597026383085"}]}``
        """
        pair, ts = self._pair(row["instId"], topic), milliseconds(row["ts"])
        return self._statistics.ticker(
            pair,
            ts,
            recv,
            opened=row["open24h"],
            high=row["high24h"],
            low=row["low24h"],
            last=row["last"],
            volume=row["volCcy24h" if self._contracts.contracts(pair, "1") else "vol24h"],
        )

    def _funding(self, row: Row, topic: str, recv: int) -> Sequence[Output]:
        """What is paid at ``fundingTime``, as it is expected to be; told every minute or so.

        ``{"arg":{"channel":"funding-rate","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP",
        "fundingRate":"0.0001875","fundingTime":"1700726400000","nextFundingTime":"1700755200000","ts":"1700724675402"}]}``
        """
        pair, ts = self._pair(row["instId"], topic), milliseconds(row["ts"])
        due, following = (milliseconds(at) if at else None for at in (row["fundingTime"], row["nextFundingTime"]))
        return self._statistics.funding(pair, ts, recv, rate=row["fundingRate"], due=due, following=following)

    def _mark(self, row: Row, topic: str, recv: int) -> Sequence[Output]:
        """The mark price, with the index price that was told last.

        ``{"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP",
        "markPx":"42310.6","ts":"1630049139746"}]}``
        """
        pair = self._pair(row["instId"], topic)
        return self._statistics.mark(pair, milliseconds(row["ts"]), recv, row["markPx"], coins_of(pair))

    def _index(self, row: Row, topic: str, recv: int) -> Sequence[Output]:
        """``{"arg":{"channel":"index-tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","idxPx":"42309.9","ts":"1"}]}``."""
        del recv
        self._statistics.index(topic.partition(".")[2], row["idxPx"])
        return []

    def _interest(self, row: Row, topic: str, recv: int) -> Sequence[Output]:
        """Open interest, in contracts; its value is told in dollars, and in no other currency.

        ``{"arg":{"channel":"open-interest","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP",
        "oi":"2216113.01","oiCcy":"22161.13","oiUsd":"1939251795.5","ts":"1743041250440"}]}``
        """
        pair, ts = self._pair(row["instId"], topic), milliseconds(row["ts"])
        return self._statistics.interest(pair, ts, recv, *self._contracts.coins_and_contracts(pair, row["oi"]))

    def _liquidations(self, row: Row, topic: str, recv: int) -> Sequence[Output]:
        """Positions that were closed by force, not all of them, of all pairs of a type; those of other pairs are left out.

        ``{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP",
        "details":[{"side":"buy","posSide":"short","bkPx":"26100.1","sz":"13","bkLoss":"0","ts":"1692266434010"}]}]}``
        """
        del topic
        pair = self._pairs.get(row["instId"], "")
        if not pair:
            return ()
        side, price, ts = _SIDES[row["side"]], row["bkPx"], milliseconds(row["ts"])
        check_numbers(price)
        size, contracts = self._contracts.coins_and_contracts(pair, row["sz"])
        return [Liquidation(pair, ts, recv, "", side, price, size, contracts)]

    def _announced(self, row: Row, topic: str, recv: int) -> Sequence[Output]:
        """Maintenance, whose state is ``scheduled``, ``ongoing``, ``pre_open``, ``completed`` or ``canceled``.

        ``{"arg":{"channel":"status"},"data":[{"title":"WebSocket upgrade","state":"ongoing","begin":"1672823400000","end":
        "1672823520000","serviceType":"0","env":"1"}]}``
        """
        del topic
        if row.get("env", self._status) != self._status:
            return ()
        pauses = row["state"] in ("ongoing", "pre_open") and row["serviceType"] in _WHOLE_SERVICE
        until = milliseconds(row["end"]) if row.get("end") else None
        return self._maintenance.note(row["title"], row["state"], recv, begins=row["begin"], pauses=pauses, until=until)


_SIDES = {"buy": "buy", "sell": "sell"}


def _args_of(pair: str, symbol: str, kinds: Mapping[Channel, str]) -> Iterator[tuple[Arg, list[Subscription]]]:
    """What is subscribed to for a pair, with the streams that it feeds; an index price feeds none by itself."""
    for channel in channels_of(pair, kinds):
        about = {"instId": symbol}
        if channel is Channel.LIQUIDATIONS:
            about = {"instType": "SWAP" if pair.endswith("-PERP") else "FUTURES"}
        yield {"channel": kinds[channel], **about}, [Subscription(channel, pair)]
        if channel is Channel.MARK:
            yield {"channel": "index-tickers", "instId": coins_of(pair)}, []
