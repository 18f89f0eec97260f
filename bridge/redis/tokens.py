"""The tokens of writing processes, and how to compare them."""

from __future__ import annotations

__all__ = ["epoch_of", "instance_of", "token_of"]


def token_of(epoch: int | str, instance: str) -> str:
    """``1795985201716-5f0c9a1be27d``: the number of the process among those that held the name, and its instance."""
    return f"{epoch}-{instance}"


def epoch_of(token: str) -> int:
    """The number of a token; 0 if it is not a token."""
    number, _, instance = token.partition("-")
    return int(number) if instance and number.isascii() and number.isdigit() and len(number) < 19 else 0


def instance_of(token: str) -> str:
    """The instance of a token; empty if it is not a token."""
    return token.partition("-")[2] if epoch_of(token) else ""
