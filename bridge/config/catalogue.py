"""What the configuration needs to know of the exchanges: the one seam between the two."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import BaseModel

from bridge.model import PUBLIC_CHANNELS, Channel

__all__ = ["Registry", "exchange_names", "options_model", "private_channels", "public_channels", "registry"]


class Registry(Protocol):
    """The part of ``bridge.exchanges`` that is used here."""

    def names(self) -> tuple[str, ...]: ...

    def exchange_type(self, name: str, /) -> Any: ...


def registry() -> Registry:
    """The exchanges there are; imported late, because their option models use this package's units."""
    from bridge import exchanges  # noqa: PLC0415

    return exchanges


def exchange_names() -> tuple[str, ...]:
    """The registered exchanges, sorted."""
    return tuple(sorted(registry().names()))


def public_channels(exchange: str) -> tuple[Channel, ...]:
    """The public channels that a registered exchange offers, in the model's order."""
    offered = registry().exchange_type(exchange).channels
    return tuple(channel for channel in PUBLIC_CHANNELS if channel in offered)


def private_channels(exchange: str) -> frozenset[Channel]:
    """The private channels that come with an account at a registered exchange; empty where it has none."""
    return frozenset(registry().exchange_type(exchange).private_channels)


def options_model(exchange: str) -> type[BaseModel]:
    """The model of a registered exchange's own ``options:``."""
    model: type[BaseModel] = registry().exchange_type(exchange).Options
    return model
