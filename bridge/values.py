"""The forms of text that values have in events and entries, for readers and for the schema of the streams.

Nothing here is checked when an event is made: exchange sessions check what they are sent.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

__all__ = ["LEVELS", "Amount", "CandleState", "Fees", "Leg", "OrderSide", "OrderStatus", "PositionSide", "SignedAmount"]

_UNSIGNED = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?"
_LEVEL = f"{_UNSIGNED}:{_UNSIGNED}"
_FEE = rf"-?{_UNSIGNED}:[^ :]+"
_LONGEST_NUMBER = 128

LEVELS = f"^(?:{_LEVEL}(?: {_LEVEL})*)?$"
"""The pattern of one side of a book in an entry."""

Amount = Annotated[
    str,
    Meta(
        pattern=f"^(?:{_UNSIGNED})?$",
        max_length=_LONGEST_NUMBER,
        description="Decimal text with the exchange's own digits, never negative; empty if unknown.",
    ),
]
SignedAmount = Annotated[
    str,
    Meta(
        pattern=f"^(?:-?{_UNSIGNED})?$",
        max_length=_LONGEST_NUMBER,
        description="Decimal text with the exchange's own digits, of any sign; empty if unknown.",
    ),
]
OrderSide = Annotated[str, Meta(extra_json_schema={"enum": ["buy", "sell", ""]}, description="Empty if unknown.")]
CandleState = Annotated[str, Meta(extra_json_schema={"enum": ["complete", "incomplete"]})]
PositionSide = Annotated[str, Meta(extra_json_schema={"enum": ["long", "short", ""]}, description="Empty if flat.")]
Leg = Annotated[
    str,
    Meta(
        extra_json_schema={"enum": ["long", "short", ""]},
        description="The leg of a pair in hedge mode; empty where there are no legs.",
    ),
]
OrderStatus = Annotated[
    str,
    Meta(
        extra_json_schema={"enum": ["open", "partially_filled", "filled", "cancelled", "rejected", ""]},
        description="Empty if the exchange no longer lists the order, or sent a status that it does not document.",
    ),
]
Fees = Annotated[
    str,
    Meta(
        pattern=f"^(?:{_FEE}(?: {_FEE})*)?$",
        description="All fees, as amount:currency, with one space between two.",
    ),
]
