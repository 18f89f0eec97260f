"""What the consumer services share: their options, the catalog, their start and their end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from redis.asyncio import Redis

from bridge.keys import Keys, StreamKey
from bridge.topology import FAILURES, Topology
from consumers.connection import OUTAGE, RedisUnreachableError
from consumers.monitor import DEFAULT_PORT, HttpAddress, http_address

__all__ = ["Parser", "catalog", "discover", "run_as_command", "say", "serve"]

DEFAULT_URL = "redis://127.0.0.1:6379/0"
_FILES = {
    "ca_file": "PEM of a further authority, for TLS",
    "cert_file": "PEM of this client's certificate, for TLS",
    "key_file": "PEM of its key",
}


class Parser(argparse.ArgumentParser):
    """An argument parser with the options of every service; a wrong argument ends it with exit code 1."""

    def __init__(self, prog: str, description: str, **settings: Any) -> None:
        super().__init__(prog=prog, description=description, **settings)
        env = os.environ.get
        self.add_argument(
            "--redis",
            metavar="URL",
            default=env("TICKBRIDGE_REDIS__URL"),
            help="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// (default: TICKBRIDGE_REDIS__URL, "
            f"the file that TICKBRIDGE_REDIS__URL_FILE names, or {DEFAULT_URL})",
        )
        for name, what in _FILES.items():
            variable = f"TICKBRIDGE_REDIS__{name.upper()}"
            option = f"--redis-{name.replace('_', '-')}"
            self.add_argument(option, metavar="FILE", default=env(variable), help=f"{what} (default: {variable})")
        self.add_argument("--namespace", default=os.environ.get("TICKBRIDGE_NAMESPACE", ""), help="prefix of all keys")
        self.add_argument("--exchange", help="only this exchange")
        self.add_argument(
            "--http",
            metavar="HOST:PORT",
            type=http_address,
            help=f"serve metrics and health there, or off (default: TICKBRIDGE_HTTP__HOST and __PORT, or port {DEFAULT_PORT} of this machine)",
        )
        self.add_argument("--json", action="store_true", help="JSON lines, also on a terminal")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """The arguments, with the environment where there is none of ``--http``."""
        known, rest = super().parse_known_args(args, namespace)
        if known.http is None:
            known.http = self._http_of_environment()
        return known, rest

    def _http_of_environment(self) -> HttpAddress:
        host, port = (os.environ.get(f"TICKBRIDGE_HTTP__{name}", "") for name in ("HOST", "PORT"))
        if not port:
            return HttpAddress(host or "127.0.0.1", DEFAULT_PORT, explicit=False)
        try:
            return http_address(port)
        except argparse.ArgumentTypeError as mistake:
            self.error(f"TICKBRIDGE_HTTP__PORT: {mistake}")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The arguments; ``redis`` is a `Topology`."""
        return self.settle(super().parse_args(args, namespace))

    def settle(self, parsed: argparse.Namespace) -> argparse.Namespace:
        """Make a `Topology` of ``redis``, with the files that go with it."""
        files = {name: getattr(parsed, f"redis_{name}") for name in _FILES}
        for path in filter(None, files.values()):
            self._read(path)
        file = os.environ.get("TICKBRIDGE_REDIS__URL_FILE")
        url = parsed.redis or (self._read(file).strip() if file else DEFAULT_URL)
        try:
            parsed.redis = Topology(url, **files)
        except ValueError:
            # The URL itself stays out of the message: it may hold a password.
            self.error("argument --redis: not a Redis URL; write redis://HOST:PORT/0, rediss://… or unix://…")
        return parsed

    def _read(self, path: str) -> str:
        try:
            return Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.error(f"cannot read {path}: {getattr(error, 'strerror', None) or error}")

    def error(self, message: str) -> NoReturn:
        """A user's mistake."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def run_as_command(name: str, main: Callable[[], int]) -> int:
    """``python -m consumers.NAME`` is ``tickbridge NAME``, where that is installed; copied out, a service is on its own."""
    try:
        command = import_module("bridge.cli.main")
    except ImportError:
        return main()
    return int(command.main([name, *sys.argv[1:]]))


def say(line: str) -> None:
    """Print a line at once.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    print(line, flush=True)


async def catalog(redis: Redis, keys: Keys, names: Collection[str] = ()) -> dict[str, StreamKey]:
    """Every stream of the catalogs of these ``names`` (none: the public one and the accounts'), by its key."""
    found: list[str] = []
    for name in names or (keys.catalog(), keys.accounts_catalog()):
        found += await redis.hkeys(name)  # type: ignore[arg-type]
    parsed = {name: keys.parse(name) for name in found}
    return {name: stream for name, stream in parsed.items() if stream is not None}


async def discover(
    redis: Redis,
    keys: Keys,
    found: Callable[[str, StreamKey], Awaitable[None]],
    every: float = 2.0,
    names: Collection[str] = (),
) -> None:
    """Call ``found`` for each stream of the catalogs, again and again, every few seconds; new ones come by that."""
    while True:
        try:
            for key, stream in sorted((await catalog(redis, keys, names)).items()):
                await found(key, stream)
        except OUTAGE:
            pass  # the reader says so, and this comes again
        await asyncio.sleep(every)


def serve(prog: str, main: Callable[[], Coroutine[object, object, None]]) -> int:
    """Run a service until it ends or SIGTERM or SIGINT comes; returns the exit code, having said what was wrong.

    The first signal ends it in order (``finally`` blocks run), the second at once.
    """
    logging.basicConfig(level=logging.WARNING, format=f"{prog}: %(message)s", stream=sys.stderr)
    code = 0
    try:
        asyncio.run(_until_signal(main()))
    except* BrokenPipeError:
        # Whoever read our output has gone; Python must not trip over it again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except* (RedisUnreachableError, *FAILURES) as group:
        _complain(prog, group)
        code = 2
    return code


async def _until_signal(main: Coroutine[object, object, None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(main, name="service")

    def end() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stopped.set()
        task.cancel()

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped.is_set():
            raise


def _complain(prog: str, group: BaseExceptionGroup[BaseException]) -> None:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _complain(prog, error)
        else:
            print(f"{prog}: {error}", file=sys.stderr)
