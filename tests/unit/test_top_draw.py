"""The pictures of ``tickbridge top``: every page fits every window."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import msgspec
import pytest
from rich.console import Console

from bridge.keys import Keys
from bridge.model import Channel, Trade
from bridge.overview.rows import ConnectorRow, StreamRow, Tail
from bridge.top.draw import draw, room_of
from bridge.top.follow import Happening, newest_first, newest_words
from bridge.top.frame import AccountFrame, StreamLine, TopFrame
from bridge.top.state import SORTS, Page
from bridge.view.books import BookFrame

NOW = 1_786_309_548_000
HEARTBEAT = {
    "state": "live", "connections": "2", "connections_up": "1", "received": "123456789", "lost": "17", "gaps": "3",
    "waiting": "0", "publish_p50_ms": "0.84", "started": str((NOW - 7_200_000) * 1_000_000),
}  # fmt: skip
WALLET = {
    "balance:EUR": json.dumps({"available": "100.5", "reserved": "5"}),
    "position:BTC-PERP": json.dumps({"side": "short", "size": "3", "entry_price": "7000", "unrealised_pnl": "1.5"}),
    "order:BTC-EUR:1": json.dumps({"side": "buy", "size": "0", "filled": "1e999999", "pair": "BTC-EUR", "price": ""}),
    "order:BTC-EUR:2": json.dumps({"side": "sell", "size": "4", "filled": "1", "pair": "BTC-EUR", "price": "9"}),
    "order:BTC-EUR:3": "[1]",
}


def line(subject: str, channel: Channel, state: str = "live", tail: Tail | None = None) -> StreamLine:
    key = Keys().stream("limitlex", subject, channel)
    stream = Keys().parse(key)
    assert stream
    return StreamLine(StreamRow(key, stream, state, "one", {}), tail, 1.5)


def frame(page: Page = Page.STREAMS, **changes: object) -> TopFrame:
    tails = (Tail(f"{NOW}-7", NOW, 7, 12.5), None, Tail(), Tail(trouble="its key is not a stream"))
    lines = [line(f"C{number:02}-EUR", Channel.TRADES, tail=tails[number % 4]) for number in range(8)]
    levels = [("8000.5", "1.25"), ("7999", "3")]
    trades = [Trade("BTC-EUR", None, 1, "", "buy", "8000.5", ""), Trade("BTC-EUR", None, 1, "", "sell", "7999", "2")]
    found = TopFrame(
        title="tickbridge top",
        address="redis://127.0.0.1:6379/0",
        page=page,
        now=NOW,
        trouble="",
        notes=[],
        notice="",
        news=False,
        total=500,
        live=499,
        chosen=500,
        first=20,
        connectors=[ConnectorRow("one", "limitlex", HEARTBEAT), ConnectorRow("two", "lmex", {})],
        rates={"one": 1204.0},
        lines=lines,
        selected=lines[1].row.key,
        sort=SORTS[0],
        reverse=False,
        filter="",
        not_live=False,
        typing=False,
        helping=False,
        offset=0,
        empty="nothing yet",
        happenings=[Happening(NOW, "limitlex", "BTC-EUR", "book", "gap", "\x1b[31mred " + "long " * 100)],
        followed=30,
        newest={"trades": "side buy  price 1"},
        books=[BookFrame("limitlex", "BTC-EUR", valid=True, reason="", bids=levels, asks=levels, trades=trades)],
        account=AccountFrame("limitlex", "main", WALLET, ["orders    buy 1"]),
    )
    return msgspec.structs.replace(found, **changes)


def shown(picture: TopFrame, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(draw(picture, width, height), height=height)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("size", [(40, 8), (60, 15), (60, 16), (80, 24), (100, 30), (200, 60)])
@pytest.mark.parametrize("page", Page)
def test_every_page_fits(page, size):
    for picture in (
        frame(page),
        frame(page, helping=True),
        frame(page, lines=[], books=[], happenings=[], connectors=[], account=None, trouble="Redis: away " * 20),
        frame(page, typing=True, filter="x" * 60, account=AccountFrame("limitlex", "main/" + "sub" * 30, {}, [])),
    ):
        lines = shown(picture, *size)
        assert max(map(len, lines)) <= size[0]
        assert len(lines) == size[1]
        assert "\x1b[31m" not in "\n".join(lines)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 1), (39, 24), (80, 7), (12, 3)])
def test_a_tiny_window_gets_what_fits(size):
    lines = shown(frame(), *size)
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]


def test_a_list_has_the_room_that_is_drawn():
    """What the keys scroll by is what is seen."""
    for height in range(8, 60):
        for connectors in (0, 1, 3, 9):
            rows = [ConnectorRow(f"c{number}", "limitlex", HEARTBEAT) for number in range(connectors)]
            room = room_of(Page.STREAMS, height, connectors)
            lines = [line(f"C{number:02}-EUR", Channel.TRADES, tail=Tail()) for number in range(room)]
            text = "\n".join(shown(frame(lines=lines, connectors=rows), 120, height))
            assert text.count("-EUR") == room, (height, connectors)
        happenings = [Happening(NOW, "a", "b", "c", "gap", "words")] * 100
        text = "\n".join(shown(frame(Page.LOG, happenings=happenings), 120, height))
        assert text.count("words") == room_of(Page.LOG, height, 1)


def test_columns_that_do_not_fit_are_left_out_where_they_matter_least():
    wide, narrow = ("\n".join(shown(frame(), width, 24)) for width in (120, 80))
    for words in ("exchange state", "received", "waiting", "uptime"):
        assert words in wide
    for words in ("connector", "up", "out/s", "lost", "gaps", "p50 ms"):
        assert words in narrow


@pytest.mark.parametrize(("bid", "ask"), [("-1.5", "1.5"), ("0", "0"), ("-3", "-1"), ("-1", "2")])
def test_prices_of_a_spread_may_be_zero_or_negative(bid, ask):
    book = BookFrame("limitlex", "BTC-EUR", valid=True, reason="", bids=[(bid, "1")], asks=[(ask, "2")], trades=[])
    text = "\n".join(shown(frame(Page.PAIR, books=[book]), 100, 30))
    assert f"spread {Decimal(ask) - Decimal(bid)} ─" in text
    assert " bp " not in text


def test_what_happened_is_in_order_and_events_are_short():
    first, second = Happening(1, "a", "b", "c", "gap", ""), Happening(2, "a", "b", "c", "live", "")
    assert newest_first([first], [second]) == [second, first]
    assert newest_words(Trade("BTC-EUR", None, 1, "t1", "buy", "8", "")) == "side buy  price 8"


def test_a_new_notice_comes_before_the_keys_where_there_is_no_room_for_both():
    notice = "the connector was killed; it is started again"
    for width, news, shows_notice, shows_keys in [
        (80, True, True, False),
        (80, False, False, True),
        (200, True, True, True),
        (200, False, True, True),
    ]:
        footer = shown(frame(notice=notice, news=news), width, 24)[-1]
        assert (notice in footer, "quit" in footer) == (shows_notice, shows_keys)
