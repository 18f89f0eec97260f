"""``tickbridge check``: what a config says, and whether it would work."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from bridge.cli.common import add_config_option, load

if TYPE_CHECKING:
    from bridge.config import ConnectorSettings, Settings

__all__ = ["add_parser"]

_USER, _ENVIRONMENT = 1, 2


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "check",
        help="say what is wrong with a config; with --connect try Redis and the exchanges too",
        description="Validates a config and shows what it means, or all mistakes at once (exit 1).",
    )
    add_config_option(parser)
    parser.add_argument(
        "--connect", action="store_true", help="also try Redis and the exchanges (exit 2 if they don't answer)"
    )
    parser.set_defaults(func=check)


def check(options: argparse.Namespace) -> int:
    """Validate, show and, if asked to, try.

    Raises:
        ConfigError: all mistakes of the config at once.
    """
    settings = load(options.config)
    _check_exchanges(settings)
    for line in _described(settings):
        print(line)
    if options.connect:
        from bridge.loops import run_async

        code = run_async(_try_all(settings), settings.loop)
        if code:
            return code
    print("ok")
    return 0


def _check_exchanges(settings: Settings) -> None:
    """Let every exchange look at what concerns it alone (whether a secret is a key that can sign).

    Raises:
        ConfigError: all mistakes at once.
    """
    from bridge.connector import build_exchange
    from bridge.errors import ConfigError

    problems = []
    for connector in settings.connectors:
        try:
            build_exchange(settings, connector).check()
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


def _described(settings: Settings) -> list[str]:
    """The configuration in a few lines, without any secret."""
    lines = [f"redis       {settings.redis.address}"]
    if settings.namespace:
        lines.append(f"namespace   {settings.namespace}")
    for connector in settings.connectors:
        pairs = ", ".join(connector.own_pairs) or "no pair: nothing to do"
        share = f"shard {connector.shard} of {len(connector.pairs)} pairs: " if connector.shard else ""
        lines.append(f"connector   {connector.name}: {connector.exchange}, {share}{pairs}")
        lines.append(f"              channels {', '.join(connector.channels) or 'none'}")
        if connector.account is not None:
            subaccounts = settings.accounts[connector.account].subaccounts
            lines.append(f"              account {connector.account}{' with its sub-accounts' if subaccounts else ''}")
        lines += [f"              {name} {url}" for name, url in _urls(connector) if url]
        lines += [f"              proxy {line}" for line in _proxies(connector)]
    used = {connector.account for connector in settings.connectors}
    lines += [f"account     {name}: no connector uses it" for name in settings.accounts if name not in used]
    if not settings.connectors:
        lines.append("connectors  none")
    return lines


def _urls(connector: ConnectorSettings) -> list[tuple[str, str | None]]:
    from bridge.redaction import redact

    return [
        (name, redact(url) if url else None) for name, url in (("url", connector.url), ("rest", connector.rest_url))
    ]


def _proxies(connector: ConnectorSettings) -> list[str]:
    """The proxies that the connector goes through, or why it doesn't go through one that is set."""
    from bridge.config.proxy import routes_of
    from bridge.connector import urls_of
    from bridge.exchanges import exchange_type

    routes = routes_of(connector, urls_of(exchange_type(connector.exchange), connector))
    shown = [route.proxy.shown if route.proxy else route.reason and f"none: {route.reason}" for route in routes]
    if len(set(shown)) == 1:
        return [shown[0]] if shown[0] else []
    return [f"{line or 'none'} for {what}" for line, what in zip(shown, ("WebSockets", "REST"), strict=True)]


async def _try_all(settings: Settings) -> int:
    """Redis first, then every connector's exchange; one failure hides no other."""
    from bridge import connector as connectors
    from bridge.redis_probe import probe_redis

    code = await _try("redis", settings.redis.address, probe_redis(settings.redis))
    for connector in settings.connectors:
        outcome = await _try("connector", connector.name, connectors.probe(settings, connector))
        # A mistake of the user's stays one when Redis comes back: it decides the exit code.
        code = _USER if _USER in (code, outcome) else code or outcome
    return code


async def _try(kind: str, name: str, attempt: Awaitable[list[str]]) -> int:
    from bridge.errors import BridgeError
    from bridge.redaction import presentable

    try:
        findings = await attempt
    except BridgeError as error:
        # Redis' own errors begin with where it is.
        who = "" if kind == "redis" else f"{kind} {name}: "
        print(f"{who}{presentable(str(error), lines=True)}", file=sys.stderr)
        return error.exit_code
    except (TimeoutError, OSError) as error:
        print(f"{kind} {name}: {presentable(str(error) or type(error).__name__)}", file=sys.stderr)
        return _ENVIRONMENT
    print(f"{kind} {name}: answers" + "".join(f"\n              {presentable(finding)}" for finding in findings))
    return 0
