"""What a simulator can be told at its start, whichever exchange it is."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bridge.simulator.exchange import SimulatedExchange
from bridge.simulator.faults import Fault
from bridge.simulator.specs import MarketConfig

__all__ = ["SimulatorConfig"]


class SimulatorConfig(Struct, frozen=True):
    """``exchange`` is one by itself, or the name of one of the registry's. ``rate`` is in public market events per second over all pairs; ``max_buffer`` in bytes per socket.

    ``market`` and ``options`` (of the exchange's own kind) are the exchange's usual ones if not given. ``faults`` with
    ``after`` or ``every`` run from the start on. ``key_dir``: files with the accounts' secrets, used where they exist.
    ``tls_dir`` takes the certificates (else a temporary directory). ``clock_offset``: how far the exchange's clock is
    ahead, in seconds. ``journal``: a file for what truly happened (see ``Journal``).
    """

    exchange: str | SimulatedExchange
    market: MarketConfig | None = None
    options: Struct | None = None
    rate: float = 50.0
    paused: bool = False
    faults: tuple[Fault, ...] = ()
    max_buffer: int = 16 * 1024 * 1024
    key_dir: Path | None = None
    tls: bool = False
    tls_dir: Path | None = None
    journal: Path | None = None
    clock_offset: float = 0.0
