"""A Coinbase account's messages and lists, as the documents show them, and the test keys of the official client."""

from __future__ import annotations

import json
from typing import Any

KEY = "organizations/test-organization/apiKeys/test-api-key"
SECRET = "k0BUni0p0vZG1BdpVjS6ogBJ7kxm630AJ2dN+tuputDOKsRAwgyrpEQLeBtS1znTmzPX6Xr2eOWpzx6nW8knkA=="
PUBLIC = "zirEQMIMq6REC3gbUtc505sz1+l69njlqc8ep1vJJ5A="
_EC = (
    "MHcCAQEEIKwf3Uox30cRWzRBOPoPOH5p0Gpb0Dt8zUKXUEM5fMkGoAoGCCqGSM49AwEHoUQDQgAEbAtpLlSZYVOwYICz+uEyxcS29vRIujiES/gQ"
    "1DC7FV4zK4JuYE9vqDyGZQYjdXHLM7I6f/QnnOITL+dXYWBHRA=="
)
PEM = f"-----BEGIN EC PRIVATE KEY-----\n{_EC}\n-----END EC PRIVATE KEY-----\n"
API = "/api/v3/brokerage"
ORDERS = f"{API}/orders/historical/batch"
FILLS = f"{API}/orders/historical/fills"
WALLETS = f"{API}/accounts"
POSITIONS = f"{API}/cfm/positions"
PERMISSIONS = f"{API}/key_permissions"
TIME = "2023-02-09T20:33:57.609931463Z"
NS = 1675974837_609931463
"""`TIME` in nanoseconds since the epoch."""

ORDER = {
    "avg_price": "50000",
    "cancel_reason": "",
    "client_order_id": "XXX",
    "completion_percentage": "100.00",
    "contract_expiry_type": "UNKNOWN_CONTRACT_EXPIRY_TYPE",
    "cumulative_quantity": "0.01",
    "filled_value": "500",
    "leaves_quantity": "0",
    "limit_price": "50000",
    "number_of_fills": "1",
    "order_id": "YYY",
    "order_side": "BUY",
    "order_type": "Limit",
    "outstanding_hold_amount": "0",
    "post_only": "false",
    "product_id": "BTC-USD",
    "product_type": "SPOT",
    "reject_reason": "",
    "retail_portfolio_id": "ZZZ",
    "risk_managed_by": "UNKNOWN_RISK_MANAGEMENT_TYPE",
    "status": "FILLED",
    "stop_price": "",
    "time_in_force": "GOOD_UNTIL_CANCELLED",
    "total_fees": "2",
    "total_value_after_fees": "502",
    "trigger_status": "INVALID_ORDER_TYPE",
    "creation_time": "2024-06-21T18:29:13.909347Z",
    "end_time": "0001-01-01T00:00:00Z",
    "start_time": "0001-01-01T00:00:00Z",
}
"""Of the documents: with its price."""
BARE = {
    "order_id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    "client_order_id": "11111-000000-000001",
    "cumulative_quantity": "0",
    "leaves_quantity": "0.001",
    "avg_price": "0",
    "total_fees": "0",
    "status": "OPEN",
    "product_id": "BTC-USD",
    "creation_time": "2026-04-07T14:29:55.123456Z",
    "order_side": "BUY",
    "order_type": "Limit",
    "cancel_reason": "",
    "reject_reason": "",
    "total_value_after_fees": "68.90050000",
    "product_type": "SPOT",
    "time_in_force": "GOOD_UNTIL_CANCELLED",
    "trigger_status": "INVALID_ORDER_TYPE",
}
"""Of spring 2026: without a price."""
NO_POSITIONS = {"perpetual_futures_positions": [], "expiring_futures_positions": []}
SUMMARY = {
    "type": "snapshot",
    "fcm_balance_summary": {
        "futures_buying_power": "100.00",
        "total_usd_balance": "200.00",
        "cbi_usd_balance": "300.00",
        "cfm_usd_balance": "400.00",
        "total_open_orders_hold_amount": "500.00",
        "unrealized_pnl": "600.00",
        "daily_realized_pnl": "0",
        "initial_margin": "700.00",
        "available_margin": "800.00",
        "liquidation_threshold": "900.00",
        "liquidation_buffer_amount": "1000.00",
        "liquidation_buffer_percentage": "1000",
        "overnight_margin_window_measure": {"margin_window_type": "FCM_MARGIN_WINDOW_TYPE_OVERNIGHT"},
    },
}
LISTED = {
    "order_id": "0000-000000-000001",
    "product_id": "BTC-USD",
    "order_configuration": {
        "limit_limit_gtc": {"base_size": "0.01", "limit_price": "45000.00", "post_only": False},
    },
    "side": "BUY",
    "client_order_id": "11111-000000-000001",
    "status": "OPEN",
    "time_in_force": "GOOD_UNTIL_CANCELLED",
    "created_time": "2024-01-15T10:00:00Z",
    "filled_size": "0",
    "average_filled_price": "0",
    "number_of_fills": "0",
    "size_in_quote": False,
    "total_fees": "0",
    "order_type": "LIMIT",
    "product_type": "SPOT",
    "reject_reason": "",
    "cancel_message": "",
    "outstanding_hold_amount": "450.00",
    "last_fill_time": None,
    "retail_portfolio_id": "",
}
FILL = {
    "entry_id": "22222-2222222-22222222",
    "trade_id": "1111-11111-111111",
    "order_id": "0000-000000-000000",
    "trade_time": "2024-01-15T10:30:00Z",
    "trade_type": "FILL",
    "price": "45123.45",
    "size": "0.005",
    "commission": "1.14",
    "product_id": "BTC-USD",
    "sequence_timestamp": "2024-01-15T10:30:00.123456Z",
    "liquidity_indicator": "MAKER",
    "size_in_quote": False,
    "side": "BUY",
    "retail_portfolio_id": "",
}
WALLET = {
    "uuid": "8bfc20d7-f7c6-4422-bf07-8243ca4169fe",
    "name": "BTC Wallet",
    "currency": "BTC",
    "available_balance": {"value": "1.23456789", "currency": "BTC"},
    "default": True,
    "active": True,
    "type": "CRYPTO",
    "ready": True,
    "hold": {"value": "0.00500000", "currency": "BTC"},
    "retail_portfolio_id": "portfolio-001",
}
POSITION = {
    "product_id": "BIP-20DEC30-CDE",
    "expiration_time": "",
    "side": "LONG",
    "number_of_contracts": "2",
    "current_price": {"value": "50000.00", "currency": "USD"},
    "avg_entry_price": {"value": "49000.00", "currency": "USD"},
    "unrealized_pnl": {"value": "20.00", "currency": "USD"},
    "contract_size": "0.01",
    "leverage": "5",
}
REFUSED = b'{"type":"error","message":"authentication failure"}'


