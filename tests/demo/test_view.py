from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import msgspec
import pytest
from rich.console import Console

from bridge.demo.rates import Rate
from bridge.demo.view.frame import (
    BookFrame,
    Frame,
    OrderFrame,
    PositionFrame,
    ProcessFrame,
    VenueFrame,
    WalletFrame,
)
from bridge.demo.view.screen import save_picture, screen
from bridge.demo.watch import Lag
from bridge.model import Trade
from bridge.view.style import bar, column, spark


def make_book(
    pair: str, valid: bool = True, levels: int = 20, exchange: str = "limitlex", flowing: bool = True
) -> BookFrame:
    bids = [(f"{58000 - step}.00", f"0.0{step + 1}") for step in range(levels)]
    asks = [(f"{58001 + step}.50", f"0.0{step + 1}") for step in range(levels)]
    trades = [
        Trade(pair, 0, 0, "", "buy" if step % 2 else "sell", f"{58000 + step}.50", "0.00120000") for step in range(30)
    ]
    reason = "" if valid else "gap: a frame could not be understood"
    return BookFrame(exchange, pair, valid, reason, bids if valid else [], asks if valid else [], trades, flowing)


def make_frame(**changes) -> Frame:
    fields = {
        "venues": [VenueFrame("limitlex", "live")],
        "elapsed": 65.0,
        "duration": None,
        "books": [make_book("BTC-EUR"), make_book("ETH-EUR")],
        "pairs": 3,
        "wallets": [
            WalletFrame("limitlex", "main", {"BTC": ("0.90000000", "0"), "EUR": ("49512.58", "0")}, 2, 7),
            WalletFrame("limitlex", "main/savings", {"BTC": ("0.1", "0")}, 0, 0),
        ],
        "positions": [],
        "orders": [OrderFrame("limitlex", "main", "BTC-EUR", "buy", "57990.00", "0.5", "0.25")],
        "processes": [
            ProcessFrame(name, 12345, "") for name in ("redis", "simulator", "connector", "books", "wallets")
        ],
        "rates": (201.0, 200.0, 199.0),
        "totals": {"received": 4321, "lost": 0, "gaps": 1, "holes": 0, "read": 4300},
        "lag": Lag(0.8, 2.5),
        "publish_lag": Lag(None, None),
        "history": [200] * 60,
        "notices": [(63.0, "fault: the connection of BTC-EUR is cut")],
        "config": "run/demo.yaml",
        "page": "http://127.0.0.1:54321/",
    }
    return Frame(**{**fields, **changes})


def draw(frame: Frame, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(screen(frame, width, height), height=height)
    return console.file.getvalue().splitlines()


def test_until_something_happens_it_says_where_a_browser_shows_the_same():
    assert "in a browser: http://127.0.0.1:54321/" in "\n".join(draw(make_frame(notices=[]), 80, 24))
    assert "in a browser" not in "\n".join(draw(make_frame(), 80, 24))


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (104, 32), (160, 50), (240, 80)])
@pytest.mark.parametrize("pairs", [1, 2])
def test_it_fits_and_shows_everything(size, pairs):
    frame = make_frame(books=[make_book("BTC-EUR"), make_book("ETH-EUR")][:pairs])
    lines = draw(frame, *size)
    text = "\n".join(lines)
    assert len(lines) == size[1]
    assert max(map(len, lines)) <= size[0]
    for words in ("BTC-EUR ● valid", "connector live", "58000.00", "58001.50", "spread 1.50", "BTC-EUR trades",
                  "wallets available", "main", "└ savings", "lost 0", "gaps 1", "holes 0", "0.80/2.50 ms",
                  "connector 12345", "q quit"):  # fmt: skip
        assert words in text, words
    assert ("ETH-EUR ● valid" in text) == (pairs == 2)


def test_80x24_shows_notices_all_currencies_and_whole_sizes():
    held = {"BTC": ("0.9", "0"), "ETH": ("20.3", "0"), "EUR": ("49512.58", "0"), "LTC": ("588.2", "0")}
    accounts = ("main", "main/savings", "main/bot")
    frame = make_frame(wallets=[WalletFrame("limitlex", name, held, 2, 7) for name in accounts])
    lines = draw(frame, 80, 24)
    assert " 01:03 fault: the connection of BTC-EUR is cut" in lines[-2]
    heading = next(line for line in lines if "open │" in line)
    assert [name for name in ("BTC", "ETH", "EUR", "LTC") if name in heading] == ["BTC", "ETH", "EUR", "LTC"]
    rows = [line for line in lines if "49,512.6" in line or "49,512.58" in line]
    assert len(rows) == len(accounts)
    assert all("0.00120 │" in row for row in rows)
    assert "tab next pair  ? help  q quit" in lines[-1]


