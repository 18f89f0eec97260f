"""What a simulator can be told at its start."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from bridge.simulator.faults import Fault
from bridge.simulator.specs import MarketConfig, market_config

__all__ = ["DEFAULT_PAIRS", "LimitlexConfig", "SimulatorConfig"]

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


class SimulatorConfig(Struct, frozen=True):
    """``rate`` is in public market events per second over all pairs; ``max_buffer`` in bytes per socket.

    ``faults`` with ``after`` or ``every`` run from the start on. ``tls_dir`` takes the certificates (else a temporary
    directory).
    """

    exchange: str = "limitlex"
    market: MarketConfig = field(default_factory=lambda: market_config(DEFAULT_PAIRS))
    rate: float = 50.0
    paused: bool = False
    faults: tuple[Fault, ...] = ()
    max_buffer: int = 16 * 1024 * 1024
    tls: bool = False
    tls_dir: Path | None = None
    limitlex: LimitlexConfig = field(default_factory=LimitlexConfig)
