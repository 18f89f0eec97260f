"""Redis ACL rules: a user for each role, with the minimum rights that its work needs.

Key patterns, read-only ones (``%R~``) and selectors (in parentheses: commands for other keys) are those of Redis 7 and
Valkey. ``SCAN``, ``KEYS`` and ``RANDOMKEY`` show the names of all keys, whatever the patterns, so only the operator
may run ``SCAN``. The catalog of accounts names the accounts, so the public reader may read only the public one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.config import ConnectorSettings, Settings
from bridge.keys import Keys
from bridge.model import BOOKS, PRIVATE_CHANNELS, Channel

__all__ = [
    "PLACEHOLDER",
    "account_reader",
    "books",
    "candles",
    "connector",
    "nautilus",
    "operator",
    "public_reader",
    "user",
    "wallets",
    "web",
]

PLACEHOLDER = "#SHA256-OF-THE-PASSWORD"
"""Placeholder for the hash of a password; Redis refuses it, so it cannot be used by mistake."""

_HELLO = ("+ping", "+select", "+client|setname")
_SINCE_7_2 = ("+client|setinfo",)
"""Commands that are left out for Redis 7.0, which refuses rules with unknown commands; clients work without them."""
_CLUSTER = ("+cluster|slots", "+command", "+asking")
_READ = ("+xread", "+xrange", "+xrevrange", "+xlen", "+xinfo|stream", "+type", "+exists")
_READ_HASH = ("+hget", "+hmget", "+hgetall")
_LIMITS = ("+set", "+pttl", "+pexpire", "+pexpiretime", "+del", "+zadd", "+zrange", "+zrem", "+zremrangebyscore")
_LIMITS_OF_0_1_0 = ("+set", "+pttl", "+pexpire", "+del", "+xadd", "+xrange", "+xdel")

Rules = list[str]


def user(
    name: str, rules: Iterable[str], password: str, *, aclfile: bool = False, cluster: bool = False, old: bool = False
) -> str:
    """A line of an aclfile (``user …``), or the command that replaces the user.

    ``password`` is ``#`` and its SHA-256; ``old``: for a server older than 7.2.
    """
    begin = ("user", name) if aclfile else ("ACL", "SETUSER", name, "reset")
    hello = (*_HELLO, *(() if old else _SINCE_7_2), *(_CLUSTER if cluster else ()))
    words = [*begin, "on", password, "resetchannels", "-@all", *hello, *rules]
    return " ".join(words)


def connector(settings: Settings, one: ConnectorSettings, *, broad: bool = False, cluster: bool = False) -> Rules:
    """A connector writes its streams and its pairs' instruments, its heartbeat, its catalog entries and the exchange's rejects.

    It reads and changes fences: its own, and that of a connector whose streams it takes over. In a ``cluster``, where
    the fence does not protect entries, it closes the connections of its predecessor.

    It moves streams of accounts that an earlier version left in the public catalog to the catalog of accounts, which it
    cannot read unless it has an account.

    One that may stand by looks whether the writer has connections.

    If sub-accounts are served, it finds those of an earlier process by the names in the catalog of accounts.

    It reads and writes what connectors let each other know about requests to an exchange, unless ``share_limits`` is off.

    Patterns of pairs are patterns of keys: Redis reads ``*`` and ``?`` in the same way.

    ``broad``: all pairs of its exchange, with one pattern per channel. Redis compares every command with every pattern.
    """
    keys = Keys(settings.namespace)
    pairs = ("*",) if broad else (*one.own_pairs, *one.patterns)
    streams = [keys.stream(one.exchange, pair, channel) for pair in pairs for channel in one.channels]
    if one.account is not None:
        subjects = (one.account, f"{one.account}/*")
        streams += [keys.stream(one.exchange, s, channel) for s in subjects for channel in sorted(PRIVATE_CHANNELS)]
    instruments = [f"~{keys.instrument(one.exchange, pair)}" for pair in pairs]
    beat = f"~{keys.connector(one.name)}"
    limits = [f"~{keys.limits_held('*')}", f"~{keys.limits_used('*')}"]
    before = [f"~{keys.limits_held('*')}", f"~{keys.limits_spent('*')}"]  # a process of 0.1.0 may still run
    listed = ["+watch", "+hset", "+hmget"] if one.account is not None else []
    if one.account is not None and settings.accounts[one.account].subaccounts:
        listed.append("+hkeys")
    return [
        "+multi",
        "+exec",
        "+discard",
        "+unwatch",
        "+info",
        *(("+client|list",) if cluster or one.standby else ()),
        *(("+client|kill",) if cluster else ()),
        *(f"~{key}" for key in streams),
        *(
            ("+xadd", "+xtrim", "+xlen", "+xinfo|stream", "+xinfo|groups", "+xrange", "+xrevrange", "+time")
            if streams
            else ()
        ),
        *([_also(instruments, ("+watch", "+hgetall", "+hset"))] if instruments else ()),
        _also([beat], ("+watch", "+hget", "+hgetall", "+hset", "+pexpire", "+del")),
        *([_also([f"~{keys.standby(one.name)}"], ("+hgetall", "+hset", "+pexpire", "+del"))] if one.standby else ()),
        _also([f"%R~{keys.connector('*')}"], ("+hgetall",)),
        _also([f"~{keys.fence('*')}"], ("+watch", "+get", "+set")),
        _also([f"~{keys.catalog()}"], ("+watch", "+hset", "+hmget", "+hkeys", "+hdel")),
        _also([f"~{keys.accounts_catalog()}"], ("+hsetnx", *listed)),
        _also([f"~{keys.rejects(one.exchange)}"], ("+watch", "+xadd")),
        *([_also(limits, _LIMITS), _also(before, _LIMITS_OF_0_1_0)] if settings.share_limits else ()),
    ]


def public_reader(namespace: str) -> Rules:
    """A public reader reads the public catalog and market data. It cannot see whether there are accounts."""
    return [
        f"%R~{_prefix(namespace)}md:{{*",
        *_READ,
        *_READ_HASH,
        _also([f"%R~{Keys(namespace).catalog()}"], (*_READ_HASH, "+hkeys", "+hlen")),
    ]


def account_reader(namespace: str, exchange: str, account: str) -> Rules:
    """An account reader reads one account, its sub-accounts and their wallet hashes."""
    return [*(f"%R~{pattern}" for pattern in _account(namespace, exchange, account)), *_READ, *_READ_HASH]


def books(namespace: str) -> Rules:
    """``consumers.books`` reads all books and writes the late-join hashes."""
    keys = Keys(namespace)
    return [
        *(f"%R~{keys.stream('*', '*', channel)}" for channel in sorted(BOOKS)),
        *_READ,
        _also([f"~{keys.snapshot('*', '*')}"], ("+hset", "+hgetall")),
        _also([f"%R~{keys.catalog()}"], ("+hkeys",)),
    ]


def candles(namespace: str) -> Rules:
    """``consumers.candles`` reads all trades and connectors' heartbeats, and writes the streams of candles."""
    keys = Keys(namespace)
    return [
        f"%R~{keys.stream('*', '*', Channel.TRADES)}",
        *_READ,
        "+time",
        "+multi",
        "+exec",
        _also([f"~{keys.candles('*', '*', '*')}"], ("+xadd", "+xrevrange")),
        _also([f"%R~{keys.connector('*')}"], ("+hmget",)),
        _also([f"~{keys.catalog()}"], ("+hkeys", "+hmget", "+hset")),
        _also([f"~{keys.service('*')}"], ("+set", "+exists", "+del")),
    ]


