"""What Limitlex's protocol leaves open."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["LimitlexConfig"]


class LimitlexConfig(Struct, frozen=True):
    """What the protocol sheet leaves open, as settings, and what a test wants otherwise.

    ``amounts``: what ``order_book.amount`` says, the level's new size or the signed change. ``replay_trades``: trades of
    a pair sent again at connect. ``hello_wallets``: the wallets are sent at connect. ``token_lifetime`` in seconds;
    ``cut_expired``: the socket is closed when its token expires. ``nonce_unit``: of private REST calls.
    """

    amounts: Annotated[
        Literal["absolute", "change"], Meta(description="order_book.amount: a level's new size (default) or the change")
    ] = "absolute"
    replay_trades: Annotated[int, Meta(description="send the last N trades at connect")] = 0
    hello_wallets: Annotated[bool, Meta(description="send the wallets at connect")] = False
    token_lifetime: Annotated[float, Meta(description="seconds")] = 900.0
    cut_expired: Annotated[bool, Meta(description="close a socket when its token expires")] = False
    nonce_unit: Annotated[Literal["ms", "s"], Meta(description="of private calls")] = "ms"
