"""OKX's fees, which it writes below zero where they are charged: through CCXT and natively, over a connection and by REST."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from bridge.exchanges.ccxt.digits import decode
from bridge.model import Fill
from tests.codec.needs import needs_ccxt
from tests.codec.sessions import NOW, exchange_of
from tests.unit import okx_frames as frames
from tests.unit import okx_sessions

pytestmark = needs_ccxt
ACCOUNT, PAIR = "main", "BTC-USDT-PERP"


def fills(ident: str, row: Mapping[str, Any], *, by_rest: bool) -> tuple[Fill, Fill]:
    """What CCXT makes of a row, and what our own module does."""
    symbol = "BTC/USDT:USDT"
    exchange = exchange_of(ident, {symbol: "BTC-USDT-SWAP"}, **{"BTC-USDT-SWAP": {"contractSize": Decimal("0.01")}})
    codec, raw = exchange._codec(NOW), decode(json.dumps(row))
    trade = codec.parse_trade(raw) if by_rest else codec.order_to_trade(codec.parse_order(raw))
    events = okx_sessions.account().session._read("fills" if by_rest else "orders", row, NOW)
    [native] = [event for event in events if isinstance(event, Fill)]
    return exchange._rows({symbol: PAIR}).fill(trade, ACCOUNT, NOW), native


@pytest.mark.parametrize("ident", ["okx", "okxus", "myokx"])
@pytest.mark.parametrize(("written", "fee"), [("-0.52", "0.52"), ("0.02", "-0.02"), ("0", "0")])
def test_a_charged_fee_is_above_zero_and_a_rebate_below(ident: str, written: str, fee: str) -> None:
    pushed = frames.row(frames.FILLED, fillFee=written, fee="-0.91")
    fetched = {**frames.FILL, "fee": written, "ts": frames.FILL["fillTime"]}
    for row, by_rest in ((pushed, False), (fetched, True)):
        through, native = fills(ident, row, by_rest=by_rest)
        assert (through.fee, through.fee_currency) == (fee, "USDT")
        assert through == native
