"""One profile and the sample frames of every exchange: what the rules that hold for all of them are tried with.

A new exchange adds itself here; without it `test_exchange_rules` fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress

from msgspec import Struct

from bridge.exchanges import exchange_type
from bridge.exchanges.api import Credentials, Exchange, HttpResponse, Profile
from tests.unit import (
    binance_frames,
    bybit_frames,
    coinbase_account_frames,
    coinbase_frames,
    kraken_frames,
    limitlex_frames,
    lmex_frames,
    okx_frames,
)
from tests.unit.limitlex_keys import SECRET, jwt

TOKEN = jwt({"exp": 4_000_000_000}).encode()
ANSWERS = (
    b'{"result":"' + TOKEN + b'","listenKey":"' + TOKEN + b'"}',
    b'{"result":{"data":[]}}',
    b"[]",
)
"""What REST may answer to anything: a token, no rows in either form."""


class Sample(Struct):
    """What the rules need to know of one exchange.

    ``frames`` are messages as the exchange sends them, whichever connection they belong to.
    """

    name: str
    pairs: tuple[str, ...]
    frames: tuple[bytes, ...]
    secret: str = ""
    """The account's API secret; empty where the exchange has no private channels."""
    options: dict[str, object] = {}
    warm: tuple[bytes, ...] = ()
    """What a session has been sent before, so that it serves the frames: answers, and books' snapshots."""
    quotes_from_books: bool = False
    """Whether a book's message is one of its quotes, too."""
    fills_in_orders: bool = False
    """Whether an order's message may have a fill in it."""
    levels: frozenset[str] = frozenset()
    """Fields whose lists are parts of one event, and no rows that stand for themselves."""
    routing: frozenset[str] = frozenset()
    """Fields without which nothing tells what a message is about."""
    listed: Callable[[str], bytes] | None = None
    """What REST answers to `discover`, by the call, where the exchange can't do without."""
    listings: dict[str, str] = {}
    """REST path → an answer with two rows, of private state that is listed."""
    opening: bytes = ANSWERS[0]
    """What REST answers to a session that opens its connection: the token ``TOKEN``."""

    def __repr__(self) -> str:
        return f"Sample({self.name!r})"

    def exchange(self) -> Exchange:
        """The exchange with all its channels, and an account where it has private ones."""
        kind = exchange_type(self.name)
        account = Credentials("main", "the-api-key", self.secret, subaccounts=True) if self.secret else None
        options = kind.Options.model_validate(self.options)
        exchange = kind(Profile(self.pairs, kind.channels, account=account, options=options))
        if self.listed:
            discovering = exchange.discover(0)
            with suppress(StopIteration):
                request = next(discovering)
                while True:
                    request = discovering.send(HttpResponse(200, self.listed(request.path)))
        return exchange


def _all(*groups: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(frame for group in groups for frame in group)


SAMPLES = (
    Sample(
        "binance",
        binance_frames.SPOT_PAIRS,
        _all(
            binance_frames.CONTROL.values(),
            binance_frames.SHUTDOWNS,
            binance_frames.SPOT_PUBLIC.values(),
            binance_frames.SPOT_PRIVATE.values(),
        ),
        binance_frames.SECRET,
        warm=(binance_frames.SUBSCRIBED,),
        levels=frozenset({"a", "b"}),
        routing=frozenset({"stream"}),
        listings=binance_frames.SPOT_LISTINGS,
    ),
    Sample(
        "binance-usdm",
        binance_frames.USDM_PAIRS,
        _all(
            binance_frames.CONTROL.values(),
            binance_frames.SHUTDOWNS,
            binance_frames.USDM_PUBLIC.values(),
            binance_frames.USDM_PRIVATE.values(),
        ),
        binance_frames.SECRET,
        levels=frozenset({"a", "b"}),
        routing=frozenset({"stream"}),
        listings=binance_frames.USDM_LISTINGS,
    ),
    Sample(
        "bybit",
        bybit_frames.PAIRS,
        _all(
            bybit_frames.CONTROL.values(),
            bybit_frames.PUBLIC.values(),
            bybit_frames.PRIVATE.values(),
            bybit_frames.PONGS,
        ),
        bybit_frames.SECRET,
        warm=bybit_frames.WARM,
        levels=frozenset({"a", "b"}),
        routing=frozenset({"topic"}),
        listings=bybit_frames.LISTINGS,
    ),
    Sample(
        "coinbase",
        coinbase_frames.PAIRS,
        tuple(
            coinbase_frames.frame(message, number)
            for number, message in enumerate(
                (*coinbase_frames.MESSAGES.values(), *map(json.loads, coinbase_account_frames.FRAMES))
            )
        ),
        coinbase_account_frames.SECRET,
        routing=frozenset({"channel", "sequence_num"}),
        listings=coinbase_account_frames.LISTINGS,
    ),
    Sample(
        "kraken",
        kraken_frames.PAIRS,
        _all(
            kraken_frames.CONTROL.values(),
            kraken_frames.PUBLIC.values(),
            kraken_frames.SAMPLED,
            (kraken_frames.BALANCES, kraken_frames.BALANCE),
        ),
        kraken_frames.SECRET,
        warm=kraken_frames.WARM,
        levels=frozenset({"asks", "bids", "fees", "pairs", "assets", "wallets", "warnings"}),
        routing=frozenset({"channel", "sequence", "type"}),
        opening=kraken_frames.rest({"token": TOKEN.decode(), "expires": 900}),
    ),
    Sample(
        "limitlex",
        ("BTC-EUR",),
        _all(limitlex_frames.PUBLIC.values(), limitlex_frames.PRIVATE.values()),
        SECRET,
        {"pair_ids": {"BTC-EUR": limitlex_frames.PAIR_ID}},
        warm=(limitlex_frames.WHOLE,),
        routing=frozenset({"t", "subaccountId"}),
        listings=limitlex_frames.LISTINGS,
    ),
    Sample(
        "lmex",
        ("BTC-USD", "BTC-PERP", "SNDK-PERP"),
        _all(
            lmex_frames.CONTROL.values(), lmex_frames.PUBLIC.values(), lmex_frames.PRIVATE.values(), lmex_frames.PONGS
        ),
        lmex_frames.SECRET,
        {"contract_sizes": {"BTC-PERP": "0.00001", "SNDK-PERP": "0.01"}},
        warm=lmex_frames.WARM,
        quotes_from_books=True,
        routing=frozenset({"topic"}),
        listings=lmex_frames.LISTINGS,
    ),
    Sample(
        "okx",
        okx_frames.PAIRS,
        _all(okx_frames.CONTROL.values(), okx_frames.PUBLIC.values(), okx_frames.PRIVATE.values(), okx_frames.PINGS),
        okx_frames.SECRET,
        warm=okx_frames.WARM,
        fills_in_orders=True,
        levels=frozenset({"asks", "bids"}),
        routing=frozenset({"arg"}),
        listings=okx_frames.LISTINGS,
        listed=okx_frames.instruments,
    ),
)