def test_currencies_that_do_not_fit_are_counted():
    held = {f"C{number:02}": ("1", "0") for number in range(12)}
    text = "\n".join(draw(make_frame(wallets=[WalletFrame("limitlex", "main", held, 2, 7)]), 80, 24))
    assert re.search(r"available, (\d+) more in a wider window", text)[1] == str(12 - len(re.findall(r"C\d\d", text)))


def test_prices_are_aligned_at_the_point():
    book = msgspec.structs.replace(
        make_book("BTC-EUR"),
        bids=[("9.5", "1"), ("9", "1"), ("8.125", "1")],
        asks=[("10", "1"), ("10.25", "1"), ("100.5", "1")],
        trades=[Trade("BTC-EUR", 0, 0, "", "buy", price, "1") for price in ("10", "9.75", "10.125")],
    )
    orders = [OrderFrame("limitlex", "main", "", "buy", price, "1", "0") for price in ("9", "8.25", "7.5")]
    lines = draw(make_frame(books=[book], orders=orders), 120, 40)
    for prices in (("9.5", "9 ", "8.125", "10 ", "10.25", "100.5"), ("9 ", "8.25", "7.5")):
        columns = set()
        for price in prices:
            whole = price.partition(".")[0].strip()
            found = [
                match.start() + len(whole)
                for line in lines
                for match in re.finditer(rf"(?<=[ ]){re.escape(price)}", line)
            ]
            columns = columns & set(found) if columns else set(found)
        assert columns, prices
    trades = [line for line in lines if line.startswith("│ ▲")]
    assert [line[:12] for line in trades] == ["│ ▲ 10      ", "│ ▲  9.75   ", "│ ▲ 10.125  "]


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (200, 60)])
def test_help_explains_keys_colours_and_figures(size):
    console = Console(width=size[0], height=size[1], file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(screen(make_frame(), *size, helping=True), height=size[1])
    lines = console.file.getvalue().splitlines()
    assert (max(map(len, lines)), len(lines)) == size
    text = "\n".join(lines)
    for words in ("shift-tab  ←  ↑", "Ctrl-Z", "colours", "bid ask"):
        assert words in text
    if size[1] >= 24:
        assert "…" not in text
        for words in ("holes", "lost", "gaps", "spread, bp", "available, open", "not valid"):
            assert words in text


@pytest.mark.parametrize("size", [(59, 24), (80, 15), (40, 10), (20, 4), (1, 1)])
def test_a_small_window_shows_what_it_can(size):
    for frame in (make_frame(), make_two(), make_frame(books=[make_book("BTC-EUR", valid=False)], notices=[])):
        lines = draw(frame, *size)
        assert len(lines) <= size[1]
        assert max(map(len, lines)) <= size[0]
        if size[0] >= 40 and size[1] > 2:
            assert "BTC-EUR" in "\n".join(lines)


def test_the_best_prices_stand_next_to_the_spread():
    lines = draw(make_frame(), 100, 30)
    row = next(index for index, line in enumerate(lines) if "spread" in line)
    assert "58001.50" in lines[row - 1]
    assert "58000.00" in lines[row + 1]


def test_an_invalid_book_shows_why_and_no_prices():
    frame = make_frame(books=[make_book("BTC-EUR", valid=False)])
    text = "\n".join(draw(frame, 100, 30))
    assert "BTC-EUR ● invalid" in text
    assert "gap: a frame could not be understood" in text
    assert "spread" not in text


def test_a_dead_connector_is_seen():
    processes = [ProcessFrame("redis", 1, ""), ProcessFrame("connector", 2, "was killed by SIGKILL")]
    venues = [VenueFrame("limitlex", "away")]
    books = [make_book("BTC-EUR", flowing=False)]
    text = "\n".join(draw(make_frame(venues=venues, books=books, processes=processes), 100, 30))
    assert "connector was killed by SIGKILL" in text
    assert "connector live" not in text
    assert "BTC-EUR ● as it last was" in text


def make_two() -> Frame:
    """Two exchanges, one of them with futures."""
    return make_frame(
        venues=[VenueFrame("limitlex", "live"), VenueFrame("lmex", "degraded")],
        books=[make_book("BTC-EUR"), make_book("BTC-PERP", exchange="lmex")],
        wallets=[
            WalletFrame("limitlex", "main", {"BTC": ("0.9", "0"), "EUR": ("49512.58", "0")}, 2, 7),
            WalletFrame("limitlex", "main/savings", {"BTC": ("0.1", "0")}, 0, 0),
            WalletFrame("lmex", "main", {"BTC": ("0.8", "0"), "USD": ("1234.5", "0")}, 1, 0),
            WalletFrame("lmex", "main/futures", {"USDT": ("54321", "0")}, 0, 0),
        ],
        positions=[PositionFrame("lmex", "ETH-PERP", "short", "0.0267", "2608.58", "-1.5")],
        orders=[
            OrderFrame("limitlex", "main/savings", "", "sell", "58001.00", "0.1", "0"),
            OrderFrame("lmex", "main", "BTC-PERP", "buy", "57990.0", "0.5", "0.25"),
        ],
    )


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (240, 80)])
def test_with_two_exchanges_every_row_says_which(size):
    lines = draw(make_two(), *size)
    text = "\n".join(lines)
    assert len(lines) == size[1]
    assert max(map(len, lines)) <= size[0]
    for words in ("limitlex ● live", "lmex ● degraded", "limitlex BTC-EUR ● valid", "lmex BTC-PERP ● valid"):
        assert words in text
    first = next(row for row, line in enumerate(lines) if "wallets available" in line)
    held = [line.rpartition("││")[2] for line in lines[first + 1 : first + 6]]
    assert [name in row for name, row in zip(("BTC", "limitlex", "└ savings", "lmex", "└ futures"), held, strict=True)]
    assert "54,321" in held[4]


