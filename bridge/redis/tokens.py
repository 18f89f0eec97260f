"""Tokens of the processes that write: which of two is the newer one."""

from __future__ import annotations

__all__ = ["epoch_of", "instance_of", "token_of"]


def token_of(epoch: int, instance: str) -> str:
    """``7-5f0c9a1be27d``: the seventh process to hold a name, and which one it is."""
    return f"{epoch}-{instance}"


def epoch_of(token: str) -> int:
    """The number before the dash; 0 of what is no token."""
    number, _, instance = token.partition("-")
    return int(number) if instance and number.isascii() and number.isdigit() and len(number) < 19 else 0


def instance_of(token: str) -> str:
    """What comes after the dash; empty of what is no token."""
    return token.partition("-")[2] if epoch_of(token) else ""
