"""The settings that only LMEX has (``connectors.N.options``)."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bridge.config.units import Duration
from bridge.exchanges.toolkit.numbers import check_numbers

__all__ = ["LmexOptions"]


class LmexOptions(BaseModel):
    """Settings that only this exchange has; durations in seconds, or with a unit (``90s``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topics_per_connection: int = Field(default=100, gt=0)
    """The exchange documents 100; pairs are shared out over as few connections as that allows."""
    snapshot_timeout: Duration = Field(default=10.0, gt=0)
    """How long a book's snapshot may take after its subscription, before it is subscribed anew."""
    ticker_interval: Duration = Field(default=5.0, ge=1.0)
    """How often ``market_summary`` is polled for tickers, which have no topic."""
    balances_interval: Duration = Field(default=60.0, ge=1.0)
    """How often ``user/wallet`` is polled for balances, which have no topic; also after each fill."""
    session_lifetime: Duration = Field(default=24 * 3600.0, gt=0)
    """How long a log-in is taken to last; the private connection is replaced ahead of that."""
    login: Literal["auto", "authKeyExpires", "login"] = "auto"
    """The log-in message; ``auto`` begins with ``authKeyExpires`` and falls back on ``login``."""
    contract_sizes: dict[str, str] = Field(default_factory=dict)
    """Futures pair → base coins per contract, for when REST is away."""

    @field_validator("contract_sizes", mode="before")
    @classmethod
    def _sizes(cls, value: object) -> object:
        """Sizes as text: YAML reads an unquoted one as a number."""
        if not isinstance(value, dict):
            return value
        sizes = {pair: _decimal(size) for pair, size in value.items()}
        for pair, size in sizes.items():
            check_numbers(size)
            if not Decimal(size):
                msg = f"the contract size of {pair} is zero"
                raise ValueError(msg)
        return sizes


def _decimal(size: object) -> str:
    """``1e-05``, as Python shows the float that YAML made of 0.00001, is 0.00001."""
    return f"{Decimal(str(size)):f}" if isinstance(size, float) else str(size)
