"""Tickbridge: exchange WebSockets into Redis Streams, each event exactly once."""

__all__ = ["__version__"]

__version__ = "0.1.0"
