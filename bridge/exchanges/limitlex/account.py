"""The orders, fills and balances of one Limitlex account, over a connection that carries a token, and by REST.

REST names fields as in ``order_id``, the WebSocket as in ``orderId``: rows are read under REST's names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from msgspec import Raw

from bridge.exchanges.api import (
    NOT_UNDERSTOOD,
    Credentials,
    Flow,
    Output,
    Reject,
    Replace,
    Restated,
    Session,
    Subscription,
    Target,
)
from bridge.exchanges.limitlex.pair import NAME, kind_of
from bridge.exchanges.limitlex.rest import LimitlexRest
from bridge.exchanges.toolkit.accounts.private import StateFetch
from bridge.exchanges.toolkit.values.fields import Row, fields_of, text
from bridge.exchanges.toolkit.values.numbers import (
    SECOND,
    check_amounts,
    check_ids,
    check_numbers,
    check_values,
    check_words,
    epoch_ns,
    id_or_empty,
    shortened,
)
from bridge.exchanges.toolkit.values.row_lists import BAD_ROW, read_rows
from bridge.exchanges.toolkit.values.salvage import WRONG, Damage, readable, rows_of
from bridge.model import Balance, Channel, Event, Fill, Order

__all__ = ["PRIVATE", "AccountSession"]

PRIVATE = {"open_order": Channel.ORDERS, "trade": Channel.FILLS, "wallets": Channel.BALANCES}
"""Type of a message → the channel that it is for."""
_SUBACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch
"""Sub-account ids are UUIDs; anything with a brace would break the hash tag of the streams' keys."""
_TIME_DIGITS = 10
_CAPITAL = re.compile(r"[A-Z]")
_SIDES = {"buy": "buy", "sell": "sell"}


