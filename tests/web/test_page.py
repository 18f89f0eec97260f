"""The page of the gateway: it is built from its sources, and shows in a browser what the streams have."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import redis

from bridge.model import BOOKS, DATA_EVENTS
from tests.e2e.harness import eventually
from tests.e2e.observing import settled
from tests.web.browser import WEB, node, skip_without_packages
from tests.web.conftest import TOKEN, Desk

STATIC = WEB.parent / "consumers" / "web" / "static"
PAIR = "#/pair/limitlex/BTC-EUR?span=5m"
BOOK = "md:{limitlex:BTC-EUR}:book"
STREAMS = 500
FRAMES = 150


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_page_knows_the_entries_of_the_model():
    known = json.loads((WEB / "src" / "model" / "entry-types.json").read_text())
    expected = {
        kind.__struct_config__.tag: {
            "channels": sorted(BOOKS) if kind.channel in BOOKS else [kind.channel],
            "fields": list(kind.WIRE),
        }
        for kind in DATA_EVENTS
    }
    assert known == expected


def test_the_lock_file_names_no_host():
    locked = json.loads((WEB / "package-lock.json").read_text())
    assert len(locked["packages"]) > 10
    assert not [name for name, package in locked["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in locked["packages"].items() if name)


def test_the_committed_bundle_is_that_of_the_sources(tmp_path):
    skip_without_packages()
    built = tmp_path / "static"
    done = node("npx", "--no-install", "vite", "build", "--outDir", str(built))
    assert done.returncode == 0, done.stdout
    assert content(built) == content(STATIC), "npm run build in web/ rebuilds the bundle"


def test_the_page_has_no_inline_script_or_style():
    page = (STATIC / "index.html").read_text()
    assert "<style" not in page
    assert " style=" not in page
    assert not re.search(r"\son\w+=", page)
    assert page.count("<script") == page.count("<script type=") == page.count("src=")


def test_the_licences_of_what_is_in_the_bundle_are_served_with_it():
    skip_without_packages()
    served = (STATIC / "licenses.txt").read_text()
    names = json.loads((WEB / "package.json").read_text())["dependencies"]
    assert names
    for name in names:
        assert (WEB / "node_modules" / name / "LICENSE").read_text() in served, name


def test_types():
    skip_without_packages()
    done = node("npx", "--no-install", "tsc", "--noEmit")
    assert done.returncode == 0, done.stdout


def test_units():
    skip_without_packages()
    done = node("npx", "--no-install", "vitest", "run")
    assert done.returncode == 0, done.stdout


def test_streams_and_connectors(desk: Desk):
    desk.exchange()
    desk.gateway()
    desk.show()
    desk.sees(".rows tbody", "BTC-EUR book", "live")
    [total] = desk.sees(".connector .sum", "received", "published", "lost")
    assert "=" in total
    assert desk.browser.do("count", selector=".rows .spark polygon") > 1
    # Filter by the keyboard, look at what is not live, sort, open with Enter.
    desk.browser.do("press", keys=["/"])
    desk.browser.do("fill", selector="input[type=search]", text="eth trades")
    eventually(lambda: len(desk.browser.texts(".rows tbody tr")) == 1, "one stream")
    assert "filter=eth" in desk.browser.do("address")
    desk.browser.do("press", keys=["Escape", "j", "Enter"])
    desk.sees(".pair-head", "ETH-EUR")
    desk.browser.do("press", keys=["g", "s"])
    desk.sees(".rows tbody", "BTC-EUR")
    desk.browser.do("press", keys=["n"])
    desk.sees(".table-box", "No stream matches.")
    desk.browser.do("press", keys=["?"])
    desk.sees("dialog[open]", "Keys")
    desk.clean()


def test_a_pair_its_book_and_a_gap_on_the_band(desk: Desk):
    simulated = desk.exchange(rate=200)
    desk.gateway()
    desk.show(PAIR)
    desk.sees(".tape tbody", ".")
    desk.sees(".ladder .bids .price", ".")
    eventually(lambda: all(desk.browser.do("drawn", selector=".chart canvas")), "candles and depth drawn")
    # A gap: the mark has its reason.
    simulated.fault("corrupt", pair="BTC-EUR", type="order_book")
    eventually(
        lambda: any("a frame could not be understood" in title for title in desk.browser.titles(".mark.gap")),
        "the gap on the band",
    )
    # An outage: the book is grey with its reason, the band is red.
    simulated.fault("refuse", duration=0)
    simulated.fault("cut", pair="BTC-EUR")
    desk.sees(".ladder-panel.invalid .invalid-note", "Book invalid", "down")
    assert any("down" in title for title in eventually(lambda: desk.browser.titles(".span.down"), "a red span"))
    simulated.fault("clear")
    eventually(lambda: not desk.browser.texts(".ladder-panel.invalid"), "the book is valid again")
    # The ladder is the exchange's own book, best first.
    settled(desk.client, simulated)
    bids, asks = simulated.book("BTC-EUR")

    def shown() -> bool:
        levels = [
            [Decimal(text) for text in desk.browser.texts(f".{side} .price") if text.strip()]
            for side in ("bids", "asks")
        ]
        best = [sorted(bids, reverse=True)[: len(levels[0])], sorted(asks)[: len(levels[1])][::-1]]
        return levels == best and all(levels)

    eventually(shown, "the ladder has the exchange's prices")
    desk.clean()


def test_faults_and_the_books_of_both_sides(desk: Desk):
    simulated = desk.exchange(rate=100)
    desk.gateway("--simulator", f"limitlex={simulated.control}")
    desk.show()
    desk.sees("nav", "Faults")
    desk.browser.do("press", keys=["g", "f"])
    desk.sees(".levers", "Inject")
    desk.browser.do("click", selector="button:has-text('Pause the market')")
    desk.sees(".panel", "Both books are equal", "the market is paused")
    assert len(desk.browser.texts(".books .bids tr")) > 2
    # A socket that says nothing any more: the books differ, level by level.
    desk.browser.do("choose", selector="select[name=fault]", value="mute")
    desk.browser.do("fill", selector="input[name=duration]", text="600")
    desk.browser.do("click", selector="button:has-text('Inject')")
    desk.sees(".panel", "active: mute")
    desk.browser.do("click", selector="button:has-text('Resume the market')")
    eventually(lambda: desk.browser.do("count", selector=".books .differs"), "levels that differ")
    desk.browser.do("click", selector="button:has-text('End all faults')")
    desk.sees(".panel", "no fault is active")
    desk.browser.do("choose", selector="select[name=fault]", value="cut")
    desk.browser.do("click", selector="button:has-text('Inject')")
    desk.sees(".panel", "done: fault cut")
    desk.clean()


def test_without_a_simulator_there_are_no_faults(desk: Desk):
    desk.gateway()
    desk.show("#/faults")
    desk.sees(".page", "No exchange here is simulated")
    desk.show("#/streams")
    desk.sees("nav", "Rejects")
    assert "Faults" not in " ".join(desk.browser.texts("nav"))
    desk.clean()


def test_an_account_only_with_its_token(desk: Desk):
    desk.exchange("--activity", "0.2", rate=200)
    desk.gateway(tokens=True)
    desk.show("#/account")
    desk.sees(".token-box", "token")
    assert not desk.browser.texts(".account-grid")
    desk.browser.do("fill", selector=".token-box input", text=TOKEN)
    desk.browser.do("press", keys=["Enter"])
    desk.sees(".account-grid", "EUR", "BTC")
    desk.sees(".account-grid", "Fills")
    eventually(lambda: len(desk.browser.texts(".account-grid .wide-panel tbody tr")) > 2, "orders and fills")
    seen = desk.browser.do("seen")
    assert not [url for url in [*seen["requests"], desk.browser.do("address")] if TOKEN in url]
    # Before the token was there, the gateway said 401: that is all the browser has to complain about.
    assert all("401" in problem for problem in seen["problems"])


def test_entries_and_rejects(desk: Desk):
    simulated = desk.exchange()
    desk.gateway(tokens=True)
    simulated.fault("corrupt", pair="BTC-EUR", type="order_book")
    control = eventually(
        lambda: [ident for ident, fields in desk.client.xrange(BOOK) if fields.get("event") == "gap"], "a gap"
    )[0]
    desk.show("#/account")
    desk.sees(".token-box", "token")
    desk.browser.do("fill", selector=".token-box input", text=TOKEN)
    desk.browser.do("press", keys=["Enter"])
    desk.sees(".account", "EUR")
    desk.browser.do("go", hash=f"#/entries?key={BOOK}&at={control}")
    desk.sees(".detail", control, "a frame could not be understood", "Raw")
    before = desk.browser.texts("tr.chosen")
    desk.browser.do("press", keys=["j"])
    eventually(lambda: desk.browser.texts("tr.chosen") != before, "the next entry")
    desk.browser.do("go", hash="#/rejects/limitlex")
    desk.sees(".reject", "limitlex")


def test_the_gateway_goes_and_comes_back(desk: Desk):
    desk.exchange()
    gateway = desk.gateway()
    desk.show(PAIR)
    desk.sees(".ladder .bids .price", ".")
    gateway.kill()
    desk.sees(".banner", "The gateway has not answered")
    desk.sees(".ladder-panel.invalid .invalid-note", "no connection")
    desk.gateway()
    eventually(lambda: not desk.browser.texts(".banner"), "the banner goes")
    eventually(lambda: not desk.browser.texts(".ladder-panel.invalid"), "the book is valid again")


def test_redis_goes_and_comes_back(own_desk: Desk):
    own_desk.exchange()
    own_desk.gateway()
    own_desk.show(PAIR)
    own_desk.sees(".ladder .bids .price", ".")
    own_desk.server.kill()
    own_desk.sees(".banner", "cannot read Redis")
    own_desk.server.start()
    eventually(lambda: not own_desk.browser.texts(".banner"), "the banner goes")
    before = own_desk.sees(".ladder-panel header .muted", "seq")
    eventually(lambda: own_desk.browser.texts(".ladder-panel header .muted") != before, "the book goes on")
    assert own_desk.browser.do("seen")["problems"] == []


def test_a_telephone_needs_no_sideways_scrolling(desk: Desk):
    desk.exchange()
    desk.gateway()
    pages = {
        "#/streams": (".rows tbody", "BTC-EUR"),
        PAIR: (".ladder .bids .price", "."),
        "#/account": (".token-box", "token"),
        f"#/entries?key={BOOK}": (".entries-list", "delta"),
        "#/rejects/limitlex": (".panel", "Frames"),
    }
    for page, (selector, words) in pages.items():
        desk.show(page, width=360, height=740, dark=False)
        desk.sees(selector, words)
        wide, window = desk.browser.do("widths")
        assert wide <= window, page
        assert desk.browser.do("theme") == "light"
        desk.browser.do("press", keys=["t"])
        assert desk.browser.do("theme") == "dark"


def test_five_hundred_streams(desk: Desk, record_property: Callable[[str, object], None]):
    """Only the rows in view are in the document; how long frames take meanwhile is measured, and reported."""
    with many_streams(desk.client):
        desk.gateway()
        desk.show()
        desk.sees(".streams", f"{STREAMS} of {STREAMS}")
        measured = desk.browser.do("frames", selector=".table-box", count=FRAMES)
        rows = desk.browser.texts(".rows tbody tr")
        assert 10 < len(rows) < 100
        times = sorted(measured["times"])
        figures = {
            "median_ms": times[FRAMES // 2],
            "p99_ms": times[FRAMES * 99 // 100],
            "cpu_ms": measured["busy"]["task"],
        }
        record_property("frame_times", figures)
        print(figures)  # noqa: T201
        assert len(times) == FRAMES
    desk.clean()


@contextlib.contextmanager
def many_streams(client: redis.Redis) -> Iterator[None]:
    """Streams of trades in the catalog, and a thread that writes a thousand entries a second to them."""
    keys = [f"md:{{many:P{number}-EUR}}:trades" for number in range(STREAMS)]
    entry = {"type": "trade", "ts": "", "recv": "1", "id": "", "side": "buy", "price": "1", "size": "1"}
    row = {"exchange": "many", "channel": "trades", "schema": "2", "connector": "many", "state": "live", "units": ""}
    for number, key in enumerate(keys):
        client.hset("bridge:catalog", key, json.dumps(row | {"pair": f"P{number}-EUR"}))
    client.hset("bridge:connector:many", mapping={"name": "many", "exchange": "many", "state": "live"})
    over = threading.Event()

    def write() -> None:
        counts = dict.fromkeys(keys, 0)
        turn = 0
        while not over.wait(0.1):
            with client.pipeline(transaction=False) as pipeline:
                for key in (keys[(turn + step) % STREAMS] for step in range(100)):
                    counts[key] += 1
                    pipeline.xadd(key, entry, id=f"{time.time_ns() // 1_000_000}-{counts[key]}")
                pipeline.execute()
            turn += 100

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
