"""One moment of the demo as plain data, taken quickly, so that drawing it needn't hold up the reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from bridge.demo.stage import EXCHANGE, Stage
from bridge.demo.summary import publish_lag
from bridge.demo.watch import Heartbeats, Lag, Watcher
from bridge.keys import StreamKey
from bridge.model import Channel, Levels, Trade
from consumers.keeper import BookKeeper

__all__ = ["BookFrame", "Frame", "OrderFrame", "PartFrame", "WalletFrame", "take_frame"]

_DEPTH = 20
_TRADES = 30
_ORDERS = 30
_HISTORY = 60


class BookFrame(Struct, frozen=True):
    """A pair: its book's best levels, best first, and its newest trades, newest first."""

    pair: str
    valid: bool
    reason: str
    bids: Levels
    asks: Levels
    trades: list[Trade]


class WalletFrame(Struct, frozen=True):
    """An account: currency → (available, reserved); how many orders are open."""

    account: str
    balances: dict[str, tuple[str, str]]
    orders: int
    fills: int


class OrderFrame(Struct, frozen=True):
    """An open order."""

    account: str
    side: str
    price: str
    size: str
    filled: str


class PartFrame(Struct, frozen=True):
    """A child process; ``ended`` says how it ended, empty while it runs."""

    name: str
    pid: int
    ended: str


class Frame(Struct, frozen=True):
    """All that the view shows. Rates are per second; ``history`` is messages read in each of the last seconds."""

    exchange: str
    elapsed: float
    duration: float | None
    state: str
    books: list[BookFrame]
    pairs: int
    wallets: list[WalletFrame]
    orders: list[OrderFrame]
    parts: list[PartFrame]
    rates: tuple[float, float, float]
    totals: dict[str, int]
    lag: Lag
    publish_lag: Lag
    history: list[int]
    notices: list[tuple[float, str]]
    redis: str
    config: str
    control: str

    @property
    def flowing(self) -> bool:
        """Whether there is a connector: without one, what is shown is what stood there last."""
        return self.state != "away"


def take_frame(
    stage: Stage,
    watcher: Watcher,
    beats: Heartbeats,
    *,
    pairs: Sequence[str],
    wallets: Mapping[str, Mapping[str, str]],
    notices: Iterable[tuple[float, str]],
    elapsed: float,
    duration: float | None,
) -> Frame:
    """The present moment; ``pairs`` in the order in which they are shown, ``wallets`` the hashes by account."""
    counted = {name: beats.total(name) for name in ("received", "published", "lost", "repeated", "gaps", "reconnects")}
    return Frame(
        exchange=EXCHANGE,
        elapsed=elapsed,
        duration=duration,
        state=_state(stage, beats),
        books=[_book(pair, watcher) for pair in pairs[:2]],
        pairs=len(pairs),
        wallets=[_wallet(account, fields) for account, fields in wallets.items()],
        orders=_orders(wallets),
        parts=_parts(stage, beats),
        rates=(beats.received.per_second(), beats.published.per_second(), watcher.rate.per_second()),
        totals={**counted, "read": watcher.read, "holes": watcher.holes},
        lag=watcher.lag(),
        publish_lag=publish_lag(beats),
        history=watcher.rate.history(_HISTORY),
        notices=list(notices),
        redis=stage.redis_address,
        config=_short(stage.config),
        control=stage.control_url,
    )


def _state(stage: Stage, beats: Heartbeats) -> str:
    """The connector's own word. The heartbeat of one that was killed stands for some seconds more."""
    beat, part = beats.current, stage.parts["connector"]
    dead = beat is not None and part.ended and beat["pid"] == str(part.pid)
    return "away" if beat is None or dead else beat["state"]


def _parts(stage: Stage, beats: Heartbeats) -> list[PartFrame]:
    """The child processes; in place of a connector that died, the one that somebody else has started."""
    frames = []
    for part in stage.parts:
        pid, ended = part.pid, part.ended
        beat = beats.current if part.name == "connector" and ended else None
        if beat and beat["pid"] != str(pid):
            pid, ended = int(beat["pid"]), ""
        frames.append(PartFrame(part.name, pid, ended))
    return frames


def _short(path: Path) -> str:
    """The path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _book(pair: str, watcher: Watcher) -> BookFrame:
    keeper = watcher.keepers.get(pair) or BookKeeper(StreamKey(EXCHANGE, pair, Channel.BOOK))
    bids, asks = keeper.top(_DEPTH)
    trades = list(islice(reversed(watcher.trades.get(pair, ())), _TRADES))
    return BookFrame(pair, keeper.valid, keeper.reason, bids, asks, trades)


def _wallet(account: str, fields: Mapping[str, str]) -> WalletFrame:
    balances = {}
    for name, text in sorted(fields.items()):
        if name.startswith("balance:"):
            value = msgspec.json.decode(text)
            balances[name.removeprefix("balance:")] = (value["available"], value["reserved"])
    orders = sum(name.startswith("order:") for name in fields)
    return WalletFrame(account, balances, orders, int(fields.get("fills", 0)))


def _orders(wallets: Mapping[str, Mapping[str, str]]) -> list[OrderFrame]:
    """The open orders of all accounts, newest first."""
    found = []
    for account, fields in wallets.items():
        for name, text in fields.items():
            if name.startswith("order:"):
                order = msgspec.json.decode(text)
                frame = OrderFrame(account, order["side"], order["price"], order["size"], order["filled"])
                found.append((int(order["recv"]), frame))
    found.sort(key=lambda each: each[0], reverse=True)
    return [frame for _, frame in found[:_ORDERS]]
