"""The private messages of one Limitlex account, over a connection that carries a token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from bridge.exchanges.api import (
    NOT_UNDERSTOOD,
    Credentials,
    Flow,
    Reject,
    Replace,
    Restated,
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
    Wallet,
    Wallets,
    decode_private,
    decode_wallet,
    nanoseconds,
    other_message,
)
from bridge.exchanges.limitlex.rest import LimitlexRest, Listing, TokenSource
from bridge.exchanges.toolkit.fields import fields_of, text
from bridge.exchanges.toolkit.numbers import (
    check_amounts,
    check_ids,
    check_numbers,
    check_values,
    check_words,
    shortened,
)
from bridge.exchanges.toolkit.private import StateFetch
from bridge.exchanges.toolkit.salvage import UNREADABLE, Damage, readable
from bridge.model import Balance, Channel, Event, Fill, Order

__all__ = ["PRIVATE_CHANNELS", "AccountSession"]

_SUBACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Sub-account ids are UUIDs; anything with a brace would break the hash tag of the streams' keys."""

PRIVATE_CHANNELS = frozenset({Channel.ORDERS, Channel.FILLS, Channel.BALANCES})
_CHANNELS = {"open_order": Channel.ORDERS, "trade": Channel.FILLS, "wallets": Channel.BALANCES}
"""Which stream a message is for."""


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
        self._state = StateFetch(self, credentials.name, "open orders and balances")

    def open(self, now: int) -> Flow[Target]:
        """A new token for each connection; it travels in the address, which is why ``shown`` leaves it out."""
        token, self.expires = yield from self._token.fetch(now)
        query = f"{self._url}?p={','.join(self._pair_ids)}"
        more = "&subaccounts=true" if self._credentials.subaccounts else ""
        return Target(f"{query}&t={token}{more}", f"{query}&t=***{more}")

    def sync(self, now: int) -> Flow[None]:
        """Nothing is replayed after a connect: open orders and wallets come from REST."""
        yield from self._state.fetch(now, (self._sync_orders, self._sync_balances))

    def _sync_orders(self, now: int) -> Flow[None]:
        self._restated(Channel.ORDERS, (yield from self._rest.open_orders(self._credentials, now)), now)

    def _sync_balances(self, now: int) -> Flow[None]:
        self._restated(Channel.BALANCES, (yield from self._rest.balances(self._credentials, now)), now)

    def tick(self, now: int) -> Sequence[Event]:
        return self._state.tick(now)

    def receive(self, frame: bytes, recv: int) -> Sequence[Event]:
        try:
            message = decode_private(frame)
        except UNREADABLE as error:
            return self._other(frame, recv, error)
        return self._take(message, frame, recv)

    def rejected(self, recv: int) -> Sequence[Event]:
        self.actions.append(Replace(NOT_UNDERSTOOD))
        return self.gaps([stream for subject in self._subjects for stream in _streams(subject)], recv)

    def resync(self, subject: str, now: int, reason: str) -> None:
        del subject, now
        self.actions.append(Replace(reason))

    def _restated(self, channel: Channel, listing: Listing, now: int) -> None:
        """Take a listing; a row that can't be understood must make no known order look closed."""
        account = self._credentials.name
        covers = listing.covers if listing.unread else None
        self.actions.append(Restated(channel, account, listing.events, now, covers))
        self.actions += [Reject(error) for error in listing.rejects]
        if listing.rejects:
            self._state.missed(channel, now, NOT_UNDERSTOOD)

    def _other(self, frame: bytes, recv: int, error: Exception) -> list[Event]:
        """The pairs' public messages come here too, the pairs' own connections have them; or a message is bad."""
        mended = readable(frame)
        kind, actions = other_message(frame, mended, error, known=PRIVATE, elsewhere=PUBLIC)
        self.actions += actions
        if not kind:
            return self._first(self._credentials.name, recv)
        if mended is not frame:
            try:
                return self._take(decode_private(mended), frame, recv)
            except UNREADABLE as why:
                error = why
        return self._damaged(kind, frame, recv, error)

    def _take(self, message: AnyPrivate, frame: bytes, recv: int) -> list[Event]:
        subject = self._credentials.name
        if message.subaccountId is not None:
            subject = f"{subject}/{message.subaccountId}"
            if not _SUBACCOUNT.fullmatch(message.subaccountId):
                why = ValueError(f"{shortened(message.subaccountId)} can't be part of a key")
                return self._damaged(str(message.__struct_config__.tag), frame, recv, why)
        try:
            if isinstance(message, Wallets):
                events = self._balances(subject, message, frame, recv)
            elif isinstance(message, OwnTrade):
                events = [self._fill(subject, message, recv)]
            else:
                events = [self._order(subject, message, recv)]
        except ValueError as error:
            return self._damaged(str(message.__struct_config__.tag), frame, recv, error, [subject])
        return [*self._first(subject, recv), *events]

    def _damaged(
        self, kind: str, frame: bytes, recv: int, error: Exception, subjects: Sequence[str] | None = None
    ) -> list[Event]:
        """A message of this type is bad: its stream misses it; where its account can't be read, any of them may."""
        if subjects is None:
            sub = _subaccount_of(frame)
            account = self._credentials.name
            subjects = list(self._subjects) if sub is None else [f"{account}/{sub}" if sub else account]
        damage = Damage(NAME, frame, counted=kind == "trade")
        damage.row(error, [Subscription(_CHANNELS[kind], subject) for subject in subjects])
        self._state.want(recv)
        return [
            *(live for subject in subjects for live in self._first(subject, recv)),
            *damage.settle(self, [], recv),
        ]

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
        check_ids(m.orderId)
        check_words(m.orderTradeType or "")
        check_amounts(m.price or "")
        check_numbers(m.amountInitial, m.amountCompleted)
        status = "open"
        if m.deleted:
            status = "cancelled"
        elif m.completed:
            status = "filled"
        elif Decimal(m.amountCompleted):
            status = "partially_filled"
        kind, side = (m.orderTradeType or "").lower(), m.orderDirection.lower()
        ts = nanoseconds(m.createdAt)
        price = m.price or ""
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

    def _balances(self, subject: str, message: Wallets, frame: bytes, recv: int) -> list[Event]:
        """Wallets.

        ``{"t":"wallets","wallets":[{"currencyId":"ab65...","amountAvailable":"1006.80071837","amountReserved":
        "0.00000000"}]}``

        Whether all currencies or only the changed ones come is unknown: each stands for itself.
        """
        events: list[Event] = []
        damage = Damage(NAME, frame)
        for raw in message.wallets:
            try:
                events.append(self._balance(subject, decode_wallet(raw), recv))
            except (*UNREADABLE, ValueError) as error:
                damage.row(error, [Subscription(Channel.BALANCES, subject)], len(events))
        if damage:
            self._state.want(recv)
        return damage.settle(self, events, recv)

    def _balance(self, subject: str, wallet: Wallet, recv: int) -> Balance:
        currency = self._rest.currency(wallet.currencyId)
        available, reserved = wallet.amountAvailable or "", wallet.amountReserved or ""
        check_ids(wallet.currencyId)
        check_words(currency)
        check_values(available, reserved)
        return Balance(subject, None, recv, currency, available, reserved)


def _subaccount_of(frame: bytes) -> str | None:
    """The sub-account that a bad message names; empty where it names none, ``None`` where that can't be read."""
    try:
        named = fields_of(readable(frame)).get("subaccountId")
        if named is None or bytes(named) == b"null":
            return ""
        sub = text(named)
    except UNREADABLE:
        return None
    return sub if _SUBACCOUNT.fullmatch(sub) else None


def _streams(subject: str) -> list[Subscription]:
    return [Subscription(channel, subject) for channel in sorted(PRIVATE_CHANNELS)]
