"""The settings that only Limitlex has (``connectors.N.options``)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.config.units import Duration

__all__ = ["LimitlexOptions"]


class LimitlexOptions(BaseModel):
    """Settings that only this exchange has; durations in seconds, or with a unit (``90s``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    amounts: Literal["absolute", "change"] = "absolute"
    """Whether ``order_book.amount`` is a level's new size or its change: the exchange doesn't say."""
    resnapshot: Duration = Field(default=60.0, gt=0)
    """Seconds after which a pair's connection is replaced, for a fresh book."""
    mismatch: Duration = Field(default=2.0, gt=0)
    """Seconds that a book may disagree with ``best_bid_ask`` (or be crossed) before it counts as wrong."""
    pair_ids: dict[str, str] = Field(default_factory=dict)
    """Pair → ``<base uuid>:<quote uuid>``, for when REST is unreachable."""
