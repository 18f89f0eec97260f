"""The private messages of one Limitlex account, over a connection that carries a token."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge.errors import FrameError, RestError
from bridge.exchanges.base import (
    NOT_UNDERSTOOD,
    UNREADABLE,
    Credentials,
    Flow,
    Replace,
    Restated,
    Said,
    Session,
    Subscription,
    Target,
)
from bridge.exchanges.limitlex.messages import (
    NAME,
    PRIVATE,
    PUBLIC,
    AnyPrivate,
    OpenOrder,
    OwnTrade,
    Wallets,
    decode_private,
    nanoseconds,
    other_message,
)
from bridge.exchanges.limitlex.rest import LimitlexRest, TokenSource
from bridge.exchanges.numbers import check_numbers, check_values
from bridge.model import Balance, Channel, Event, Fill, Order

__all__ = ["PRIVATE_CHANNELS", "AccountSession"]

_SUBACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Sub-account ids are UUIDs; anything with a brace would break the hash tag of the streams' keys."""

PRIVATE_CHANNELS = frozenset({Channel.ORDERS, Channel.FILLS, Channel.BALANCES})


class AccountSession(Session):
    """The private messages of one account, and of its sub-accounts."""

    def __init__(self, url: str, pair_ids: list[str], credentials: Credentials, rest: LimitlexRest) -> None:
        super().__init__(url)
        self._pair_ids = pair_ids
        self._credentials = credentials
        self._rest = rest
        self._token = TokenSource(rest, credentials)
        self._subjects = {credentials.name: None}
        """The account and those of its sub-accounts that were heard of."""

    def open(self, now: int) -> Flow[Target]:
        """A new token for each connection; it travels in the address, which is why ``shown`` leaves it out."""
        token, self.expires = yield from self._token.fetch(now)
        query = f"{self._url}?p={','.join(self._pair_ids)}"
        more = "&subaccounts=true" if self._credentials.subaccounts else ""
        return Target(f"{query}&t={token}{more}", f"{query}&t=***{more}")

    def sync(self, now: int) -> Flow[None]:
        """Nothing is replayed after a connect: open orders and wallets come from REST."""
        account = self._credentials.name
        try:
            orders = yield from self._rest.open_orders(self._credentials, now)
            self.actions.append(Restated(Channel.ORDERS, account, orders, now))
            balances = yield from self._rest.balances(self._credentials, now)
            self.actions.append(Restated(Channel.BALANCES, account, balances, now))
        except RestError as error:
            self.actions.append(Said(error, "open orders and balances are not refreshed"))

    def receive(self, frame: bytes, recv: int) -> Sequence[Event]:
        try:
            message = decode_private(frame)
        except UNREADABLE as error:
            # The pairs' public messages come here too; the pairs' own connections have them.
            self.actions += other_message(frame, error, PRIVATE, PUBLIC)
            return self._first(self._credentials.name, recv)
        subject = self._credentials.name
        if message.subaccountId:
            if not _SUBACCOUNT.fullmatch(message.subaccountId):
                raise FrameError(NAME, frame, f"{message.subaccountId!r} can't be part of a key")
            subject = f"{subject}/{message.subaccountId}"
        try:
            events = self._understand(subject, message, recv)
        except ValueError as error:
            raise FrameError(NAME, frame, str(error)) from None
        return [*self._first(subject, recv), *events]

    def rejected(self, recv: int) -> Sequence[Event]:
        self.actions.append(Replace(NOT_UNDERSTOOD))
        return self.gaps([stream for subject in self._subjects for stream in _streams(subject)], recv)

    def resync(self, subject: str, now: int, reason: str) -> None:
        del subject, now
        self.actions.append(Replace(reason))

    def _understand(self, subject: str, message: AnyPrivate, recv: int) -> list[Event]:
        if isinstance(message, OwnTrade):
            return [self._fill(subject, message, recv)]
        if isinstance(message, OpenOrder):
            return [self._order(subject, message, recv)]
        return self._balances(subject, message, recv)

    def _first(self, subject: str, recv: int) -> list[Event]:
        self._subjects[subject] = None
        return self.lively(_streams(subject), recv)

    def _order(self, subject: str, message: OpenOrder, recv: int) -> Event:
        """An order, placed or changed.

        ``{"t":"open_order","orderId":"0959f899-f4b4-422b-88c0-ec3fa38f8079","orderTradeType":"Limit",
        "orderDirection":"Buy","amountInitial":"0.00010000","amountCompleted":"0","price":"7997.00","createdAt":
        1598530122,"completed":false,"deleted":false}``

        Sent at placement; that fills and cancels send it again with changed fields is inferred from the fields. The
        message doesn't name the pair, and ``createdAt`` is the order's time, not the event's.
        """
        m = message
        status = "open"
        if m.deleted:
            status = "cancelled"
        elif m.completed:
            status = "filled"
        elif m.amountCompleted.strip("0.") != "":
            status = "partially_filled"
        kind, side = m.orderTradeType.lower(), m.orderDirection.lower()
        ts = nanoseconds(m.createdAt)
        price = m.price or ""
        check_values(price)
        check_numbers(m.amountInitial, m.amountCompleted)
        return Order(
            subject, ts, recv, m.orderId, "", "", kind, side, price, m.amountInitial, m.amountCompleted, status
        )

    def _fill(self, subject: str, message: OwnTrade, recv: int) -> Event:
        """An execution.

        ``{"t":"trade","subaccountId":"dff446dc-1aad-4d69-a90f-20f403220470","orderDirection":"Buy","amount":
        "0.00010000","price":"7997.00","createdAt":1598530122}``

        Without trade, order or pair id.
        """
        m = message
        side = m.orderDirection.lower()
        check_numbers(m.price, m.amount)
        return Fill(subject, nanoseconds(m.createdAt), recv, "", "", "", side, m.price, m.amount, "", "")

    def _balances(self, subject: str, message: Wallets, recv: int) -> list[Event]:
        """Wallets.

        ``{"t":"wallets","wallets":[{"currencyId":"ab65...","amountAvailable":"1006.80071837","amountReserved":
        "0.00000000"}]}``

        Whether all currencies or only the changed ones come is unknown: each stands for itself.
        """
        code = self._rest.currency
        for wallet in message.wallets:
            check_values(wallet.amountAvailable or "", wallet.amountReserved or "")
        return [
            Balance(
                subject, None, recv, code(wallet.currencyId), wallet.amountAvailable or "", wallet.amountReserved or ""
            )
            for wallet in message.wallets
        ]


def _streams(subject: str) -> list[Subscription]:
    return [Subscription(channel, subject) for channel in sorted(PRIVATE_CHANNELS)]