class AccountSession(Session):
    """The private messages of one account, and of its sub-accounts.

    ``pair_ids`` are those that the connector reads, whenever it is asked. The exchange doesn't say whether private messages
    come of other pairs than the address names: where one joins, the connection is replaced by one that names it, too.
    """

    def __init__(
        self, url: str, pair_ids: Callable[[], Sequence[str]], account: Credentials, rest: LimitlexRest
    ) -> None:
        super().__init__(url)
        self._pair_ids = pair_ids
        self._named = frozenset(pair_ids())
        """The pairs in the address."""
        self._account = account
        self._rest = rest
        self._subjects = {account.name: None}
        """The account, and those of its sub-accounts that have had a message."""
        self._state = StateFetch(
            self, account.name, "open orders and balances", steps=lambda: (self._sync_orders, self._sync_balances)
        )

    def open(self, now: int) -> Flow[Target]:
        """A new token for each connection; it travels in the address, which is why ``shown`` leaves it out."""
        token, self.expires = yield from self._rest.token(self._account, now)
        pair_ids = self._pair_ids()
        self._named = frozenset(pair_ids)
        query = f"{self._url}?p={','.join(pair_ids)}"
        more = "&subaccounts=true" if self._account.subaccounts else ""
        return Target(f"{query}&t={token}{more}", f"{query}&t=***{more}")

    def connected(self, now: int) -> Sequence[Output]:
        """Nothing is replayed after a connect: open orders and wallets come from REST."""
        return self._state.begin(now)

    def tick(self, now: int) -> Sequence[Output]:
        joined = not self._named.issuperset(self._pair_ids())
        return [*self._state.tick(now), *([Replace("a pair has joined")] if joined else [])]

    def rejected(self, recv: int) -> Sequence[Output]:
        streams = [stream for subject in self._subjects for stream in _streams(subject)]
        return [*self.gaps(streams, recv), Replace(NOT_UNDERSTOOD)]

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        del subject, now
        return [Replace(reason)]

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        outputs: list[Output] = []
        mended = readable(frame)
        kind = kind_of(frame, mended, PRIVATE, outputs)
        if not kind:  # the pairs' public messages come here too: the pairs' own connections have them
            return [*outputs, *self._lively(self._account.name, recv)]
        damage = Damage(NAME, frame, counted=kind == "trade")
        events: list[Output] = []
        subjects = list(self._subjects)  # any of them, where the message's can't be read
        try:
            fields = fields_of(mended)
            subjects = [self._subject(fields)]
            rows = rows_of(fields.get("wallets", b"")) if kind == "wallets" else [fields]
        except WRONG as error:
            damage.row(error, [Subscription(PRIVATE[kind], subject) for subject in subjects])
            rows = []
        for row in rows:
            try:
                events.append(self._read(kind, _snake_case(row), subjects[0], recv))
            except WRONG as error:
                damage.row(error, [Subscription(PRIVATE[kind], subjects[0])], len(events))
        if damage:
            self._state.want(recv)
        live = [event for subject in subjects for event in self._lively(subject, recv)]
        return [*live, *damage.settle(self, events, recv)]

    def _subject(self, fields: dict[str, Raw]) -> str:
        """The account, or the sub-account that a message names."""
        sub = text(fields.get("subaccountId", Raw(b"null")))
        if sub and not _SUBACCOUNT(sub):
            raise ValueError(f"{shortened(sub)} can't be part of a key")
        return f"{self._account.name}/{sub}" if sub else self._account.name

    def _lively(self, subject: str, recv: int) -> list[Output]:
        self._subjects[subject] = None
        return self.lively(_streams(subject), recv)

    def _read(self, kind: str, row: Row, subject: str, recv: int) -> Event:
        """What a message, or a wallet of one, says.

        Raises:
            one of `WRONG`: it can't be understood.
        """
        if kind == "wallets":
            return self._balance(row, subject, recv)
        side, ts = _SIDES[row["order_direction"].lower()], epoch_ns(int(row["created_at"]), SECOND)
        if kind == "open_order":
            check_numbers(row["amount_initial"])
            return self._order(row, subject, recv, side, ts)
        return self._fill(row, subject, recv, side, ts)

    def _order(self, row: Row, subject: str, recv: int, side: str, ts: int | None) -> Order:
        """An order, placed or changed.

        ``{"t":"open_order","orderId":"0959f899-f4b4-422b-88c0-ec3fa38f8079","orderTradeType":"Limit",
        "orderDirection":"Buy","amountInitial":"0.00010000","amountCompleted":"0","price":"7997.00","createdAt":
        1598530122,"completed":false,"deleted":false}``

        Sent at placement; that fills and cancels send it again with changed fields is inferred from the fields. The
        message doesn't name the pair, and ``createdAt`` is the order's time, not the event's.
        """
        order_id, kind = row["order_id"], (row.get("order_trade_type") or "limit").lower()
        price, size, filled = row.get("price", ""), row.get("amount_initial", ""), row.get("amount_completed") or "0"
        check_ids(order_id)
        check_words(kind)
        check_amounts(price, size, filled)
        status = "partially_filled" if Decimal(filled) else "open"
        if row.get("deleted") == "true":
            status = "cancelled"
        elif row.get("completed") == "true":
            status = "filled"
        return Order(subject, ts, recv, order_id, "", "", kind, side, price, size, filled, status)

    def _fill(self, row: Row, subject: str, recv: int, side: str, ts: int) -> Fill:
        """An execution, without trade, order or pair id.

        ``{"t":"trade","subaccountId":"dff446dc-1aad-4d69-a90f-20f403220470","orderDirection":"Buy","amount":
        "0.00010000","price":"7997.00","createdAt":1598530122}``
        """
        price, size = row["price"], row["amount"]
        check_numbers(price, size)
        return Fill(subject, ts, recv, "", "", "", side, price, size, "", "")

    def _balance(self, row: Row, subject: str, recv: int) -> Balance:
        """A wallet.

        ``{"t":"wallets","wallets":[{"currencyId":"ab65...","amountAvailable":"1006.80071837","amountReserved":
        "0.00000000"}]}``

        Whether all currencies or only the changed ones come is unknown: each is published by itself.
        """
        available, reserved = row.get("amount_available", ""), row.get("amount_reserved", "")
        currency = self._rest.currency(row["currency_id"])
        check_ids(row["currency_id"])
        check_words(currency)
        check_values(available, reserved)
        return Balance(subject, None, recv, currency, available, reserved)

    def _sync_orders(self, now: int) -> Flow[list[Output]]:
        """The open orders; fields that REST leaves out are empty."""

        def read(row: Row) -> list[Event]:
            created, direction = row.get("created_at", ""), row.get("order_direction", "").lower()
            side = _SIDES[direction] if direction else ""
            known = created.isascii() and created.isdecimal() and len(created) <= _TIME_DIGITS
            ts = epoch_ns(int(created), SECOND) if known else None
            return [self._order(row, self._account.name, now, side, ts)]

        return (yield from self._restated("/private/open_orders", Channel.ORDERS, read, now))

    def _sync_balances(self, now: int) -> Flow[list[Output]]:
        """The wallets; ``reserved`` is empty where REST leaves it out."""

        def read(row: Row) -> list[Event]:
            return [self._balance(row, self._account.name, now)]

        return (yield from self._restated("/private/balance", Channel.BALANCES, read, now))

    def _restated(
        self, path: str, channel: Channel, read: Callable[[Row], list[Event]], now: int
    ) -> Flow[list[Output]]:
        """A listing; a row that can't be understood must make no known order look closed."""
        rows = yield from self._rest.rows(self._account, path, now)
        events, errors, bad = read_rows(NAME, rows, read)
        unread = {id_or_empty(row.get("order_id", "")) for row in bad}

        def covers(event: Event) -> bool:
            return "" not in unread and getattr(event, "order_id", "") not in unread

        missed = self._state.gap(channel, now, BAD_ROW) if bad else []
        state = Restated(channel, self._account.name, events, now, covers if bad else None)
        return [*map(Reject, errors), *missed, state]


def _streams(subject: str) -> list[Subscription]:
    return [Subscription(channel, subject) for channel in sorted(PRIVATE.values())]


def _snake_case(fields: Raw | dict[str, Raw]) -> Row:
    """A message's fields as text, named as REST does it: ``orderId`` becomes ``order_id``."""
    if not isinstance(fields, dict):
        fields = fields_of(fields)
    return {_CAPITAL.sub(lambda capital: f"_{capital[0].lower()}", name): text(value) for name, value in fields.items()}
