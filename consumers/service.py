"""What the consumer services share: options, discovery of streams, start and end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bridge.errors import RedisUnavailableError
from bridge.keys import Keys, StreamKey, checked_namespace
from bridge.pem import check_certificate, check_key
from bridge.printable import printable
from bridge.process.lifecycle import end_on_signals, run_loop
from bridge.process.output import QueuedText, before_end, open_missing_streams, queued_output
from bridge.process.repeats import Repeats, Summary
from bridge.process.starting import collect_rarely
from bridge.redis.errors import AWAY, FAILURES, explain, is_wrong_type, refuses_key
from bridge.redis.topology import RedisUrlError, Topology
from consumers.monitor import HttpAddress, http_address
from consumers.notices import Notices

__all__ = [
    "OutputClosedError",
    "Parser",
    "catalog",
    "discover",
    "note",
    "run_as_command",
    "say",
    "serve",
    "to_terminal",
]

T = TypeVar("T")

DEFAULT_URL = "redis://127.0.0.1:6379/0"
_URL = "TICKBRIDGE_REDIS__URL"
_NO = ("false", "f", "no", "n", "off", "0")
_FILES = {
    "ca_file": "PEM file with an additional CA certificate to trust, for TLS",
    "cert_file": "PEM file with the client certificate, for TLS",
    "key_file": "PEM file with the private key of the client certificate",
}


class OutputClosedError(Exception):
    """The reader of the output has closed the pipe, as ``head`` does. It is no ``OSError``: Redis has not failed."""


class Parser(argparse.ArgumentParser):
    """An argument parser with the options of every service; a wrong argument ends it with exit code 1.

    ``http_port`` is where the service serves metrics and health if nothing says otherwise: each service has a port of
    its own, so that all run on one machine. As a command of tickbridge, a service takes what isn't given from the config
    (`bridge.cli.consumer`); only where it is copied out does it read variables itself.
    """

    def __init__(self, prog: str, description: str, *, http_port: int, **settings: Any) -> None:
        super().__init__(prog=prog, description=description, **settings)
        self.http_port = http_port
        self.add_argument(
            "--redis",
            metavar="URL",
            help="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// (default: TICKBRIDGE_REDIS__URL, "
            f"the file that TICKBRIDGE_REDIS__URL_FILE names, or {DEFAULT_URL})",
        )
        for name, what in _FILES.items():
            option = f"--redis-{name.replace('_', '-')}"
            self.add_argument(option, metavar="FILE", help=f"{what} (default: TICKBRIDGE_REDIS__{name.upper()})")
        self.add_argument("--namespace", type=checked_namespace, help="prefix of all keys")
        self.add_argument("--exchange", help="only this exchange")
        self.add_argument(
            "--http",
            metavar="HOST:PORT",
            type=http_address,
            help="where to serve metrics and health checks, or off (default: TICKBRIDGE_HTTP__HOST and "
            f"TICKBRIDGE_HTTP__PORT, or 127.0.0.1:{http_port})",
        )
        self.add_argument("--json", action="store_true", help="print JSON lines, even on a terminal")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The arguments, with the environment for those that aren't given; ``redis`` is a `Topology`."""
        parsed = super().parse_args(args, namespace)
        env = os.environ.get
        if parsed.redis is None:
            parsed.redis = env(_URL)
        if parsed.namespace is None:
            parsed.namespace = self._of_environment("TICKBRIDGE_NAMESPACE", checked_namespace, "")
        for name in _FILES:
            if getattr(parsed, f"redis_{name}") is None:
                setattr(parsed, f"redis_{name}", env(f"TICKBRIDGE_REDIS__{name.upper()}"))
        if parsed.http is None:
            parsed.http = self._http_of_environment()
        hosts = tuple(re.findall(r"[^\s,\"'\[\]]+", env("TICKBRIDGE_HTTP__HOSTS", "")))
        old_names = env("TICKBRIDGE_HTTP__OLD_METRIC_NAMES", "").strip().lower() not in _NO
        parsed.http = parsed.http._replace(hosts=hosts, old_names=old_names)
        return self.settle(parsed)

    def _http_of_environment(self) -> HttpAddress:
        host, port = (os.environ.get(f"TICKBRIDGE_HTTP__{name}", "") for name in ("HOST", "PORT"))
        if not port:
            return HttpAddress(host or "127.0.0.1", self.http_port, explicit=False)
        return self._of_environment("TICKBRIDGE_HTTP__PORT", http_address)

    def _of_environment(self, name: str, convert: Callable[[str], T], default: str = "") -> T:
        try:
            return convert(os.environ.get(name, default))
        except argparse.ArgumentTypeError as mistake:
            self.error(f"{name}: {mistake}")

    def settle(self, parsed: argparse.Namespace) -> argparse.Namespace:
        """Replace ``redis`` by a `Topology`, with its certificate files."""
        files = {name: getattr(parsed, f"redis_{name}") for name in _FILES}
        for path in filter(None, files.values()):
            self._read(path)
        for path in filter(None, (files["ca_file"], files["cert_file"])):
            self._check(path, check_certificate)
        if files["key_file"] and files["cert_file"]:
            self._check(files["key_file"], check_key, files["cert_file"])
        file = os.environ.get("TICKBRIDGE_REDIS__URL_FILE")
        url = parsed.redis or (self._read(file).strip() if file else DEFAULT_URL)
        try:
            parsed.redis = Topology(url, **files)
        except RedisUrlError as error:
            self.error(f"{self._source(parsed.redis, file)}: the Redis URL {error}")
        return parsed

    def _source(self, url: str | None, file: str | None) -> str:
        """Where the URL comes from. The URL itself may contain a password, and is not shown."""
        if url is None:
            return f"{file} (TICKBRIDGE_REDIS__URL_FILE)" if file else "the default"
        return _URL if url == os.environ.get(_URL) else "argument --redis"

    def _check(self, path: str, check: Callable[..., None], *more: str) -> None:
        try:
            check(path, *more)
        except ValueError as error:
            self.error(f"{path} {error}")

    def _read(self, path: str) -> str:
        try:
            return Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.error(f"cannot read {path}: {getattr(error, 'strerror', None) or error}")

    def error(self, message: str) -> NoReturn:
        """Report a mistake of the user, and exit with 1."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\n")


def run_as_command(name: str, main: Callable[[], int]) -> int:
    """Run ``tickbridge NAME`` if it is installed; otherwise (a copied service) run ``main``."""
    try:
        command = import_module("bridge.cli.main")
    except ImportError:
        return main()
    return int(command.main([name, *sys.argv[1:]]))


def say(line: str) -> None:
    """Print a line without waiting for its reader.

    Raises:
        OutputClosedError: the reader has closed the pipe.
    """
    if isinstance(sys.stdout, QueuedText) and sys.stdout.queue.gone:
        raise OutputClosedError
    print(line)


def to_terminal() -> bool:
    """Whether standard output is a terminal; there may be no standard output at all (``>&-``)."""
    return sys.stdout is not None and sys.stdout.isatty()


def note(line: str) -> None:
    """Print a line to stderr, with control characters escaped."""
    if sys.stderr is not None:
        print(printable(line), file=sys.stderr)


async def catalog(redis: Redis, keys: Keys, names: Collection[str] = ()) -> dict[str, StreamKey]:
    """All streams of the catalogs ``names`` (default: the public one and that of accounts), by key."""
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
    *,
    names: Collection[str] = (),
    notices: Notices | None = None,
    writer: str = "connector",
    missing: Callable[[Mapping[str, StreamKey]], tuple[Collection[str], Collection[str]]] | None = None,
) -> None:
    """Call ``found`` for each stream of the catalogs every ``every`` seconds, endlessly, so that new streams are found.

    A stream that ``found`` cannot read (its key, or its hash, holds something else) does not affect the others.
    ``missing`` returns what is wanted but not in the catalogs, and what exists; ``notices`` reports it. ``writer`` names
    the service that would write it, for messages.
    """
    notices = notices or Notices("consumer")
    names = names or (keys.catalog(), keys.accounts_catalog())
    catalogs = " or ".join(names)
    while True:
        try:
            streams = await catalog(redis, keys, names)
            notices.clear_problem(catalogs)
            for key, stream in sorted(streams.items()):
                await _take(key, stream, found, notices)
            if missing:
                notices.report_missing(*missing(streams), _nothing_written(writer, keys.namespace))
        except AWAY:
            pass  # the reader reports it; try again
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            notices.report_problem(catalogs, str(error))
        await asyncio.sleep(every)


def _nothing_written(writer: str, namespace: str) -> str:
    if namespace:
        return f"no {writer} has written to namespace {namespace!r}"
    return f"no {writer} has written to this Redis; is it the right one, and the right namespace?"


async def _take(
    key: str, stream: StreamKey, found: Callable[[str, StreamKey], Awaitable[None]], notices: Notices
) -> None:
    try:
        await found(key, stream)
    except AWAY:
        raise
    except (ResponseError, ValueError) as error:
        if isinstance(error, ResponseError) and not refuses_key(error):
            raise
        notices.report_problem(key, str(error))
    else:
        notices.clear_problem(key)


def serve(
    prog: str,
    main: Callable[[], Coroutine[object, object, None]],
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> int:
    """Run a service until it ends, or until SIGTERM or SIGINT; prints what went wrong and returns the exit code.

    The first signal ends it in order (``finally`` blocks run), the second at once; neither takes more than ten seconds.
    The service never waits for the reader of its output, and ends when that reader goes away (``… | head``). ``loop`` makes
    the event loop, if it is not to be asyncio's own.
    """
    open_missing_streams()
    with queued_output(
        lambda stream, count: note(f"{prog}: {count} lines of {stream} were dropped because nothing read them")
    ):
        _log_to_stderr(prog)
        code = 0
        collect_rarely()
        try:
            run_loop(_until_signal(main()), loop)
        except* OutputClosedError:
            pass
        except* (RedisUnavailableError, *FAILURES) as group:
            _complain(prog, group)
            code = 2
    return code


def _log_to_stderr(prog: str) -> None:
    """Print warnings as lines of the service, with repeated ones summarised."""

    def say_summary(summary: Summary) -> None:
        note(f"{prog}: {summary.newest['text']} ({summary.count} such lines in {summary.seconds:.0f} s)")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if repeats.admit((record.name, str(record.msg)), (), {"text": text}):
                note(f"{prog}: {text}")

    repeats = Repeats(say_summary)
    before_end("log summaries", repeats.flush)
    logging.basicConfig(level=logging.WARNING, handlers=[Handler()])
    logging.raiseExceptions = False


async def _until_signal(main: Coroutine[object, object, None]) -> None:
    task = asyncio.create_task(main, name="service")
    stopped = False

    def end(_: signal.Signals) -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    end_on_signals(end)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise


def _complain(prog: str, group: BaseExceptionGroup[BaseException]) -> None:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _complain(prog, error)
        else:
            note(f"{prog}: {error if isinstance(error, RedisUnavailableError) else explain(error, '')}")
