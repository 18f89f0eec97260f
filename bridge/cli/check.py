"""``tickbridge check``: validates a config, shows what it means, and tries whether it works."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Iterator
from typing import TYPE_CHECKING, Any

from bridge.cli.common import add_config_option, load_with_origins, select_connectors

if TYPE_CHECKING:
    from bridge.check.sizes import StreamSize
    from bridge.config import ConnectorSettings, Settings
    from bridge.config.load import Loaded
    from bridge.exchanges.api import Exchange

__all__ = ["add_parser"]

_USER, _ENVIRONMENT = 1, 2
_MOST_STREAMS = 24
"""Up to this many streams are all listed without --show."""
_ESTIMATE = (
    "estimated: measured bytes per entry times max_entries;",
    "full books take more, and streams that reach max_age first take less",
)


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "check",
        help="validate a config; with --connect, also try Redis and the exchanges",
        description="Validates a config, and shows what it means and which streams it creates, or all mistakes at once "
        "(exit 1).",
    )
    add_config_option(parser)
    parser.add_argument(
        "--connect", action="store_true", help="also try Redis and the exchanges (exit 2 if they do not answer)"
    )
    parser.add_argument(
        "--show",
        action="store_true",
        help="also print every effective setting and where it comes from; secrets are masked",
    )
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object, with numbers as text")
    parser.set_defaults(func=check)


def check(options: argparse.Namespace) -> int:
    """Validate the config, show it and, with ``--connect``, try it.

    Raises:
        ConfigError: all mistakes of the config at once.
    """
    from bridge.errors import ConfigError

    try:
        loaded = load_with_origins(options.config)
        exchanges = _checked(loaded)
    except ConfigError as error:
        if options.json:
            _print_json({"ok": False, "mistakes": _mistakes(error)})
        raise
    from bridge.check.sizes import stream_sizes

    sizes = stream_sizes(loaded.settings, exchanges)
    if not options.json:
        streams = [*_streams(sizes, everything=options.show), *_matching(loaded.settings), *_unread(exchanges)]
        for line in [*_described(loaded), *streams]:
            print(line)
        for line in _effective(loaded) if options.show else ():
            print(line)
    attempts: list[dict[str, Any]] = []
    code = _connect(loaded.settings, attempts, quiet=options.json) if options.connect else 0
    if options.json:
        _print_json(_as_json(loaded, sizes, attempts, ok=not code))
    elif not code:
        print("ok")
    return code


def _checked(loaded: Loaded) -> list[tuple[ConnectorSettings, Exchange]]:
    """Each connector with its exchange, after the checks that ``run`` makes before it connects.

    A file that configures Redis may have no connectors: it is for ``tail`` and the consumers.

    Raises:
        ConfigError: all mistakes at once.
    """
    from bridge.connector.wiring import checked_exchange
    from bridge.errors import ConfigError
    from bridge.process.loops import check_loop

    settings = loaded.settings
    found, problems = [], []
    for connector in [] if _for_readers(loaded) else select_connectors(settings, []):
        try:
            found.append((connector, checked_exchange(settings, connector)))
        except ConfigError as error:
            problems += error.problems
    try:
        check_loop(settings.loop)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return found


def _for_readers(loaded: Loaded) -> bool:
    return not loaded.settings.connectors and loaded.in_file(("redis",)) and not loaded.in_file(("connectors",))


def _described(loaded: Loaded) -> Iterator[str]:
    """The configuration in a few lines, without any secret."""
    settings = loaded.settings
    yield f"config      {loaded.path or 'the environment'}"
    yield f"redis       {settings.redis.address}"
    if settings.namespace:
        yield f"namespace   {settings.namespace}"
    for connector in settings.connectors:
        wanted = [
            *connector.own_pairs,
            *(f"{pattern} (at most {connector.max_pairs})" for pattern in connector.patterns),
        ]
        pairs = ", ".join(wanted) or "no pair: nothing to do"
        shared = f"{len(connector.named_pairs)} pairs" if connector.named_pairs else ""
        shared = " and ".join(text for text in (shared, "what matches" if connector.patterns else "") if text)
        share = f"shard {connector.shard} of {shared}: " if connector.shard else ""
        yield f"connector   {connector.name}: {connector.exchange}, {share}{pairs}"
        yield f"              channels {', '.join(connector.channels) or 'none'}"
        if connector.account is not None:
            subaccounts = settings.accounts[connector.account].subaccounts
            yield f"              account {connector.account}{' with its sub-accounts' if subaccounts else ''}"
        for name, url in _urls(connector):
            yield f"              {name} {url}"
        for line in _proxies(connector):
            yield f"              proxy {line}"
    if not settings.connectors:
        yield "connectors  none: 'tickbridge run' needs one, 'tickbridge tail' and the consumers do not"
    used = {connector.account for connector in settings.connectors}
    for name in settings.accounts:
        if name not in used:
            yield f"account     {name}: no connector uses it"


def _urls(connector: ConnectorSettings) -> Iterator[tuple[str, str]]:
    from bridge.redaction import redact

    for name, url in (("url", connector.url), ("rest", connector.rest_url)):
        if url:
            yield name, redact(url)


def _streams(sizes: list[StreamSize], *, everything: bool) -> Iterator[str]:
    """The streams and their estimated memory."""
    from bridge.check.sizes import bytes_text
    from bridge.config.units import duration_text

    total = sum(size.bytes for size in sizes)
    if not sizes:
        return
    yield f"streams     {len(sizes)}, at most about {bytes_text(total)} of Redis memory"
    shown = sizes if everything or len(sizes) <= _MOST_STREAMS else sizes[: _MOST_STREAMS // 2]
    width = max((len(size.key) for size in shown), default=0)
    for size in shown:
        kept = f"{size.max_entries} entries or {duration_text(size.max_age)}"
        yield f"              {size.key:{width}}  {kept:22}  about {bytes_text(size.bytes)}"
    if len(shown) < len(sizes):
        yield f"              and {len(sizes) - len(shown)} more; --show lists them all"
    yield from (f"              {line}" for line in _ESTIMATE)


def _matching(settings: Settings) -> Iterator[str]:
    """What pairs that match patterns may come to; the names of their streams aren't known before they are listed."""
    from bridge.check.sizes import bytes_text, pattern_size

    for connector in settings.connectors:
        if connector.patterns and connector.channels:
            streams, size = pattern_size(settings, connector)
            what = f"{streams} streams of pairs that match {', '.join(connector.patterns)}"
            yield f"streams     {connector.name}: up to {what}, at most about {bytes_text(size)}"


