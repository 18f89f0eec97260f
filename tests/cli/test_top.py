"""``tickbridge top`` on a terminal, as its users see it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bridge.model import Channel
from tests.cli.feeds import Feed
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port
from tests.terminals import Terminal

TOP = [sys.executable, "-m", "bridge", "top"]


@contextlib.contextmanager
def top(server: RedisServer, path, *arguments: str, columns: int = 80, rows: int = 24, **options) -> Iterator[Terminal]:
    command = [*TOP, "--redis", server.url, *arguments]
    with Terminal(command, cwd=path, columns=columns, rows=rows, **options) as terminal:
        yield terminal


def quits(terminal: Terminal, key: str = "q", code: int = 0) -> None:
    terminal.type(key)
    assert terminal.end() == code
    assert terminal.attributes == terminal.before
    assert terminal.seen.rindex(b"\x1b[?1049l") > terminal.seen.rindex(b"\x1b[?1049h")
    assert terminal.seen.rindex(b"\x1b[?25h") > terminal.seen.rindex(b"\x1b[?25l")
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_streams_and_connectors_are_shown_and_q_gives_the_terminal_back(
    redis_server: RedisServer, tmp_path, size
) -> None:
    with redis_server.client() as client:
        client.config_resetstat()
        feed = Feed(client)
        feed.beat(lost=2)
        keys = feed.pair()
        with top(redis_server, tmp_path, columns=size[0], rows=size[1]) as terminal:
            terminal.wait_until_shown("3 of 3 live")
            terminal.wait_until_shown(r"limitlex +(limitlex +)?● live +2/2 ")
            terminal.wait_until_shown(r"limitlex +BTC-EUR +trades +● live +2 ")
            terminal.wait_until_shown(r"q quit *$")
            assert all(len(line) == size[0] for line in terminal.lines)
            for seq in range(3, 50):
                feed.trade(keys[Channel.TRADES], seq)
            terminal.wait_until_shown(r"BTC-EUR +trades +● live +49 ")
            feed.list("BTC-EUR", Channel.BOOK, "down")
            terminal.wait_until_shown(r"BTC-EUR +book +● down ")
            feed.die()
            terminal.wait_until_shown("0 of 3 live")
            terminal.wait_until_shown(r"│ limitlex +(limitlex +)?● dead")
            quits(terminal)
        assert not [name for name in client.info("commandstats") if "xinfo" in name]


def test_a_pair_has_book_trades_streams_and_a_log(redis_server: RedisServer, tmp_path) -> None:
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        keys = feed.pair()
        feed.pair("ETH-EUR")
        with top(redis_server, tmp_path, columns=100, rows=40) as terminal:
            terminal.wait_until_shown("6 of 6 live")
            terminal.type("\n")
            terminal.wait_until_shown("limitlex BTC-EUR ● valid")
            terminal.wait_until_shown("8000.50")
            terminal.wait_until_shown(r"▲ 7994\.50")
            terminal.wait_until_shown(r"quotes +live")
            terminal.wait_until_shown(r"\d\d:\d\d:\d\d trades +live")
            feed.control(keys[Channel.BOOK], 3, "gap", "a frame could not be understood", "2")
            terminal.wait_until_shown("book invalid")
            terminal.wait_until_shown("gap: a frame could not be understood")
            feed.snapshot(keys[Channel.BOOK], 4)
            terminal.wait_until_shown("BTC-EUR ● valid")
            terminal.wait_until_shown(r"\d\d:\d\d:\d\d book +gap")
            terminal.type("\x1b")
            terminal.wait_until_shown("6 of 6 live")
            terminal.wait_until_shown(r"ETH-EUR +trades")
            quits(terminal)


def test_an_account_has_balances_orders_positions_and_entries(redis_server: RedisServer, tmp_path) -> None:
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        orders = feed.list("main", Channel.ORDERS)
        feed.control(orders, 1, "live")
        order = {
            "order_id": "1", "client_id": "", "pair": "BTC-EUR", "kind": "limit", "side": "buy", "price": "7990",
            "size": "2", "filled": "0.5", "status": "open",
        }  # fmt: skip
        feed.add(orders, "order", 2, None, **order)
        with top(redis_server, tmp_path, columns=120, rows=30) as terminal:
            terminal.wait_until_shown("1 of 1 live")
            terminal.type("\r")
            terminal.wait_until_shown("no wallet: 'tickbridge wallets' keeps one")
            terminal.wait_until_shown("buy 0.5/2 BTC-EUR at 7990: open")
            wallet = {
                "balance:EUR": json.dumps({"available": "100.5", "reserved": "5"}),
                "balance:BAD": "not JSON",
                "position:BTC-PERP": json.dumps(
                    {"side": "long", "size": "3", "entry_price": "7000", "unrealised_pnl": "-1.5"}
                ),
                "order:BTC-EUR:1": json.dumps(order),
                "fills": "7",
            }
            client.hset("acct:{limitlex:main}:wallet", mapping=wallet)
            for words in (
                r"EUR +100\.5 +5",
                r"long +3 BTC-PERP from 7000 +-1\.5",
                r"buy +2 BTC-EUR at 7990 +25%",
                "7 fills",
            ):
                terminal.wait_until_shown(words)
            client.delete("acct:{limitlex:main}:wallet")
            client.set("acct:{limitlex:main}:wallet", "text")
            terminal.wait_until_shown("the key acct:{limitlex:main}:wallet has the wrong")
            quits(terminal)


def test_the_log_shows_control_entries_and_changes(redis_server: RedisServer, tmp_path) -> None:
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        keys = feed.pair()
        with top(redis_server, tmp_path, "BTC", columns=120) as terminal:
            terminal.wait_until_shown("filter 'BTC'")
            terminal.type("l")
            terminal.wait_until_shown("control entries of 3 streams, newest first")
            terminal.wait_until_shown(r"limitlex BTC-EUR trades +live")
            feed.control(keys[Channel.TRADES], 3, "lost", "the buffer is full", "17")
            terminal.wait_until_shown(r"limitlex BTC-EUR trades +lost +the buffer is full \(17 events\)")
            feed.trade(keys[Channel.TRADES], 9)
            terminal.wait_until_shown(r"limitlex BTC-EUR trades +hole +5 entries are missing")
            feed.die()
            terminal.wait_until_shown(r"limitlex limitlex connector +dead +was live")
            terminal.type("c")
            terminal.wait_until_shown(r"connectors 1 ")
            terminal.type("?")
            terminal.wait_until_shown("the connector has no heartbeat")
            quits(terminal)


def test_filter_sort_and_not_live(redis_server: RedisServer, tmp_path) -> None:
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        for number in range(5):
            key = feed.list(f"C{number}-EUR", Channel.TRADES, "down" if number == 3 else "live")
            feed.trade(key, 10 + number * (-1) ** number)
        with top(redis_server, tmp_path) as terminal:

            def order() -> list[str]:
                return re.findall(r"limitlex +(C\d)-EUR", terminal.shown)

            terminal.until(lambda: order() == ["C0", "C1", "C2", "C3", "C4"], "all in order of their names")
            terminal.type(">>")
            terminal.until(lambda: order() == ["C4", "C2", "C0", "C1", "C3"], "the highest seq first")
            terminal.type("r")
            terminal.until(lambda: order() == ["C3", "C1", "C0", "C2", "C4"], "the lowest first")
            terminal.type("n")
            terminal.until(lambda: order() == ["C3"], "only what is not live")
            terminal.type("n/c4")
            terminal.until(lambda: order() == ["C4"], "the filter applies while it is typed")
            terminal.type("x")
            terminal.wait_until_shown("no stream passes the filter; Esc clears it")
            terminal.type("\x7f\n")
            terminal.until(lambda: order() == ["C4"], "backspace")
            terminal.wait_until_shown("filter 'c4'")
            terminal.type("\x1b")
            terminal.until(lambda: len(order()) == 5, "escape clears the filter")
            quits(terminal)


def test_500_streams_are_shown_and_only_what_is_in_sight_is_read(own_server: RedisServer, tmp_path) -> None:
    with own_server.client() as client:
        feed = Feed(client)
        feed.beat()
        keys = [feed.list(f"C{number:03}-EUR", Channel.BOOK) for number in range(500)]
        for number, key in enumerate(keys):
            feed.snapshot(key, number + 1, levels=50)
        with top(own_server, tmp_path) as terminal:
            terminal.wait_until_shown("500 of 500 live")
            terminal.wait_until_shown(r"C000-EUR +book +● live +1 ")
            terminal.type("G")
            terminal.wait_until_shown(r"C499-EUR +book +● live +500 ")
            terminal.wait_until_shown(r"streams 4\d\d to 500 of 500")
            client.config_resetstat()
            looks = client.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"]
            terminal.until(
                lambda: client.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"] >= looks + 9,
                "three looks",
            )
            stats = client.info("commandstats")
            rounds = stats["cmdstat_hgetall"]["calls"] // 3 + 1  # two catalogs and a heartbeat in each look
            assert stats["cmdstat_xrevrange"]["calls"] <= rounds * (24 + 50)
            assert not [name for name in stats if "xinfo" in name or "keys" in name or "scan" in name]
            quits(terminal)


def test_it_follows_the_size_of_the_window(redis_server: RedisServer, tmp_path) -> None:
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        for number in range(60):
            feed.trade(feed.list(f"C{number:02}-EUR", Channel.TRADES), 1)
        with top(redis_server, tmp_path, columns=120, rows=40) as terminal:
            terminal.wait_until_shown("streams 1 to 31 of 60")
            terminal.type("\x1b[6~")
            terminal.resize(60, 14)
            terminal.wait_until_shown("C31-EUR")
            terminal.until(
                lambda: "streams" in terminal.shown and "C00-EUR" not in terminal.shown, "the row is in sight"
            )
            terminal.resize(30, 6)
            terminal.wait_until_shown("40x8 shows more")
            terminal.resize(3, 2)
            terminal.resize(100, 30)
            terminal.wait_until_shown("connectors 1 ")
            terminal.until(lambda: len(terminal.lines[0].rstrip()) > 90, "the header is as wide as the window")
            quits(terminal)


def test_it_outlives_an_outage_of_redis(own_server: RedisServer, tmp_path) -> None:
    with own_server.client() as client:
        feed = Feed(client)
        feed.beat()
        keys = feed.pair()
        with top(own_server, tmp_path, columns=120, rows=30) as terminal:
            terminal.wait_until_shown("3 of 3 live")
            terminal.type("jj\n")
            terminal.wait_until_shown("BTC-EUR ● valid")
            own_server.kill()
            terminal.wait_until_shown("● Redis: ")
            terminal.wait_until_shown("BTC-EUR ● as it last was")
            own_server.start()
            feed.trade(keys[Channel.TRADES], 3, price="1234.5")
            terminal.wait_until_shown(r"1234\.5")
            terminal.until(lambda: "● Redis: " not in terminal.shown, "the outage is over")
            quits(terminal)


def test_odd_content_hinders_nothing(redis_server: RedisServer, tmp_path) -> None:
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat(state="\x1b[31mred", started="never", lost="many")
        client.set(feed.list("BTC-EUR", Channel.TRADES), "text")
        client.hset("bridge:catalog", "md:{limitlex:X\x1b]0;title\x07-EUR}:trades", '{"state":"live"')
        feed.add(feed.list("ETH-EUR", Channel.TRADES), "trade", 3, price="no more")
        with top(redis_server, tmp_path, columns=120) as terminal:
            terminal.wait_until_shown(r"BTC-EUR +trades +● unreadable .*its key is not a stream")
            terminal.wait_until_shown(r"X\\x1b\]0;title\\x07-EUR +trades +● unknown")
            terminal.type("j\n")
            terminal.wait_until_shown("undecodable")
            terminal.type("\x1b")
            terminal.wait_until_shown("● unreadable")
            terminal.type("k\n")
            terminal.wait_until_shown("unreadable")
            quits(terminal)
            assert b"\x1b[31mred" not in terminal.seen
            assert b"\x1b]0" not in terminal.seen


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGQUIT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_gives_the_terminal_back(redis_server: RedisServer, tmp_path, number: int, code: int) -> None:
    with top(redis_server, tmp_path) as terminal:
        terminal.wait_until_shown("no connector has written to this Redis yet")
        terminal.process.send_signal(number)
        assert terminal.end() == code
        assert terminal.attributes == terminal.before
        assert terminal.seen.rindex(b"\x1b[?1049l") > terminal.seen.rindex(b"\x1b[?1049h")


def test_a_terminal_that_nobody_reads_holds_up_nothing(redis_server: RedisServer, tmp_path) -> None:
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        feed.pair()
        with top(redis_server, tmp_path, columns=200, rows=60) as terminal:
            terminal.wait_until_shown("3 of 3 live")
            with terminal.paused():
                terminal.process.send_signal(signal.SIGTERM)
                assert terminal.process.wait(PATIENCE) == 0
            terminal.end()
            assert terminal.attributes == terminal.before


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash: a shell with job control")
def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(redis_server: RedisServer, tmp_path) -> None:
    shell = ["/bin/bash", "--norc", "--noprofile", "-i"]
    with Terminal(shell, cwd=tmp_path, columns=180, rows=40, PS1="ready> ") as terminal:
        terminal.wait_until_shown("ready>")
        terminal.type(f"{' '.join(TOP)} --redis {redis_server.url}\n")
        terminal.wait_until_shown("no connector has written")
        terminal.type("\x1a")
        terminal.wait_until_shown(r"Stopped[^\n]*\n(?:.*\n)*ready>")
        terminal.type("echo $((6 * 7))\n")
        terminal.wait_until_shown(r"(?m)^42 *$")
        terminal.type("fg\n")
        terminal.wait_until_shown("no connector has written")
        terminal.type("q")
        terminal.until(lambda: "no connector has written" not in terminal.shown, "the shell's screen is there again")
        terminal.type("echo ended with $?; exit\n")
        terminal.end()
        assert "ended with 0" in terminal.shown


def test_without_a_terminal_it_says_what_to_use(redis_server: RedisServer, tmp_path) -> None:
    for options in ({"stdout": subprocess.PIPE}, {"TERM": "dumb"}):
        with top(redis_server, tmp_path, **options) as terminal:
            assert terminal.end() == 1
            if terminal.process.stdout:
                terminal.process.stdout.close()
            words = "tickbridge top: needs a terminal; in a pipe or a script, use 'tickbridge streams' or 'tickbridge status'"
            assert words in terminal.text.replace("\r\n", "")


def test_redis_out_of_reach_is_said_on_the_usual_screen(tmp_path) -> None:
    with Terminal([*TOP, "--redis", f"redis://127.0.0.1:{free_port()}/0"], cwd=tmp_path, columns=120) as terminal:
        assert terminal.end() == 2
        assert "the connection was refused; is the server running" in terminal.text
        assert b"\x1b[?1049h" not in terminal.seen
