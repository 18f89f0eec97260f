"""An account's streams, and its wallet as the service keeps it."""

from __future__ import annotations

import asyncio
import contextlib

from bridge.keys import Keys
from bridge.model import Channel
from consumers.reader import Reader
from consumers.wallets import Wallets
from tests.consumers.streams import Stream
from tests.servers import RedisServer

WALLET = Keys().wallet("limitlex", "main")


class Account:
    """The private streams of one account, in the catalog."""

    def __init__(self, client, subject: str = "main", exchange: str = "limitlex") -> None:
        self.client = client
        self.wallet = Keys().wallet(exchange, subject)
        self.streams = {}
        for channel in (Channel.ORDERS, Channel.FILLS, Channel.BALANCES, Channel.POSITIONS):
            stream = self.streams[channel] = Stream(client, channel, subject)
            stream.key = Keys().stream(exchange, subject, channel)
            client.hset("bridge:catalog:accounts", stream.key, "{}")

    def balance(self, currency: str, available: str, reserved: str = "0") -> str:
        fields = {"currency": currency, "available": available, "reserved": reserved}
        return self.streams[Channel.BALANCES].add("balance", **fields)

    def order(self, order_id: str, status: str, filled: str = "0") -> str:
        fields = {"order_id": order_id, "client_id": "", "pair": "BTC-EUR", "kind": "limit", "side": "buy"}
        amounts = {"price": "7994.50", "size": "1.0", "filled": filled, "status": status}
        return self.streams[Channel.ORDERS].add("order", **fields, **amounts)

    def fill(self, size: str = "0.1", pair: str = "BTC-EUR") -> str:
        stream = self.streams[Channel.FILLS]
        fields = {"fill_id": f"f{stream.seq + 1}", "order_id": "o1", "pair": pair, "side": "buy"}
        return stream.add("fill", **fields, price="7994.50", size=size, fee="0.01", fee_currency="EUR")

    def position(self, side: str, size: str, **more: str) -> str:
        fields = {"pair": "BTC-PERP", "side": side, "size": size, "entry_price": "1", "mark_price": "2"}
        return self.streams[Channel.POSITIONS].add("position", **fields, unrealised_pnl="-1", **more)

    def hash(self) -> dict[str, str]:
        return self.client.hgetall(self.wallet)

    def ends(self) -> dict[str, str]:
        """What the hash's cursors are when all is taken."""
        return {f"id:{channel}": stream.id(stream.seq) for channel, stream in self.streams.items() if stream.seq}

    def done(self) -> bool:
        return self.ends().items() <= self.hash().items()


@contextlib.asynccontextmanager
async def keeping(server: RedisServer, account: Account, *names: str, exchange: str | None = None):
    """The service's inside, with the catalog looked at once."""
    async with Reader(server.url, block=0.05) as reader:
        wallets = Wallets(reader, Keys(), list(names), exchange)
        for key in account.client.hkeys("bridge:catalog:accounts"):
            await wallets.found(key, Keys().parse(key))
        following = asyncio.create_task(wallets.follow(), name="follow")
        try:
            yield wallets
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
