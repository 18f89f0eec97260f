"""What LMEX's protocol leaves open."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["LmexConfig"]


class LmexConfig(Struct, frozen=True):
    """What LMEX's protocol sheet leaves open, as settings, and what a test wants otherwise. Times are seconds.

    Log-in: ``login_ops`` are the operations that it takes, ``nonce_window`` is how far a nonce may be off. A session
    ends after ``session_lifetime``, and how by ``session_end``: private messages just stop, an error says so, or the
    socket is closed.

    Topics: ``private_topics`` are those that it knows (empty: all of the sheet), ``trade_topics`` those for the trades
    of futures. ``private_data`` is the form of ``data``: as the sheet has it, always an object, or always a list.
    ``trade_batches`` times the last ``trade_batch`` trades follow a subscription. With ``short_delta_topics`` deltas of
    ``update:BTC-USD_0`` come as ``update:BTC-USD``. ``old_errors`` is the errors' form of before June 2023.
    ``positions_every``: how often ``allPosition*`` comes.

    Connections: ``idle_close`` without a frame in either direction cuts a socket; it is pinged every
    ``ping_interval``, and cut when no pong came for ``pong_patience``. More than ``max_topics`` on one socket are not
    accepted (0: no limit); more than ``max_connections`` at once, or ``max_handshakes`` in a minute (0: no limit), block
    everybody for 10 minutes, with status 400.

    ``retry_after`` is what that header of a 429 says: seconds, or the time in milliseconds.
    """

    login_ops: Annotated[tuple[str, ...], Meta(description="taken for a log-in")] = ("authKeyExpires", "login")
    nonce_window: Annotated[float, Meta(description="seconds that a nonce may be off")] = 60.0
    session_lifetime: Annotated[float, Meta(description="seconds that a log-in lasts")] = 86_400.0
    session_end: Annotated[Literal["silent", "error", "close"], Meta(description="what happens then")] = "silent"
    private_topics: Annotated[tuple[str, ...], Meta(description="those that are known (default: all)")] = ()
    trade_topics: Annotated[tuple[str, ...], Meta(description="of futures")] = ("tradeHistoryApi", "tradeHistoryApiV2")
    private_data: Annotated[
        Literal["sheet", "object", "list"], Meta(description="form of data (default: as the exchange has it)")
    ] = "sheet"
    trade_batch: Annotated[int, Meta(description="trades that follow a subscription")] = 50
    trade_batches: Annotated[int, Meta(description="how many times")] = 2
    short_delta_topics: Annotated[bool, Meta(description="deltas of update:X_0 come as update:X")] = False
    old_errors: Annotated[bool, Meta(description="the form of errors of before June 2023")] = False
    positions_every: Annotated[float, Meta(description="seconds between allPosition messages")] = 5.0
    idle_close: Annotated[float, Meta(description="an idle socket is cut after so many seconds")] = 60.0
    ping_interval: Annotated[float, Meta(description="seconds between its pings")] = 180.0
    pong_patience: Annotated[float, Meta(description="without a pong for so many seconds a socket is cut")] = 600.0
    max_topics: Annotated[int, Meta(description="on one socket (default: 0, no limit)")] = 0
    max_connections: Annotated[int, Meta(description="more of them block all")] = 50
    max_handshakes: Annotated[int, Meta(description="more in a minute block all (default: 0, no limit)")] = 0
    retry_after: Annotated[Literal["seconds", "timestamp"], Meta(description="what that header says")] = "seconds"
