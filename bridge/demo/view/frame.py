"""A snapshot of the demo's state as plain data, taken quickly, so that drawing does not delay reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from bridge.demo.heartbeats import Heartbeat, Heartbeats
from bridge.demo.recorded import SIMULATED
from bridge.demo.setup import Setup
from bridge.demo.summary import publish_lag
from bridge.demo.venue import Instrument, Venue
from bridge.demo.watch import Lag, Watcher
from bridge.keys import StreamKey
from bridge.model import Channel
from bridge.view.books import BookFrame
from consumers.keeper import BookKeeper

__all__ = [
    "BookFrame",
    "Frame",
    "OrderFrame",
    "PositionFrame",
    "ProcessFrame",
    "VenueFrame",
    "WalletFrame",
    "take_frame",
]

_DEPTH = 20
_TRADES = 30
_ORDERS = 30
_HISTORY = 60

Wallets = Mapping[tuple[str, str], Mapping[str, str]]
"""(exchange, account as shown) → its hash."""


class VenueFrame(Struct, frozen=True):
    """An exchange and the state of its connector, as the connector reports it; ``away`` if there is none."""

    exchange: str
    state: str
    kind: str = SIMULATED
    """Whether it is simulated, or which kind of recording is played (`kind_of`)."""

    @property
    def flowing(self) -> bool:
        """Whether there is a connector. Without one, the last known state is shown."""
        return self.state != "away"


class WalletFrame(Struct, frozen=True):
    """An account or sub-account: currency → (available, reserved), and the number of open orders and fills."""

    exchange: str
    account: str
    balances: dict[str, tuple[str, str]]
    orders: int
    fills: int


class PositionFrame(Struct, frozen=True):
    """An open position; ``side`` is ``long`` or ``short``, ``size`` is in base coins."""

    exchange: str
    pair: str
    side: str
    size: str
    entry_price: str
    profit: str


class OrderFrame(Struct, frozen=True):
    """An open order."""

    exchange: str
    account: str
    pair: str
    side: str
    price: str
    size: str
    filled: str


class ProcessFrame(Struct, frozen=True):
    """A child process; ``ended`` says how it ended, empty while it runs."""

    name: str
    pid: int
    ended: str


class Frame(Struct, frozen=True):
    """All data of the view. Rates are per second; ``history`` counts the messages read in each of the last seconds.

    ``books`` are the two shown; ``pairs`` is the number of all pairs.
    """

    venues: list[VenueFrame]
    elapsed: float
    duration: float | None
    books: list[BookFrame]
    pairs: int
    wallets: list[WalletFrame]
    positions: list[PositionFrame]
    orders: list[OrderFrame]
    processes: list[ProcessFrame]
    rates: tuple[float, float, float]
    totals: dict[str, int]
    lag: Lag
    publish_lag: Lag
    history: list[int]
    notices: list[tuple[float, str]]
    config: str
    page: str
    """Where the streams are shown in a browser."""


def take_frame(
    setup: Setup,
    watcher: Watcher,
    heartbeats: Heartbeats,
    *,
    shown: Sequence[Instrument],
    wallets: Wallets,
    notices: Iterable[tuple[float, str]],
    elapsed: float,
    duration: float | None,
) -> Frame:
    """The current state; ``shown`` lists all pairs in display order."""
    counted = {
        name: heartbeats.total(name) for name in ("received", "published", "lost", "repeated", "gaps", "reconnects")
    }
    venues = {
        each.exchange: VenueFrame(each.exchange, _state(setup, each, heartbeats), each.kind) for each in setup.venues
    }
    config = setup.venues[0].config if len(setup.venues) == 1 else setup.directory
    return Frame(
        venues=list(venues.values()),
        elapsed=elapsed,
        duration=duration,
        books=[_book(each, watcher, flowing=venues[each.exchange].flowing) for each in shown[:2]],
        pairs=len(shown),
        wallets=[_wallet(exchange, account, fields) for (exchange, account), fields in wallets.items()],
        positions=_positions(wallets),
        orders=_orders(wallets),
        processes=_processes(setup, heartbeats),
        rates=(*heartbeats.rates(), watcher.rate.per_second()),
        totals={**counted, "read": watcher.read.total(), "holes": watcher.holes},
        lag=watcher.lag(),
        publish_lag=_slowest(heartbeats.of.values()),
        history=watcher.rate.history(_HISTORY),
        notices=list(notices),
        config=_short(config),
        page=setup.page,
    )


def _state(setup: Setup, venue: Venue, heartbeats: Heartbeats) -> str:
    """The state that the connector reports, unless it was killed: its heartbeat remains for some seconds."""
    heartbeat, child = heartbeats.of[venue.exchange].current, setup.processes[venue.connector]
    dead = heartbeat is not None and child.ended and heartbeat["pid"] == str(child.pid)
    return "away" if heartbeat is None or dead else heartbeat["state"]


def _slowest(heartbeats: Iterable[Heartbeat]) -> Lag:
    """The lag of the connector whose median is the highest."""
    return max(map(publish_lag, heartbeats), key=lambda lag: lag.half or 0.0)


def _processes(setup: Setup, heartbeats: Heartbeats) -> list[ProcessFrame]:
    """The child processes; a connector that died is replaced by the one that the user has started."""
    connectors = {venue.connector: heartbeats.of[venue.exchange] for venue in setup.venues}
    frames = []
    for child in setup.processes:
        pid, ended = child.pid, child.ended
        heartbeat = connectors[child.name].current if child.name in connectors and ended else None
        if heartbeat and heartbeat["pid"] != str(pid):
            pid, ended = int(heartbeat["pid"]), ""
        frames.append(ProcessFrame(child.name, pid, ended))
    return frames


def _short(path: Path) -> str:
    """The path, relative to the current directory if possible."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _book(instrument: Instrument, watcher: Watcher, *, flowing: bool) -> BookFrame:
    keeper = watcher.keepers.get(instrument) or BookKeeper(StreamKey(*instrument, Channel.BOOK))
    bids, asks = keeper.top(_DEPTH)
    trades = list(islice(reversed(watcher.trades.get(instrument, ())), _TRADES))
    return BookFrame(*instrument, keeper.valid, keeper.reason, bids, asks, trades, flowing)


def _wallet(exchange: str, account: str, fields: Mapping[str, str]) -> WalletFrame:
    balances = {
        currency: (value["available"], value["reserved"]) for currency, value in sorted(_values(fields, "balance:"))
    }
    orders = sum(name.startswith("order:") for name in fields)
    return WalletFrame(exchange, account, balances, orders, int(fields.get("fills", 0)))


def _positions(wallets: Wallets) -> list[PositionFrame]:
    return [
        PositionFrame(exchange, pair, held["side"], held["size"], held["entry_price"], held["unrealised_pnl"])
        for (exchange, _), fields in wallets.items()
        for pair, held in sorted(_values(fields, "position:"))
    ]


def _orders(wallets: Wallets) -> list[OrderFrame]:
    """The open orders of all accounts, newest first."""
    found = []
    for (exchange, account), fields in wallets.items():
        for _, order in _values(fields, "order:"):
            parts = (order[name] for name in ("pair", "side", "price", "size", "filled"))
            found.append((int(order["recv"]), OrderFrame(exchange, account, *parts)))
    found.sort(key=lambda each: each[0], reverse=True)
    return [frame for _, frame in found[:_ORDERS]]


def _values(fields: Mapping[str, str], prefix: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The fields of a wallet's hash whose names begin with ``prefix``, without it."""
    for name, text in fields.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), msgspec.json.decode(text)
