"""What an exchange's list says of its pairs while the bridge runs: which there are, are halted, or are another one's alias."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from bridge.exchange_errors import UnknownPairError
from bridge.exchanges.api import Flow, ListedPair
from bridge.exchanges.toolkit.pairs.listing import nearest_pairs
from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["Product", "ProductList", "ProductWatch"]

_WHOLE_EVERY = 600 * SECOND
"""Between two looks at what the list says of all pairs that are configured."""
Ask = Callable[[Sequence[str]], Flow[Mapping[str, "Product"]]]
"""The conversation that asks for products by name, or for all of them, if none is named."""
_MOST_ASKED = 50
"""Products that one call asks for by name; their names go into its address."""


class Product(Struct, frozen=True):
    """A pair as it is listed; ``halted`` is why it can't be traded, ``alias`` the pair whose trades and books it has."""

    pair: ListedPair
    halted: str = ""
    alias: str = ""


class ProductList:
    """The list as it was read last; empty, and of no opinion, until it has been read."""

    def __init__(self) -> None:
        self.products: Mapping[str, Product] = {}
        self.version = 0
        """Rises with each answer; 0 as long as nothing is known."""
        self.read_at: int | None = None
        """When the whole of it was read last (ns); ``None`` as long as it wasn't."""

    def learn(self, products: Mapping[str, Product], *, whole: bool) -> None:
        """An answer has come: the whole list, or some products of it; those that it leaves out stay as they are then."""
        self.products = dict(products) if whole else {**self.products, **products}
        self.version += 1

    def read(self, ask: Ask, now: int) -> Flow[None]:
        """Read the whole list.

        Raises:
            RestError: there is none.
        """
        self.learn((yield from ask(())), whole=True)
        self.read_at = now

    def served_as(self, pair: str) -> str:
        """The pair whose trades and books this pair's are; itself, where nothing is known."""
        found = self.products.get(pair)
        return found.alias if found is not None and found.alias in self.products else pair

    def unknown(self, pair: str) -> str:
        """Why the exchange doesn't have the pair, with the nearest names that it has; empty where it does."""
        if not self.version or pair in self.products:
            return ""
        near = ", ".join(nearest_pairs(pair, self.products))
        return f"the exchange lists no pair {pair}" + (f"; the nearest are {near}" if near else "")

    def halted(self, pair: str) -> str:
        """Why the pair can't be traded at present; empty where it can, or where nothing is known."""
        found = self.products.get(pair)
        return f"the exchange lists the pair as halted ({found.halted})" if found is not None and found.halted else ""

    def in_trouble(self, pairs: Iterable[str]) -> list[str]:
        """Those that are unknown or halted."""
        return [pair for pair in pairs if (self.version and pair not in self.products) or self.halted(pair)]

    def remarks(self, pairs: Iterable[str]) -> list[str]:
        """What an operator should know of these: aliases, then halted pairs."""
        served = {pair: self.served_as(pair) for pair in pairs}
        found = [f"{pair} is served as {other}" for pair, other in served.items() if other != pair]
        return found + [f"{pair}: {why}" for pair in served if (why := self.halted(pair))]

    def unlisted(self, exchange: str, pairs: Iterable[str]) -> list[UnknownPairError]:
        """Those that the exchange doesn't have."""
        unknown = [pair for pair in pairs if self.unknown(pair)]
        return [UnknownPairError(exchange, pair, nearest_pairs(pair, self.products)) for pair in unknown]


class ProductWatch:
    """Keeps a list up to date: at first all of it; then, by name, pairs in trouble at each look, and all now and then.

    Args:
        listing: the list.
        pairs: those that are configured at present.
        ask: asks for products.
    """

    def __init__(
        self,
        listing: ProductList,
        pairs: Callable[[], Sequence[str]],
        ask: Ask,
    ) -> None:
        self._listing = listing
        self._pairs = pairs
        self._ask = ask
        self._looked_at: int | None = None
        """When the list was asked for all configured pairs (ns)."""

    def look(self, now: int) -> Flow[None]:
        """Look at what there is to be looked at; at everything, as long as nothing is known.

        Raises:
            RestError: there is no list.
        """
        if self._listing.read_at is None:
            yield from self._listing.read(self._ask, now)
            return
        pairs = list(dict.fromkeys(self._listing.served_as(pair) for pair in self._pairs()))
        last = self._listing.read_at if self._looked_at is None else self._looked_at
        is_time = abs(now - last) > _WHOLE_EVERY
        asked = pairs if is_time else self._listing.in_trouble(pairs)
        found: dict[str, Product] = {}
        for start in range(0, len(asked), _MOST_ASKED):
            found.update((yield from self._ask(asked[start : start + _MOST_ASKED])))
        if asked:
            self._listing.learn(found, whole=False)
        self._looked_at = now if is_time else self._looked_at
