"""Tracks balances, positions, open orders and fills of accounts and sub-accounts, each in a Redis hash.

    python -m consumers.wallets                       all accounts of the catalog, including new ones
    python -m consumers.wallets main limitlex:other   these accounts and their sub-accounts
    python -m consumers.wallets main/sub1             only this sub-account

The hash ``acct:{<exchange>:<account>}:wallet`` holds

    balance:<currency>       {"available", "reserved", "ts", "recv"}; all numbers and times in this hash are text
    position:<pair>          {"side", "size", "entry_price", "mark_price", "unrealised_pnl", "ts", "recv"}; deleted when
                             flat; for a leg of a hedged pair: position:<pair>:<leg>
    order:<pair>:<order id>  the fields of the open order, as in the stream; deleted when it is filled, cancelled or
                             rejected; "unconfirmed" is set if the order has not been reported since the stream was
                             last interrupted; if the exchange does not report the pair: order:<order id>
    fills, fill:last         the number of executions, and the fields of the last one
    state:<channel>          the stream's last state: live, down, stale, stop (and the reason); or gap, lost, …
    gaps:<channel>           the number of interruptions: gaps, lost entries, holes, trimmed or undecodable entries
    id:<channel>             the last stream entry that is included in the hash

``id:…`` is written in one transaction with the changes that the entry causes. The service can therefore be killed at
any time: it continues after that entry, and counts no fill twice. Every ten seconds it looks whether Redis still has what
was written, also while nothing happens: a failover may have lost the last changes. Run only one such service per account.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from bridge.keys import Keys, StreamKey
from bridge.model import ControlEvent
from bridge.redis.errors import refuses_key, said
from consumers.items import Item
from consumers.monitor import Monitor
from consumers.notices import Notices
from consumers.reader import Position as Where
from consumers.reader import Reader
from consumers.service import Parser, discover, run_as_command, say, serve, to_terminal
from consumers.wallet import Wallet
from consumers.wallet_lines import as_json, as_known, as_text

__all__ = ["DESCRIPTION", "HTTP_PORT", "Wallet", "Wallets", "add_options", "main", "start"]

HTTP_PORT = 9110
"""Default port of metrics and health checks."""
_LOOK_EVERY = 10.0
"""Seconds between two looks at the hashes."""
DESCRIPTION = "Tracks balances, positions, open orders and fills; keeps each account in a Redis hash."


class Wallets:
    """The wallets of ``accounts``, or of all accounts if none is given.

    ``changed`` is called with each item once it is saved; ``known`` is called when an account is found, with one of its
    streams and the fields that its hash already has.
    """

    def __init__(
        self,
        reader: Reader,
        keys: Keys,
        accounts: list[str] | None = None,
        exchange: str | None = None,
        changed: Callable[[Item], None] = lambda _: None,
        *,
        known: Callable[[StreamKey, dict[str, str]], None] = lambda _, __: None,
    ) -> None:
        self.wallets: dict[tuple[str, str], Wallet] = {}
        self.writes = 0
        """Writes of the hashes."""
        self.refused: dict[tuple[str, str], str] = {}
        """Accounts whose hash Redis refuses, with the error: the key holds something else."""
        self._reader = reader
        self._keys = keys
        self._accounts = set(accounts or ())
        self._exchange = exchange
        self._changed = changed
        self._known = known
        self._writing = asyncio.Lock()

    def interrupted(self) -> list[str]:
        """The channels of accounts that are not live, with their last state."""
        return [
            f"{exchange}:{account} {name.removeprefix('state:')}: {state}"
            for (exchange, account), wallet in sorted(self.wallets.items())
            for name, state in sorted(wallet.fields.items())
            if name.startswith("state:") and state != ControlEvent.LIVE
        ]

    async def found(self, key: str, stream: StreamKey) -> None:
        """Read a stream of the catalog if it belongs to a wanted account, from the position in its hash.

        Raises:
            ValueError: the hash's key holds something else, or the position is none.
        """
        account = stream.subject.partition("/")[0]
        names = {name for subject in (stream.subject, account) for name in (subject, f"{stream.exchange}:{subject}")}
        wanted = (not self._accounts or names & self._accounts) and self._exchange in (None, stream.exchange)
        if stream.public or not wanted or key in self._reader.streams:
            return
        wallet = self.wallets.get((stream.exchange, stream.subject))
        if wallet is None:
            wallet_key = self._keys.wallet(stream.exchange, stream.subject)
            try:
                fields: Any = await self._reader.redis.hgetall(wallet_key)
            except ResponseError as error:
                if not refuses_key(error):
                    raise
                raise ValueError(f"{wallet_key}: {said(error)}") from None
            wallet = self.wallets[stream.exchange, stream.subject] = Wallet(wallet_key, fields)
            self._known(stream, fields)
        # From the hash itself, which may have been repaired since the wallet was read.
        stands: Any = await self._reader.redis.hget(wallet.key, f"id:{stream.channel}")
        await self._reader.add(key, stands or Where.START)

    async def follow(self) -> None:
        """Keep the wallets up to date, endlessly."""
        outages = self._reader.outages
        async for batch in self._reader.batches():
            touched = {self._take(item) for item in batch}
            if self._reader.outages != outages:
                outages = self._reader.outages
                touched = set(self.wallets)
                for wallet in self.wallets.values():
                    wallet.rewrite()
            for name in touched | self.refused.keys():
                await self._save(name)
            for item in batch:
                self._changed(item)

    async def keep(self, every: float = _LOOK_EVERY) -> None:
        """Look at the hashes every so many seconds, endlessly, and write again what one has lost.

        After a failover one may lack what was written last, or be written to a master that is none any more, and an account
        may be quiet for long.
        """
        while True:
            await asyncio.sleep(every)
            for name, wallet in list(self.wallets.items()):
                try:
                    kept = await self._reader.outlive(partial(self._is_kept, wallet))
                except ResponseError as error:
                    if not refuses_key(error):
                        raise
                    continue  # `refused` says so
                if not kept:
                    wallet.rewrite()
                    await self._save(name)

    async def _is_kept(self, wallet: Wallet) -> bool:
        async with self._writing:
            return await wallet.is_kept(self._reader.redis)

    async def _save(self, name: tuple[str, str]) -> None:
        wallet = self.wallets[name]
        async with self._writing:
            try:
                await self._reader.outlive(partial(wallet.save, self._reader.redis))
            except ResponseError as error:
                if not refuses_key(error):
                    raise
                self.refused[name] = f"{wallet.key}: {error}"
                wallet.rewrite()  # completely, once the key can be written again
            else:
                self.refused.pop(name, None)
                self.writes += 1

    def missing(self, streams: Mapping[str, StreamKey]) -> tuple[set[str], set[str]]:
        """The wanted accounts that are not in the catalog, and the accounts that are."""
        private = [stream for stream in streams.values() if not stream.public]
        there = {f"{one.exchange}:{one.subject}" for one in private if self._exchange in (None, one.exchange)}
        named = there | {name.partition("/")[0] for name in there}
        named |= {name.partition(":")[2] for name in named}
        return ({""} if not self._accounts and not there else self._accounts - named), there

    def _take(self, item: Item) -> tuple[str, str]:
        name = (item.stream.exchange, item.stream.subject)
        self.wallets[name].take(item)
        return name


async def run(args: Namespace) -> None:
    """Run the service until it is cancelled."""
    keys = Keys(args.namespace)
    text = as_json if args.json or not to_terminal() else as_text
    async with Reader(args.redis, namespace=args.namespace) as reader:
        changed: Callable[[Item], None] = (lambda _: None) if args.quiet else (lambda item: say(text(item)))

        def known(stream: StreamKey, fields: dict[str, str]) -> None:
            for line in () if args.quiet else as_known(stream, fields, as_json=text is as_json):
                say(line)

        notices = Notices("wallets")
        wallets = Wallets(reader, keys, args.accounts, args.exchange, changed, known=known)
        async with asyncio.TaskGroup() as group:
            group.create_task(wallets.follow(), name="read")
            group.create_task(wallets.keep(), name="keep")
            private = (keys.accounts_catalog(),)
            found = discover(
                reader.redis,
                keys,
                wallets.found,
                names=private,
                notices=notices,
                writer="connector with an account",
                missing=wallets.missing,
            )
            group.create_task(found, name="catalog")
            monitor = Monitor(
                "wallets",
                reader,
                args.redis,
                lambda: wallets.writes,
                lambda: next(iter([*wallets.refused.values(), *notices.problems()]), ""),
                degraded=wallets.interrupted,
            )
            group.create_task(monitor.run(args.http), name="http")


def add_options(parser: Parser) -> None:
    """Add the options of this service."""
    parser.add_argument("accounts", nargs="*", metavar="ACCOUNT", help="main, main/sub1, limitlex:main (default: all)")
    parser.add_argument("--quiet", action="store_true", help="print nothing; the hashes are still kept")


def start(_: Parser, args: Namespace) -> int:
    """Run with these arguments; returns the exit code."""
    return serve("wallets", lambda: run(args))


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = Parser("wallets", DESCRIPTION, http_port=HTTP_PORT)
    add_options(parser)
    return start(parser, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(run_as_command("wallets", main))