def nautilus(namespace: str) -> Rules:
    """``consumers.nautilus`` reads all market data, and writes copies for NautilusTrader."""
    keys = Keys(namespace)
    copies = f"{_prefix(namespace)}nautilus:{{*"
    return [
        f"%R~{_prefix(namespace)}md:{{*",
        *_READ,
        "+multi",
        "+exec",
        _also([f"~{copies}"], ("+xadd", "+xrevrange")),
        _also([f"%R~{keys.catalog()}"], ("+hkeys",)),
    ]


def wallets(namespace: str, accounts: Sequence[tuple[str, str]] = ()) -> Rules:
    """``consumers.wallets`` reads the streams of these accounts (exchange and name; none: all) and writes their hashes."""
    keys = Keys(namespace)
    subjects = [(exchange, name) for exchange, account in accounts for name in (account, f"{account}/*")] or [
        ("*", "*")
    ]
    streams = [
        keys.stream(exchange, name, channel) for exchange, name in subjects for channel in sorted(PRIVATE_CHANNELS)
    ]
    return [
        "+multi",
        "+exec",
        *(f"%R~{key}" for key in streams),
        *_READ,
        _also([f"~{keys.wallet(*subject)}" for subject in subjects], ("+hset", "+hdel", "+hget", "+hgetall")),
        _also([f"%R~{keys.accounts_catalog()}"], ("+hkeys",)),
    ]


def web(namespace: str) -> Rules:
    """``consumers.web`` reads all streams, hashes, catalogs, heartbeats and rejects; it writes nothing."""
    prefix, keys = _prefix(namespace), Keys(namespace)
    shown = (keys.catalog(), keys.accounts_catalog(), keys.connector("*"), keys.service("*"), keys.rejects("*"))
    return [
        f"%R~{prefix}md:{{*",
        f"%R~{prefix}acct:{{*",
        *(f"%R~{key}" for key in shown),
        *_READ,
        *_READ_HASH,
    ]


def operator(namespace: str) -> Rules:
    """An operator reads everything and deletes keys, but writes no entry and changes no setting of the server."""
    everything = f"{_prefix(namespace)}*"
    server = ("+info", "+scan", "+dbsize", "+time", "+client|list", "+slowlog|get", "+latency|latest", "+acl|whoami")
    return [
        *server,
        f"%R~{everything}",
        *_READ,
        *_READ_HASH,
        "+hkeys",
        "+hlen",
        "+ttl",
        "+memory|usage",
        "+xinfo|groups",
        "+xinfo|consumers",
        "+xpending",
        _also([f"~{everything}"], ("+del", "+unlink", "+xtrim", "+xgroup|destroy")),
    ]


def _account(namespace: str, exchange: str, account: str) -> list[str]:
    prefix = _prefix(namespace)
    return [f"{prefix}acct:{{{exchange}:{name}}}:*" for name in (account, f"{account}/*")]


def _prefix(namespace: str) -> str:
    return f"{namespace}:" if namespace else ""


def _also(patterns: Iterable[str], commands: Iterable[str]) -> str:
    """A selector: these commands, for these keys only."""
    return f"({' '.join([*patterns, *commands])})"
