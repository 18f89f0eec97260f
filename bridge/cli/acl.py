"""``tickbridge acl``: Redis users with the minimum rights of each role."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.cli.common import add_config_option, load, select_connectors
from bridge.keys import checked_namespace

if TYPE_CHECKING:
    from bridge.config import Settings

__all__ = ["add_parser"]

ROLES = ("connector", "public", "account", "books", "wallets", "candles", "nautilus", "web", "operator")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "acl",
        help="print Redis users with the minimum rights for connectors, readers, consumers, operators",
        description="Prints Redis ACL rules (Redis 7 or newer, or Valkey), one user per line, for all roles or those given.",
    )
    add_config_option(parser, required=False)
    parser.add_argument(
        "--role", choices=ROLES, nargs="+", action="extend", default=[], help="only these (default: all)"
    )
    parser.add_argument(
        "--connector", metavar="NAME", nargs="+", action="extend", default=[], help="only users of these connectors"
    )
    parser.add_argument(
        "--account",
        metavar="NAME",
        nargs="+",
        action="extend",
        default=[],
        help="only users of these accounts (and wallets)",
    )
    parser.add_argument("--namespace", type=checked_namespace, help="prefix of all keys (default: the config's)")
    parser.add_argument("--user", metavar="NAME", help="name of the user, if there is only one (default: tickbridge-…)")
    parser.add_argument(
        "--password-file",
        metavar="FILE",
        type=Path,
        help="file with the user's password, if there is only one user; printed as its SHA-256",
    )
    parser.add_argument(
        "--format",
        choices=("setuser", "aclfile"),
        default="setuser",
        help="ACL SETUSER commands, or lines of an aclfile (default: setuser)",
    )
    parser.add_argument(
        "--cluster", action="store_true", help="for a Redis Cluster (default: if redis.url of the config is one)"
    )
    parser.add_argument(
        "--redis-version",
        choices=("7.0", "7.2"),
        default="7.2",
        help="the oldest version in use; 7.2 also covers newer versions and Valkey (default: 7.2)",
    )
    parser.add_argument(
        "--broad",
        action="store_true",
        help="let connectors write all pairs of their exchange, with few patterns (for very many pairs)",
    )
    parser.set_defaults(func=acl)


def acl(options: argparse.Namespace) -> int:
    """Print the users.

    Raises:
        ConfigError: a mistake in the config or the arguments.
    """
    from bridge.acl import PLACEHOLDER, user
    from bridge.errors import ConfigError, Problem
    from bridge.redis.topology import Kind

    # A blank or an asterisk would be a rule of its own, and grant the user more rights.
    odd = [name for name in ("namespace", "user") if not _PLAIN.fullmatch(getattr(options, name) or "")]
    if odd:
        words = "should be letters, digits, '_', '.' and '-' only"
        raise ConfigError([Problem(f"--{name}", words) for name in odd], "arguments")
    settings = load(options.config)
    if options.namespace is not None:
        settings = settings.model_copy(update={"namespace": options.namespace})
    cluster = options.cluster or settings.redis.topology.kind is Kind.CLUSTER
    users = _users(options, settings, cluster=cluster)
    alone = [name for name in ("user", "password_file") if getattr(options, name) is not None]
    if alone and len(users) != 1:
        problems = [
            Problem(f"--{name.replace('_', '-')}", f"is for one user, not {len(users)}", "choose one with --role")
            for name in alone
        ]
        raise ConfigError(problems, "arguments")
    password = _hashed(options.password_file) if options.password_file else PLACEHOLDER
    aclfile, old = options.format == "aclfile", options.redis_version == "7.0"
    for name, rules in users.items():
        print(user(options.user or name, rules, password, aclfile=aclfile, cluster=cluster, old=old))
    return 0


def _users(options: argparse.Namespace, settings: Settings, *, cluster: bool) -> dict[str, list[str]]:
    """The rules of each user, by its default name.

    Raises:
        ConfigError: a connector or an account is not in the config.
    """
    from bridge import acl
    from bridge.errors import ConfigError, Problem
    from bridge.suggestions import did_you_mean

    named = bool(options.role or options.connector or options.account)
    roles = set(options.role) or ({"connector"} if options.connector else set()) | (
        {"account"} if options.account else set()
    )
    roles = roles or set(ROLES)
    unknown = [name for name in options.account if name not in settings.accounts]
    if unknown:
        known = list(settings.accounts)
        raise ConfigError(
            [Problem("--account", f"no account {n!r}", did_you_mean(n, known)) for n in unknown], "arguments"
        )
    accounts = {
        name: account.exchange
        for name, account in settings.accounts.items()
        if not options.account or name in options.account
    }
    users: dict[str, list[str]] = {}
    if "connector" in roles and (named or settings.connectors):
        for one in select_connectors(settings, options.connector):
            users[f"tickbridge-{one.name}"] = acl.connector(settings, one, broad=options.broad, cluster=cluster)
    if "public" in roles:
        users["tickbridge-public"] = acl.public_reader(settings.namespace)
    if "account" in roles:
        for name, exchange in accounts.items():
            users[f"tickbridge-account-{name}"] = acl.account_reader(settings.namespace, exchange, name)
    if "books" in roles:
        users["tickbridge-books"] = acl.books(settings.namespace)
    if "wallets" in roles:
        only = [(exchange, name) for name, exchange in accounts.items()] if options.account else []
        users["tickbridge-wallets"] = acl.wallets(settings.namespace, only)
    if "web" in roles:
        users["tickbridge-web"] = acl.web(settings.namespace)
    if "candles" in roles:
        users["tickbridge-candles"] = acl.candles(settings.namespace)
    if "nautilus" in roles:
        users["tickbridge-nautilus"] = acl.nautilus(settings.namespace)
    if "operator" in roles:
        users["tickbridge-operator"] = acl.operator(settings.namespace)
    return users


def _hashed(path: Path) -> str:
    from hashlib import sha256

    from bridge.errors import ConfigError, Problem

    try:
        password = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise ConfigError([Problem("--password-file", f"cannot read {path}: {words}")], "arguments") from None
    if not password:
        raise ConfigError([Problem("--password-file", f"{path} is empty")], "arguments")
    return f"#{sha256(password.encode()).hexdigest()}"
