"""Rows of a Coinbase account's lists, and the answers that they are in."""

from __future__ import annotations

from typing import Any

from tests.unit import coinbase_account_frames as frames


def bare(ident: str, **changes: Any) -> dict[str, Any]:
    return {**frames.BARE, "order_id": ident, **changes}


def listed(ident: str, **changes: Any) -> dict[str, Any]:
    return {**frames.LISTED, "order_id": ident, **changes}


def one(row: dict[str, Any]) -> dict[str, Any]:
    """The answer about one order."""
    return {"order": row}


def by_id(ident: str) -> str:
    return f"{frames.API}/orders/historical/{ident}"


def orders(*rows: dict[str, Any]) -> bytes:
    return frames.answer("orders", *rows)


def fills(*rows: dict[str, Any]) -> bytes:
    return frames.answer("fills", *rows)


def part(ident: str, order_id: str, size: str, **changes: Any) -> dict[str, Any]:
    return {**frames.FILL, "entry_id": ident, "order_id": order_id, "size": size, **changes}