def test_positions_and_orders_show_as_much_as_fits():
    text = "\n".join(draw(make_two(), 120, 40))
    assert "short  0.02670 ETH-PERP  -1.50 at 2,608.58 lmex" in text
    assert "sell  0.10000 at  58001.00   0% limitlex savings" in text
    assert "buy   0.50000 at  57990.0   50% lmex BTC-PERP" in text
    narrow = "\n".join(draw(make_two(), 60, 36))
    assert "ETH-PERP  -1.50 " in narrow
    assert "at 2,608.58" not in narrow


def test_one_side_may_be_empty_and_nothing_may_have_come_yet():
    bare = msgspec.structs.replace(make_book("BTC-EUR"), bids=[("1.00", "2")], asks=[], trades=[])
    nothing = make_frame(books=[bare], wallets=[], orders=[], notices=[], history=[], lag=Lag(None, None))
    assert "one side is empty" in "\n".join(draw(nothing, 80, 24))


def test_the_picture_is_an_svg_that_loads_nothing(tmp_path):
    file = tmp_path / "demo.svg"
    save_picture(make_frame(), file)
    text = file.read_text()
    assert ET.fromstring(text).tag.endswith("svg")
    assert "BTC-EUR" in text
    assert "url(&quot;http" not in text
    assert 'url("http' not in text


def test_a_bar_has_two_tones():
    text = bar(0.25, 0.5, 8, "green", "blue")
    assert text.plain == "████"
    assert [span.style for span in text.spans] == ["green on green", "green on green", "blue on blue", "blue on blue"]
    assert bar(0.0, 0.0, 8, "green", "blue").plain == ""
    assert bar(1.0, 1.0, 8, "green", "blue").plain == "█" * 8
    assert bar(0.01, 0.01, 8, "green", "blue").plain == "▏"


def test_numbers_of_a_column_have_as_many_decimals_as_fit():
    assert column(["0.12345678", "1"], 9) == ["0.12346", "1.00000"]
    assert column(["49512.58000", "1"], 9) == ["49,512.58", "1.00"]
    assert column(["49512.58000", "1"], 6) == ["49,513", "1"]
    assert column([], 6) == []
    assert column(["123456789"], 6) == ["1.23e+8"]


def test_a_sparkline_spans_from_nothing_to_the_most():
    assert spark([0, 7, 14]) == "▁▅█"
    assert spark([0, 0]) == "▁▁"
    assert spark([]) == ""


def test_a_rate_counts_whole_seconds():
    now = [100.0]
    rate = Rate(lambda: now[0])
    for second in range(5):
        now[0] = 100.5 + second
        rate.add(10 * (second + 1))
    assert rate.per_second() == pytest.approx((20 + 30 + 40) / 3)
    assert rate.history(3) == [20, 30, 40]
    now[0] = 120.0
    assert rate.per_second() == 0
