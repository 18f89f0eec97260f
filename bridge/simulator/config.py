"""What a simulator can be told at its start."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from bridge.simulator.faults import Fault
from bridge.simulator.specs import MarketConfig

__all__ = ["DEFAULT_PAIRS", "LimitlexConfig", "LmexConfig", "SimulatorConfig"]

DEFAULT_PAIRS = ("BTC-EUR", "ETH-EUR", "LTC-EUR")


class LimitlexConfig(Struct, frozen=True):
    """What the protocol sheet leaves open, as settings, and what a test wants otherwise.

    ``amounts``: what ``order_book.amount`` says, the level's new size or the signed change. ``replay_trades``: trades of
    a pair sent again at connect. ``hello_wallets``: the wallets are sent at connect. ``token_lifetime`` in seconds;
    ``cut_expired``: the socket is closed when its token expires. ``nonce_unit``: of private REST calls. ``key_dir``:
    PEM files of the accounts' API keys, ``<account>.pem``, used where they exist.
    """

    amounts: Literal["absolute", "change"] = "absolute"
    replay_trades: int = 0
    hello_wallets: bool = False
    token_lifetime: float = 900.0
    cut_expired: bool = False
    nonce_unit: Literal["ms", "s"] = "ms"
    key_dir: Path | None = None


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

    ``retry_after`` is what that header of a 429 says: seconds, or the time in milliseconds. ``key_dir``: the accounts'
    API secrets, ``<account>.secret``, used where they exist.
    """

    login_ops: tuple[str, ...] = ("authKeyExpires", "login")
    nonce_window: float = 60.0
    session_lifetime: float = 86_400.0
    session_end: Literal["silent", "error", "close"] = "silent"
    private_topics: tuple[str, ...] = ()
    trade_topics: tuple[str, ...] = ("tradeHistoryApi", "tradeHistoryApiV2")
    private_data: Literal["sheet", "object", "list"] = "sheet"
    trade_batch: int = 50
    trade_batches: int = 2
    short_delta_topics: bool = False
    old_errors: bool = False
    positions_every: float = 5.0
    idle_close: float = 60.0
    ping_interval: float = 180.0
    pong_patience: float = 600.0
    max_topics: int = 0
    max_connections: int = 50
    max_handshakes: int = 0
    retry_after: Literal["seconds", "timestamp"] = "seconds"
    key_dir: Path | None = None


class SimulatorConfig(Struct, frozen=True):
    """``rate`` is in public market events per second over all pairs; ``max_buffer`` in bytes per socket.

    ``market`` is the exchange's usual one if not given. Of ``limitlex`` and ``lmex`` the one of the exchange counts.
    ``faults`` with ``after`` or ``every`` run from the start on. ``tls_dir`` takes the certificates (else a temporary
    directory). ``clock_offset``: how far the exchange's clock is ahead, in
    seconds. ``journal``: a file for what truly happened (see ``Journal``).
    """

    exchange: str = "limitlex"
    market: MarketConfig | None = None
    rate: float = 50.0
    paused: bool = False
    faults: tuple[Fault, ...] = ()
    max_buffer: int = 16 * 1024 * 1024
    tls: bool = False
    tls_dir: Path | None = None
    journal: Path | None = None
    clock_offset: float = 0.0
    limitlex: LimitlexConfig = field(default_factory=LimitlexConfig)
    lmex: LmexConfig = field(default_factory=LmexConfig)
