"""Coinbase's product list, by REST: which pairs there are, which are halted, and which are another one under a second name.

The call is public: ``GET /api/v3/brokerage/market/products``. It answered with all 920 products at once in August
2026; ``pagination`` is followed should it ever come in parts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw, Struct

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Flow, HttpRequest, HttpResponse, ListedPair
from bridge.exchanges.coinbase.messages import NAME
from bridge.exchanges.toolkit.salvage import UNREADABLE
from bridge.exchanges.toolkit.waiting import seconds_to_wait

__all__ = ["Listing", "Names", "second_name"]

_PATH = "/api/v3/brokerage/market/products"
_MOST_PAGES = 50
_MOST_ASKED = 50
"""Products that one call asks for by name; their names go into its address."""


class _Product(Struct):
    product_id: str
    base_currency_id: str | None = None
    quote_currency_id: str | None = None
    product_type: str | None = None
    status: str | None = None
    trading_disabled: bool | None = None
    is_disabled: bool | None = None
    cancel_only: bool | None = None
    alias: str | None = None

    @property
    def halted(self) -> str:
        """Why nobody can trade it; empty where one can."""
        if self.status not in (None, "", "online"):
            return str(self.status)[:40]
        return next((name for name in ("trading_disabled", "is_disabled", "cancel_only") if getattr(self, name)), "")


class _Pagination(Struct):
    has_next: bool = False
    next_cursor: str = ""


class _Page(Struct):
    products: list[Raw]
    pagination: _Pagination | None = None


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_product = msgspec.json.Decoder(_Product).decode


class Listing:
    """What the product list says; empty until it has been read."""

    def __init__(self) -> None:
        self._products: dict[str, _Product] = {}
        self.version = 0
        """Rises with each answer; 0 as long as nothing is known."""

    @property
    def known(self) -> bool:
        """Whether the list has been read."""
        return self.version > 0

    def product(self, pair: str) -> str:
        """The product whose trades and books this pair's are: ``BTC-USDC`` → ``BTC-USD``; itself, where nothing is known."""
        found = self._products.get(pair)
        return found.alias if found is not None and found.alias in self._products and found.alias else pair

    def unknown(self, pair: str) -> str:
        """Why the exchange doesn't have the pair, with the nearest names that it has; empty where it does."""
        if not self.known or pair in self._products:
            return ""
        near = difflib.get_close_matches(pair, self._products, n=3, cutoff=0.6)
        return f"the exchange lists no pair {pair}" + (f"; the nearest are {', '.join(near)}" if near else "")

    def nearest(self, pair: str) -> list[str]:
        """The nearest names that the exchange has."""
        return difflib.get_close_matches(pair, self._products, n=3, cutoff=0.6)

    def halted(self, pair: str) -> str:
        """Why the pair can't be traded at present; empty where it can, or where nothing is known."""
        found = self._products.get(pair)
        return f"the exchange lists the pair as halted ({found.halted})" if found is not None and found.halted else ""

    def pairs(self) -> list[ListedPair]:
        """Everything that it lists."""
        return [_listed(product) for product in self._products.values()]

    def in_trouble(self, pairs: Iterable[str]) -> list[str]:
        """Those that are unknown or halted."""
        return [pair for pair in pairs if self.unknown(pair) or self.halted(pair)]

    def read(self) -> Flow[None]:
        """Fetch the whole list.

        Raises:
            RestError: no answer, or none that lists anything.
        """
        found: dict[str, _Product] = {}
        cursor = ""
        for _ in range(_MOST_PAGES):
            page = yield from self._page({"cursor": cursor} if cursor else {})
            before = len(found)
            found.update(_products(page))
            following = page.pagination.next_cursor if page.pagination and page.pagination.has_next else ""
            if not following or following == cursor or len(found) == before:
                break
            cursor = following
        if not found:
            raise RestError(NAME, _PATH, 200, "the answer lists no products")
        self._products = found
        self.version += 1

    def refresh(self, pairs: Sequence[str]) -> Flow[None]:
        """Ask for these pairs alone; those that the answer leaves out stay as they are.

        Raises:
            RestError: no answer.
        """
        for start in range(0, len(pairs), _MOST_ASKED):
            page = yield from self._page({"product_ids": pairs[start : start + _MOST_ASKED]})
            self._products.update(_products(page))
        self.version += 1

    def _page(self, query: dict[str, str | Sequence[str]]) -> Flow[_Page]:
        path = f"{_PATH}?{urlencode(query, doseq=True, quote_via=quote)}" if query else _PATH
        response = yield HttpRequest("GET", path)
        return _page_of(response)


def _page_of(response: HttpResponse) -> _Page:
    wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
    if response.status >= 400:
        raise RestError(NAME, _PATH, response.status, "no product list", wait)
    try:
        return _decode_page(response.body)
    except UNREADABLE as error:
        raise RestError(NAME, _PATH, response.status, f"not a product list: {str(error)[:200]}") from None


def _products(page: _Page) -> dict[str, _Product]:
    """The products that can be read: one that can't concerns nobody but itself."""
    found: dict[str, _Product] = {}
    for row in page.products:
        try:
            product = _decode_product(row)
        except UNREADABLE:
            continue
        found[product.product_id] = product
    return found


def _listed(product: _Product) -> ListedPair:
    base, _, currency = product.product_id.rpartition("-")
    return ListedPair(
        product.product_id,
        product.base_currency_id or base,
        product.quote_currency_id or currency,
        "spot" if product.product_type in (None, "", "SPOT") else "future",
        product.halted or product.status or "",
    )


def second_name(pair: str) -> str:
    """The name under which the exchange may answer for a pair, where its list is not to be had; empty if there is none.

    "Only the user channel takes -USDC products, elsewhere they are served as -USD", say its documents; all 400 aliases
    of its list of August 2026 are of this kind.
    """
    base, _, currency = pair.rpartition("-")
    return f"{base}-{_SAME[currency]}" if base and currency in _SAME else ""


_SAME = {"USD": "USDC", "USDC": "USD"}


class Names:
    """Which product each pair is asked for as, and under which names the exchange may speak of it."""

    def __init__(self, pairs: Iterable[str], listing: Listing) -> None:
        self._product = {pair: listing.product(pair) for pair in pairs}
        self.asked_as: dict[str, str] = {}
        """Every name → the product."""
        self.pairs_of: dict[str, tuple[str, ...]] = {}
        """Every name → the pairs that it is about."""
        for pair, product in self._product.items():
            self.asked_as[product] = self.asked_as[pair] = product
        for product in self.products:
            second = second_name(product)
            if second:
                self.asked_as.setdefault(second, product)
        self._update()

    @property
    def products(self) -> list[str]:
        """All products, each once, in the order of their pairs."""
        return list(dict.fromkeys(self._product.values()))

    def product(self, pair: str) -> str | None:
        """What a pair is asked for as; ``None`` for a pair that isn't one of these."""
        return self._product.get(pair)

    def second(self, product: str) -> str:
        """Another of the products that this one may be served as; empty if there is none."""
        other = self.asked_as.get(second_name(product), product)
        return other if other != product else ""

    def serve_as(self, product: str, other: str) -> None:
        """The exchange serves ``product`` under the name of ``other``, which is asked for as well."""
        self._product = {pair: other if asked == product else asked for pair, asked in self._product.items()}
        self._update()

    def _update(self) -> None:
        pairs: dict[str, list[str]] = {}
        for pair, product in self._product.items():
            pairs.setdefault(product, []).append(pair)
        for name, product in self.asked_as.items():
            self.pairs_of[name] = tuple(pairs.get(product, ()))
