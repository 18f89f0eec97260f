"""Every error that Tickbridge raises, and the data each carries. Those with a module in brackets are defined there.

BridgeError
├── ConfigError               a user's mistake in config or arguments (exit 1)
├── AlreadyRunningError       the connector's name or streams are another live process's (exit 1)
├── ExchangeError             anything about one exchange
│   ├── FrameError            a frame that cannot be understood
│   ├── UnknownPairError      a configured pair that the exchange doesn't list (exit 1)
│   ├── RestError             a REST call that failed
│   └── HandshakeError        the exchange refused the WebSocket
├── RedisUnavailableError     Redis is out of reach or refuses this client (exit 2)
├── StreamConflictError       somebody else writes to a stream of ours (exit 1)
├── RecordingError            a recording that cannot be read or written (exit 1) [bridge.recordings.recording]
├── ReplayError               a replay that cannot be served: the port is taken, say [bridge.recordings.replay]
├── OrderRefusedError         the simulated market refuses an order [bridge.simulator]
├── ServerMissingError        the demo finds no Redis-compatible server [bridge.embedded]
└── PartFailedError           a part of the demo doesn't live [bridge.demo]
"""

from __future__ import annotations

from msgspec import Struct

__all__ = [
    "AlreadyRunningError",
    "BridgeError",
    "ConfigError",
    "ExchangeError",
    "FrameError",
    "HandshakeError",
    "Problem",
    "RedisUnavailableError",
    "RestError",
    "StreamConflictError",
    "UnknownPairError",
]


class Problem(Struct, frozen=True):
    """One mistake: where it stands (``connectors.0.pairs``), what is wrong, and what to do about it."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class BridgeError(Exception):
    """Base of all errors of this package; ``exit_code`` is what a command ends with."""

    exit_code = 2


class ConfigError(BridgeError):
    """All mistakes found in one config, not only the first."""

    exit_code = 1

    def __init__(self, problems: list[Problem], source: str = "config") -> None:
        self.problems = problems
        self.source = source
        noun = "mistake" if len(problems) == 1 else "mistakes"
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{source}: {len(problems)} {noun}\n{lines}")


class AlreadyRunningError(BridgeError):
    """Another live connector has this name, or writes one of these streams."""

    exit_code = 1

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        self.detail = detail
        super().__init__(f"connector {name!r} is already running: {detail}")


class ExchangeError(BridgeError):
    """Something about one exchange."""

    def __init__(self, exchange: str, message: str) -> None:
        self.exchange = exchange
        super().__init__(f"{exchange}: {message}")


class FrameError(ExchangeError):
    """A frame that cannot be understood; ``raw`` is the frame as it came."""

    def __init__(self, exchange: str, raw: bytes, message: str) -> None:
        self.raw = raw
        super().__init__(exchange, message)


class UnknownPairError(ExchangeError):
    """A configured pair that the exchange doesn't list; ``known`` are the nearest names that it does."""

    exit_code = 1

    def __init__(self, exchange: str, pair: str, known: list[str]) -> None:
        self.pair = pair
        self.known = known
        hint = f"; did you mean {' or '.join(known)}?" if known else ""
        super().__init__(exchange, f"no pair {pair} at this exchange{hint}")


class RestError(ExchangeError):
    """A REST call that failed: HTTP status (0: no answer), the exchange's message, seconds to wait if it said so."""

    def __init__(self, exchange: str, path: str, status: int, message: str, retry_after: float | None = None) -> None:
        self.path = path
        self.status = status
        self.message = message
        self.retry_after = retry_after
        super().__init__(exchange, f"REST {path}: {status or 'no answer'}: {message}")


class HandshakeError(ExchangeError):
    """The exchange refused the WebSocket: HTTP status (0: no answer), seconds to wait if it said so."""

    def __init__(self, exchange: str, status: int, message: str, retry_after: float | None = None) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(exchange, f"connect: {f'HTTP {status}' if status else 'no answer'}: {message}")


class RedisUnavailableError(BridgeError):
    """Redis is out of reach, or doesn't let this client in; ``url`` is without its password."""

    def __init__(self, url: str, message: str) -> None:
        self.url = url
        super().__init__(f"Redis at {url}: {message}")


class StreamConflictError(BridgeError):
    """The stream holds an entry that this connector did not write, where its own next one should stand."""

    exit_code = 1

    def __init__(self, key: str, entry_id: str) -> None:
        self.key = key
        self.entry_id = entry_id
        super().__init__(f"{key}: entry {entry_id} was written by somebody else; one stream takes one connector")
