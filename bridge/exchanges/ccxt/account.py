"""An account through CCXT: its orders, fills, balances and positions over a connection, and its present state by REST."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from msgspec import Struct

from bridge.exchanges.api import Flow, Output, Reconnect, Said, Send
from bridge.exchanges.ccxt.calls import Call, Source
from bridge.exchanges.ccxt.errors import needs_symbol, not_offered, rest_error
from bridge.exchanges.ccxt.readers import Reader
from bridge.exchanges.ccxt.rows import Rows, rows_of
from bridge.exchanges.ccxt.session import CcxtSession
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.login import refused_by_rest
from bridge.exchanges.toolkit.accounts.private import PrivateState, Step
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT
from bridge.exchanges.toolkit.values.fields import Row
from bridge.exchanges.toolkit.values.numbers import MILLISECOND
from bridge.model import Channel, Event

__all__ = ["Account", "AccountSession"]

_METHODS = {
    Channel.ORDERS: "fetch_open_orders",
    Channel.FILLS: "fetch_my_trades",
    Channel.BALANCES: "fetch_balance",
    Channel.POSITIONS: "fetch_positions",
}


class Account(Struct, frozen=True):
    """What the successive sessions of an account share, over one connection.

    ``symbols`` are CCXT's of the pairs that the connector reads at present → the pairs.
    """

    name: str
    rows: Rows
    channels: tuple[Channel, ...]
    memory: AccountMemory
    symbols: Callable[[], Mapping[str, str]]


class AccountSession(CcxtSession):
    """Log-in, subscriptions, and what REST says of the time before. Everything that it sends may hold a secret."""

    _secret = True

    def __init__(self, source: Source, calls: Sequence[Call], reader: Reader, account: Account) -> None:
        super().__init__(source, calls, reader)
        self._account = account
        what = ", ".join(account.channels)
        self._state = PrivateState(
            self, source.exchange, account.name, account.memory, steps=self._steps, failed=refused_by_rest, what=what
        )
        self._asked = False
        reader.news = self._state.news

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        out = [*super().receive(frame, recv)]
        if self.ready and not self._asked:
            self._asked = True
            self._account.memory.refused = 0
            out += self._state.begin(recv)
        elif self._asked and any(isinstance(output, Send) for output in out):
            self._state.want(recv)  # another subscription: something may have happened before it stood
        return out

    def rejected(self, recv: int) -> Sequence[Output]:
        """What was in the frame is fetched by REST."""
        self._state.want(recv)
        return super().rejected(recv)

    def tick(self, now: int) -> Sequence[Output]:
        return [*super().tick(now), *(self._state.tick(now) if self._asked else [])]

    def _login_refused(self, said: Said) -> list[Output]:
        """A first refusal may be our clock's fault; after another one it stays away for long."""
        self._account.memory.refused += 1
        wait = 0.0 if self._account.memory.refused == 1 else LONG_WAIT
        return [said, Reconnect(f"the log-in is refused: {said.error.about}", wait)]

    # REST

    def _steps(self) -> Sequence[Step]:
        return [self._step(channel) for channel in self._account.channels]

    def _step(self, channel: Channel) -> Step:
        def step(now: int) -> Flow[list[Output]]:
            try:
                found = yield from self._ask(channel, None, now)
            except _SymbolError:
                return (yield from self._each(channel, now))
            return [] if found is None else self._restate(channel, found, now, None)

        return step

    def _each(self, channel: Channel, now: int) -> Flow[list[Output]]:
        """Some exchanges answer for one market only: the connector's pairs, one after the other."""
        rows: list[Any] = []
        pairs = self._account.symbols()
        for symbol in pairs:
            found = yield from self._ask(channel, symbol, now)
            rows += found or []
        covered = frozenset(pairs.values())
        return self._restate(channel, rows, now, lambda event: getattr(event, "pair", "") in covered)

    def _ask(self, channel: Channel, symbol: str | None, now: int) -> Flow[Any]:
        """What CCXT fetches; ``None`` where it doesn't offer that.

        Raises:
            RestError: REST is away, or refuses.
            _SymbolError: it wants a symbol.
        """
        codec = self._source.make(now)
        method = getattr(codec, _METHODS[channel])
        arguments: list[Any] = [symbol] if symbol else []
        if channel is Channel.FILLS:
            arguments = [symbol, self._account.memory.history_since(now) // MILLISECOND]
        task = codec.machine.start(method(*arguments))
        yield from codec.machine.converse(self._source.addresses.request)
        try:
            return task.result.result()
        except Exception as error:  # noqa: BLE001 - whatever a module of CCXT's raises
            if not_offered(error):
                return None
            if needs_symbol(error) and symbol is None:
                raise _SymbolError from None
            raise rest_error(self._exchange, _METHODS[channel], error, task.status) from None

    def _restate(self, channel: Channel, found: Any, now: int, covers: Callable[[Event], bool] | None) -> list[Output]:
        rows, name = self._account.rows, self._account.name
        if channel is Channel.BALANCES:
            whole = cast("Row", found)
            return self._state.restate(channel, [whole], lambda row: [*rows.balances(row, name, now)], now)
        read = {Channel.ORDERS: rows.order, Channel.FILLS: rows.fill, Channel.POSITIONS: rows.position}[channel]
        listed = cast("list[Row]", rows_of(found))
        return self._state.restate(channel, listed, lambda row: [read(row, name, now)], now, covers, name=_ident)


class _SymbolError(Exception):
    """CCXT answers for one market only."""


def _ident(row: Mapping[str, Any]) -> str:
    return str(row.get("id") or "")
