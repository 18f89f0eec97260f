"""All products that Coinbase lists, as pairs: ``GET /api/v3/brokerage/market/products``, without a log-in."""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from bridge.errors import RestError
from bridge.exchanges.base import UNREADABLE, Flow, HttpRequest, ListedPair
from bridge.exchanges.waiting import seconds_to_wait

__all__ = ["list_products"]

_PATH = "/api/v3/brokerage/market/products"
_MOST_PAGES = 50


class _Product(Struct):
    product_id: str
    base_currency_id: str = ""
    quote_currency_id: str = ""
    product_type: str = "SPOT"
    status: str = ""
    trading_disabled: bool | None = None
    is_disabled: bool | None = None
    cancel_only: bool | None = None


class _Pagination(Struct):
    has_next: bool = False
    next_cursor: str = ""


class _Page(Struct):
    products: list[Raw]
    pagination: _Pagination | None = None


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_product = msgspec.json.Decoder(_Product).decode


def list_products(exchange: str) -> Flow[list[ListedPair]]:
    """The products of all pages; one that can't be read is left out.

    Raises:
        RestError: no answer, or none that is a list.
    """
    found: dict[str, ListedPair] = {}
    path = _PATH
    for _ in range(_MOST_PAGES):
        response = yield HttpRequest("GET", path)
        if response.status >= 400:
            wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
            raise RestError.of(exchange, _PATH, response.status, "no product list", wait)
        try:
            page = _decode_page(response.body)
        except UNREADABLE as error:
            raise RestError(exchange, _PATH, response.status, f"not a product list: {str(error)[:200]}") from None
        before = len(found)
        found.update((pair.pair, pair) for pair in map(_listed, page.products) if pair is not None)
        following = page.pagination.next_cursor if page.pagination and page.pagination.has_next else ""
        if not following or len(found) == before:
            break
        path = f"{_PATH}?cursor={quote(following, safe='')}"
    return list(found.values())


def _listed(row: Raw) -> ListedPair | None:
    try:
        product = _decode_product(row)
    except UNREADABLE:
        return None
    halted = next((name for name in ("trading_disabled", "is_disabled", "cancel_only") if getattr(product, name)), "")
    base, _, currency = product.product_id.rpartition("-")
    return ListedPair(
        product.product_id,
        product.base_currency_id or base,
        product.quote_currency_id or currency,
        "spot" if product.product_type == "SPOT" else "future",
        halted or product.status,
    )
