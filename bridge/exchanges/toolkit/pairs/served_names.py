"""Names under which an exchange serves pairs, where it may answer under another one than it was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["ServedNames"]


class ServedNames:
    """Which pairs a name is about.

    Args:
        served: pair → the product that it is asked for as.
        second: the name under which the exchange may answer for a product; the product's own, if there is none.
    """

    def __init__(self, served: Mapping[str, str], second: Callable[[str], str]) -> None:
        self._served = dict(served)
        self._second = second
        self.asked_as: dict[str, str] = {}
        """Every name that the exchange may use → the product."""
        self.pairs_of: dict[str, tuple[str, ...]] = {}
        """Every name that the exchange may use → the pairs that it is about."""
        products = self._served.values()
        self._name({**{product: product for product in products}, **self._served})
        self._name({**{second(product): product for product in reversed(products)}, **self.asked_as})

    def second(self, product: str) -> str:
        """The product, also asked for, whose name is this one's second; itself, if there is none."""
        return self.asked_as.get(self._second(product), product)

    def merge(self, product: str, into: str) -> None:
        """The exchange serves a product as another one."""
        self._served = {pair: into if known == product else known for pair, known in self._served.items()}
        self._name({name: into if known == product else known for name, known in self.asked_as.items()})

    def _name(self, asked_as: dict[str, str]) -> None:
        self.asked_as.clear()
        self.asked_as.update(asked_as)
        for name, product in asked_as.items():
            self.pairs_of[name] = tuple(pair for pair, known in self._served.items() if known == product)