def message(channel: str, number: int, *events: dict[str, Any], **changes: Any) -> bytes:
    """A message of a channel."""
    body = {"channel": channel, "client_id": "", "timestamp": TIME, "sequence_num": number, "events": list(events)}
    return json.dumps({**body, **changes}).encode()


def user(number: int, *orders: dict[str, Any], kind: str = "update", **changes: Any) -> bytes:
    """A message with these orders."""
    return message("user", number, {"type": kind, "orders": list(orders), "positions": NO_POSITIONS}, **changes)


def subscriptions(number: int, **channels: list[str]) -> bytes:
    return message("subscriptions", number, {"subscriptions": channels})


def wallet(currency: str, free: str, held: str = "0", **changes: Any) -> dict[str, Any]:
    """A wallet of a currency."""
    amounts = {
        "available_balance": {"value": free, "currency": currency},
        "hold": {"value": held, "currency": currency},
    }
    return {**WALLET, "currency": currency, **amounts, **changes}


def answer(name: str, *rows: dict[str, Any], cursor: str = "") -> bytes:
    """A page of a list."""
    more = {} if name == "fills" else {"has_next": bool(cursor)}
    return json.dumps({name: list(rows), **more, "cursor": cursor}).encode()


LISTINGS = {
    ORDERS: answer("orders", LISTED, {**LISTED, "order_id": "0000-000000-000002", "side": "SELL"}).decode(),
    FILLS: answer("fills", FILL, {**FILL, "entry_id": "33333-3333333-33333333", "side": "SELL"}).decode(),
    WALLETS: answer("accounts", WALLET, wallet("USD", "7.00")).decode(),
    POSITIONS: answer("positions", POSITION, {**POSITION, "product_id": "BIT-24APR26-CDE", "side": "SHORT"}).decode(),
}
FRAMES = (
    user(0, ORDER, {**ORDER, "order_id": "ZZZ", "status": "OPEN", "leaves_quantity": "0.01"}, kind="snapshot"),
    message("futures_balance_summary", 0, SUMMARY),
)
