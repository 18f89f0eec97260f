"""Kraken's names: REST's codes of currencies, and the pairs of an account that no list has."""

from __future__ import annotations

from bridge.exchanges.toolkit.pairs.names import Names

__all__ = ["AccountNames", "currency"]

_CODES = {f"X{code}": code for code in ("ETC", "ETH", "LTC", "MLN", "REP", "XLM", "XMR", "XRP", "ZEC")}
_CODES |= {f"Z{code}": code for code in ("AUD", "CAD", "EUR", "GBP", "JPY", "USD")}
_CODES |= dict.fromkeys(("XXBT", "XBT"), "BTC") | dict.fromkeys(("XXDG", "XDG"), "DOGE")
"""REST's codes of currencies. Others begin with an X or a Z by nature."""
_MOST = 10_000
"""Ids of which it is kept what pair they are of."""


def currency(code: str) -> str:
    """A currency as the WebSocket has it: ``XXBT`` is ``BTC``; of ``XBT.F``, a form of holding it, ``BTC.F``."""
    name, dot, form = code.partition(".")
    return f"{_CODES.get(name, name)}{dot}{form}"


class AccountNames(Names):
    """Also of pairs that no list has, as they were delisted, or are of shares: REST and the WebSocket name them differently.

    Ids of orders and fills are unique over all pairs: what has the same one is of the same pair.
    """

    def __init__(self) -> None:
        super().__init__()
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
        if name[:4] in _CODES and name[4:] in _CODES:
            return f"{currency(name[:4])}-{currency(name[4:])}"
        quotes = {listed.partition("-")[2] for listed in self._symbols}
        quote = max((quote for quote in quotes if name.endswith(quote) and name != quote), key=len, default="")
        return f"{currency(name.removesuffix(quote))}-{quote}" if quote else name

    def _known(self, idents: tuple[str, ...]) -> str:
        return next((self._told[ident] for ident in idents if ident in self._told), "")
