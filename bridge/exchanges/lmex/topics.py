"""The topics of an LMEX account."""

from __future__ import annotations

from bridge.exchanges.lmex.names import Market
from bridge.model import Channel

__all__ = ["TOPICS"]

TOPICS: dict[Market, dict[Channel, tuple[str, ...]]] = {
    Market.SPOT: {
        Channel.ORDERS: ("notificationApiV3", "notificationApiV2"),
        Channel.FILLS: ("fillsV2", "fills"),
    },
    Market.FUTURES: {
        Channel.ORDERS: ("notificationApiV4", "notificationApiV3", "notificationApiV2"),
        Channel.FILLS: ("fillsV2", "fills"),
        Channel.POSITIONS: (
            *("positionsV3", "positionsV2", "positions"),
            *("allPositionV4", "allPositionV3", "allPositionV2", "allPosition"),
        ),
    },
}
"""Topics of each channel, newest first: an older one is taken where the answer leaves the newer out."""