def _unread(exchanges: list[tuple[ConnectorSettings, Exchange]]) -> Iterator[str]:
    """Pairs that come to no stream."""
    for connector, exchange in exchanges:
        for words in exchange.unread():
            yield f"nothing     {connector.name}: {words}"


def _effective(loaded: Loaded) -> Iterator[str]:
    from bridge.config.written import effective_settings
    from bridge.redaction import redact

    settings = effective_settings(loaded)
    path = max(len(setting.path) for setting in settings)
    value = min(40, max(len(setting.value) for setting in settings))
    yield "settings"
    for setting in settings:
        yield f"  {setting.path:{path}}  {redact(setting.value):{value}}  {setting.origin}"


def _as_json(loaded: Loaded, sizes: list[StreamSize], attempts: list[dict[str, Any]], *, ok: bool) -> dict[str, Any]:
    """Everything as JSON; numbers are text, as in all JSON of Tickbridge."""
    from bridge.config.units import duration_text
    from bridge.config.written import effective_settings
    from bridge.redaction import redact

    streams = [
        {
            "key": size.key,
            "connector": size.connector,
            "channel": str(size.channel),
            "max_entries": str(size.max_entries),
            "max_age": duration_text(size.max_age),
            "estimated_bytes": str(size.bytes),
        }
        for size in sizes
    ]
    return {
        "ok": ok,
        "config": str(loaded.path) if loaded.path else None,
        "settings": [
            {"path": setting.path, "value": redact(setting.value), "origin": setting.origin}
            for setting in effective_settings(loaded)
        ],
        "streams": streams,
        "estimated_bytes": str(sum(size.bytes for size in sizes)),
        **({"attempts": attempts} if attempts else {}),
    }


def _mistakes(error: Any) -> list[dict[str, str]]:
    from bridge.redaction import redact

    return [
        {"path": problem.path, "message": redact(problem.message), "hint": redact(problem.hint)}
        for problem in error.problems
    ]


def _proxies(connector: ConnectorSettings) -> list[str]:
    """The proxies that the connector uses, or why it does not use one that is set."""
    from bridge.config.connectors import routes_of
    from bridge.connector.wiring import bases_of

    bases = bases_of(connector)
    routes = routes_of(connector, bases)
    shown = [route.proxy.shown if route.proxy else route.reason and f"none: {route.reason}" for route in routes]
    if len(set(shown)) == 1:
        return [shown[0]] if shown[0] else []
    kinds = ["REST" if base.startswith("http") else "WebSockets" for base in bases]
    return list(dict.fromkeys(f"{line or 'none'} for {kind}" for line, kind in zip(shown, kinds, strict=True)))


def _print_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _connect(settings: Settings, attempts: list[dict[str, Any]], *, quiet: bool) -> int:
    from bridge.process.loops import run_async

    return run_async(_try_all(settings, attempts, quiet=quiet), settings.loop)


async def _try_all(settings: Settings, attempts: list[dict[str, Any]], *, quiet: bool) -> int:
    """Try Redis, then the exchange of each connector; a failure does not stop the rest."""
    from bridge.check.exchange import probe
    from bridge.check.redis import probe_redis

    async def attempt(kind: str, name: str, work: Awaitable[list[str]]) -> int:
        code, said = await _try(kind, name, work)
        attempts.append({"kind": kind, "name": name, "ok": not code, "said": said})
        if code:
            print("\n              ".join(said), file=sys.stderr)
        elif not quiet:
            print("\n              ".join([f"{kind} {name}: answers", *said]))
        return code

    code = await attempt("redis", settings.redis.address, probe_redis(settings.redis))
    for connector in settings.connectors:
        outcome = await attempt("connector", connector.name, probe(settings, connector))
        # A mistake of the user remains when Redis is back, so it decides the exit code.
        code = _USER if _USER in (code, outcome) else code or outcome
    return code


async def _try(kind: str, name: str, attempt: Awaitable[list[str]]) -> tuple[int, list[str]]:
    """The exit code, and what was found or went wrong."""
    from bridge.errors import BridgeError
    from bridge.exchange_errors import PairsNotServedError
    from bridge.redaction import presentable

    try:
        return 0, [presentable(finding) for finding in await attempt]
    except PairsNotServedError as error:
        return error.exit_code, [f"{kind} {name}: {error.lines[0]}", *error.lines[1:]]
    except BridgeError as error:
        # Errors of Redis begin with its address.
        prefix = "" if kind == "redis" else f"{kind} {name}: "
        return error.exit_code, [f"{prefix}{presentable(error.about, lines=True)}"]
    except (TimeoutError, OSError) as error:
        return _ENVIRONMENT, [f"{kind} {name}: {presentable(str(error) or type(error).__name__)}"]
