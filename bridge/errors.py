"""Every error that Tickbridge raises. Those with a module in brackets are defined there, with all that are below them.

BridgeError
├── ConfigError               a user's mistake in config or arguments (exit 1)
├── AlreadyRunningError       the connector's name or streams are another live process's (exit 1)
│   └── DisplacedError        another process has taken the place of this one
├── ExchangeError             anything about one exchange, of some `ErrorKind` [bridge.exchange_errors]
│   ├── FrameError            a frame that cannot be understood
│   ├── UnknownPairError      a configured pair that the exchange doesn't list
│   ├── PairsNotServedError   configured pairs that the exchange doesn't have, all at once
│   ├── RestError             a REST call that failed
│   ├── HandshakeError        the exchange refused the WebSocket
│   └── ReportedError         the exchange said over a connection that something is wrong
├── ConnectorsFailedError     some connectors of a process have failed; 1 if one by a user's mistake, else (exit 2)
├── RedisUnavailableError     Redis is out of reach or refuses this client (exit 2)
│   └── RedisRefusedError     it answers, and refuses what it was told: a key holds something else, a right is missing
├── TaskEndedError            a bug: a part of a connector has ended by itself, and so the connector does (exit 2)
├── PortUnavailableError      the address for metrics and health can't be had (exit 2)
├── StreamConflictError       somebody else writes to a stream of ours (exit 1)
├── RecordingError            a recording that cannot be read or written (exit 1) [bridge.recordings.recording]
├── ReplayError               a replay that cannot be served: the port is taken, say [bridge.recordings.replay]
├── OutputError               what is to be shown cannot be written [bridge.tail.output]
├── OrderRefusedError         the simulated market refuses an order [bridge.simulator]
├── ServerMissingError        the demo finds no Redis-compatible server [bridge.demo.embedded]
└── PartFailedError           a part of the demo doesn't live [bridge.demo]
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

__all__ = [
    "AlreadyRunningError",
    "BridgeError",
    "ConfigError",
    "ConnectorsFailedError",
    "DisplacedError",
    "PortUnavailableError",
    "Problem",
    "RedisRefusedError",
    "RedisUnavailableError",
    "StreamConflictError",
    "TaskEndedError",
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

    @property
    def about(self) -> str:
        """The text without the name that it begins with, for where that has been said."""
        return str(self)


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


class DisplacedError(AlreadyRunningError):
    """Another process has taken this one's place while it was stopped, cut off or slow; it writes nothing more."""

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(name, f"another process has taken its place{detail and f' ({detail})'}")

    def __str__(self) -> str:
        return f"connector {self.name!r} ends and writes nothing more: {self.detail}"


class ConnectorsFailedError(BridgeError):
    """Some connectors of a process have failed, the others ended as they should: connector → what it failed with."""

    MISTAKE = 1

    def __init__(self, failures: Mapping[str, BaseException], total: int) -> None:
        self.failures = dict(failures)
        codes = {failure.exit_code for failure in failures.values() if isinstance(failure, BridgeError)}
        self.exit_code = self.MISTAKE if self.MISTAKE in codes else BridgeError.exit_code
        said = {
            name: failure.about if isinstance(failure, BridgeError) else str(failure)
            for name, failure in failures.items()
        }
        lines = "\n".join(f"  {name}: {words or type(failures[name]).__name__}" for name, words in said.items())
        super().__init__(f"{len(failures)} of {total} connectors failed\n{lines}")


class RedisUnavailableError(BridgeError):
    """Redis is out of reach, or doesn't let this client in; ``url`` is without its password."""

    def __init__(self, url: str, message: str) -> None:
        self.url = url
        super().__init__(f"Redis at {url}: {message}")


class RedisRefusedError(RedisUnavailableError):
    """Redis answers, and refuses a command: its key holds something else, say, or this user lacks a right."""


class TaskEndedError(BridgeError):
    """A task that should run for as long as its connector has ended without a word."""

    def __init__(self, task: str) -> None:
        self.task = task
        super().__init__(f"the task {task} has ended by itself; this is a bug: please report it")


class PortUnavailableError(BridgeError):
    """The address that metrics and health were to be served on can't be had."""

    def __init__(self, host: str, port: int, message: str) -> None:
        self.host = host
        self.port = port
        hint = "set http.port to a free one, to 0 for any, or to off"
        super().__init__(f"http: {host} port {port}: {message}; {hint}")


class StreamConflictError(BridgeError):
    """The stream holds an entry that this connector did not write, where its own next one should stand."""

    exit_code = 1

    def __init__(self, key: str, entry_id: str) -> None:
        self.key = key
        self.entry_id = entry_id
        super().__init__(f"{key}: entry {entry_id} was written by somebody else; one stream takes one connector")
