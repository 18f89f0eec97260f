"""All errors that Tickbridge raises. A module in brackets defines the error and those below it.

BridgeError
├── ConfigError               a mistake of the user in config or arguments (exit 1)
├── AlreadyRunningError       another live process has the connector's name or streams (exit 1)
│   ├── LeaseTakenError       another process took the connector's lease at the same moment
│   └── DisplacedError        another process has taken over the connector
├── ExchangeError             any error of an exchange, with an `ErrorKind` [bridge.exchange_errors]
│   ├── FrameError            a frame that cannot be parsed
│   ├── UnknownPairError      a configured pair that the exchange does not list
│   ├── PairsNotServedError   all configured pairs that the exchange does not have
│   ├── RestError             a REST call that failed
│   ├── HandshakeError        the exchange refused the WebSocket
│   └── ReportedError         an error that the exchange reported over a connection
├── ConnectorsFailedError     some connectors of a process failed; exit 1 if one by a user's mistake, else (exit 2)
├── RedisUnavailableError     Redis is unreachable or refuses this client (exit 2)
│   └── RedisRefusedError     Redis refuses a command: a key holds something else, or a right is missing
├── HandoverError             a connector that cannot be handed over, or was not (exit 1) [bridge.redis.handover]
├── TaskEndedError            a bug: a task of a connector ended unexpectedly (exit 2)
├── PortUnavailableError      the address for metrics and health checks is not available (exit 2)
├── StreamConflictError       another program writes to one of the connector's streams (exit 1)
├── RecordingError            a recording that cannot be read or written (exit 1) [bridge.recordings.recording]
├── ReplayError               a replay that cannot be served, e.g. the port is in use [bridge.recordings.replay]
├── OutputError               output that cannot be written [bridge.tail.output]
├── OrderRefusedError         the simulated market refuses an order [bridge.simulator]
├── ServerMissingError        there is no Redis-compatible server for the demo [bridge.demo.embedded]
└── ProcessFailedError        a process of the demo keeps dying [bridge.demo.processes]
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
    "LeaseTakenError",
    "PortUnavailableError",
    "Problem",
    "RedisRefusedError",
    "RedisUnavailableError",
    "StreamConflictError",
    "TaskEndedError",
]


class Problem(Struct, frozen=True):
    """One mistake: its path (``connectors.0.pairs``), what is wrong, and what to do about it."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class BridgeError(Exception):
    """Base of all errors of this package; ``exit_code`` is the exit code of a command."""

    exit_code = 2

    @property
    def about(self) -> str:
        """The message without the name at its start, for output that already names it."""
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


class LeaseTakenError(AlreadyRunningError):
    """Another process took the lease at the same moment."""


class DisplacedError(AlreadyRunningError):
    """Another process took over while this one was stopped, disconnected or slow; this one writes nothing more."""

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(name, f"another process has taken over{detail and f' ({detail})'}")

    def __str__(self) -> str:
        return f"connector {self.name!r} ends and writes nothing more: {self.detail}"


class ConnectorsFailedError(BridgeError):
    """Some connectors of a process failed, and the others ended normally; ``failures`` maps a connector to its error."""

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
    """Redis is unreachable, or refuses this client; ``url`` is without its password."""

    def __init__(self, url: str, message: str) -> None:
        self.url = url
        super().__init__(f"Redis at {url}: {message}")


class RedisRefusedError(RedisUnavailableError):
    """Redis refuses a command, for example because its key has the wrong type or this user lacks a right."""


class TaskEndedError(BridgeError):
    """A task that should run as long as its connector ended without an error."""

    def __init__(self, task: str) -> None:
        self.task = task
        super().__init__(f"the task {task} ended unexpectedly; this is a bug, please report it")


class PortUnavailableError(BridgeError):
    """The address for metrics and health checks is not available."""

    def __init__(self, host: str, port: int, message: str) -> None:
        self.host = host
        self.port = port
        hint = "set http.port to a free one, to 0 for any, or to off"
        super().__init__(f"http: {host} port {port}: {message}; {hint}")


class StreamConflictError(BridgeError):
    """Another program has written to the stream again and again."""

    exit_code = 1

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            f"{key}: another program keeps writing to this stream, which only one connector may do; "
            "its `gap` entries say up to which entry. Stop that program (CLIENT LIST shows who is connected), "
            "or let it write under another namespace"
        )
