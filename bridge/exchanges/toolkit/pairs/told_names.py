"""Names of pairs that no list has, learnt from the ids of an account's orders and fills."""

from __future__ import annotations

from collections.abc import Callable, Collection

from bridge.exchanges.toolkit.pairs.names import Names

__all__ = ["ToldNames"]

_MOST = 10_000
"""Ids of which it is kept what pair they are of."""


class ToldNames(Names):
    """Also of pairs that no list has, as they were delisted, or are of shares: REST and the WebSocket name them differently.

    Ids of orders and fills are unique over all pairs: what has the same one is of the same pair.

    Args:
        currency: the currency that REST means by a code.
        codes: REST's codes that differ from the currencies' names.
    """

    def __init__(self, currency: Callable[[str], str], codes: Collection[str]) -> None:
        super().__init__()
        self._currency = currency
        self._codes = codes
        self._told: dict[str, str] = {}
        """Id of an order or a fill → its pair, by the name that it was told under first."""

    def kept(self, pair: str, *idents: str) -> str:
        """The pair of an order or a fill, by its ids: it keeps the name that it has. Empty, if that isn't said."""
        if not pair:
            return ""
        pair = self._known(idents) or pair
        for ident in idents:
            self._told.setdefault(ident, pair)
        while len(self._told) > _MOST:
            del self._told[next(iter(self._told))]
        return pair

    def by_rest(self, name: str, *idents: str) -> str:
        """The pair that REST has under this name, in a row with these ids; by the ending of the name, if nothing tells it."""
        pair = self.pair("", name)
        if pair != name:
            return pair
        if known := self._known(idents):
            self.suppose("", name, known)
            return known
        if name[:4] in self._codes and name[4:] in self._codes:
            return f"{self._currency(name[:4])}-{self._currency(name[4:])}"
        quotes = {listed.partition("-")[2] for listed in self._symbols}
        quote = max((quote for quote in quotes if name.endswith(quote) and name != quote), key=len, default="")
        return f"{self._currency(name.removesuffix(quote))}-{quote}" if quote else name

    def _known(self, idents: tuple[str, ...]) -> str:
        return next((self._told[ident] for ident in idents if ident in self._told), "")
