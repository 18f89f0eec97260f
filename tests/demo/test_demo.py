from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import redis as redis_py

from bridge.book import Book
from bridge.demo.embedded import find_server
from bridge.errors import BridgeError
from tests.demo.running import RunningDemo, alive, shown_by_the_page, told_to_the_page, until
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer

PAIRS = ("BTC-EUR", "ETH-EUR", "LTC-EUR")


@pytest.fixture(autouse=True)
def _server_here():
    try:
        find_server()
    except BridgeError as error:
        pytest.skip(str(error))


def _streams(client: redis_py.Redis) -> dict[str, list[tuple[str, dict[str, str]]]]:
    keys = [key for name in ("bridge:catalog", "bridge:catalog:accounts") for key in client.hkeys(name)]
    return {key: client.xrange(key) for key in keys}


def _book(entries: list[tuple[str, dict[str, str]]]) -> Book:
    """The book of a stream, built as plainly as the contract says."""
    book = Book()
    for _, fields in entries:
        if fields["type"] in ("snapshot", "delta"):
            bids, asks = ([tuple(level.split(":")) for level in fields[side].split()] for side in ("bids", "asks"))
            (book.replace if fields["type"] == "snapshot" else book.apply)(bids, asks)
    return book


def _true_book(answer) -> Book:
    book = Book()
    book.replace(*([tuple(level) for level in answer[side]] for side in ("bids", "asks")))
    return book


def _seqs(entries) -> list[int]:
    return [int(entry_id.partition("-")[2]) for entry_id, _ in entries]


def test_a_short_demo_says_that_all_is_equal_and_leaves_nothing_behind(tmp_path):
    with RunningDemo(tmp_path, "--duration", "4", env={"TMPDIR": str(tmp_path)}) as demo:
        pids = demo.pids()
        page = demo.wait_for(r"^  page +(http://127\.0\.0\.1:\d+/)$")[1]
        until(lambda: "md:{limitlex:BTC-EUR}:book" in shown_by_the_page(page), "the page shows the streams")
        assert demo.end() == 0, demo.output
    counts = demo.counts()
    assert counts["received"] > 300
    assert counts["received"] == counts["published"] == counts["read"]
    assert counts["lost"] == 0
    for pair in PAIRS:
        demo.wait_for(rf"^  book +{pair} +equal: yes")
    for account in ("main", "main/savings", "main/bot"):
        demo.wait_for(rf"^  wallet +{account} +equal: yes")
    assert "books equal to the exchange's true books: yes\n" in demo.output
    assert not any(map(alive, pids))
    assert list(tmp_path.iterdir()) == []
    removed = demo.wait_for(r"^(\S+) was removed; --dir DIR keeps config, logs and data$")[1]
    assert f"  logs       {removed}\n" in demo.output
    [typed] = re.findall(r"connector again yourself:\n  (.+) run --config ", demo.output)
    words = [*shlex.split(typed), "--version"]
    answer = subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=PATIENCE, env=clean_environment()
    )
    assert answer.stdout.startswith("tickbridge ")


def test_a_killed_connector_leaves_no_hole_no_trade_twice_and_a_true_book(tmp_path):
    """Checked on the data that the server left behind, not by the demo's own word."""
    kept = tmp_path / "kept"
    with RunningDemo(tmp_path, "--duration", "9", "--dir", str(kept)) as demo:
        connector = demo.pid("connector")
        time.sleep(2)  # so that it dies in the middle of something
        os.kill(connector, signal.SIGKILL)
        demo.wait_for(r"connector \(pid \d+\) was killed by SIGKILL")
        again = int(demo.wait_for(r"connector started again \(pid (\d+)\)")[1])
        for pair in PAIRS:
            demo.wait_for(rf"{pair} book is valid again after")
        demo.tell("pause")
        trades = {pair: demo.ask("trades", pair=pair)["trades"] for pair in PAIRS}
        books = {pair: _true_book(demo.ask("book", pair=pair)) for pair in PAIRS}
        assert demo.end() == 0, demo.output
    demo.wait_for(rf"^config, logs and data are in {kept}$")
    assert again != connector
    assert not alive(again)
    assert "processes 2" in demo.output
    server = RedisServer(kept / "redis", appendonly=True)
    server.start()
    try:
        with server.client() as client:
            streams = _streams(client)
    finally:
        server.kill()
    assert len(streams) >= 4 * len(PAIRS)
    for key, entries in streams.items():
        assert _seqs(entries) == list(range(1, len(entries) + 1)), key
    for pair in PAIRS:
        assert _book(streams[f"md:{{limitlex:{pair}}}:book"]) == books[pair]
        read = Counter(
            (int(fields["ts"]) // 10**9, fields["side"], fields["price"], fields["size"])
            for _, fields in streams[f"md:{{limitlex:{pair}}}:trades"]
            if fields["type"] == "trade"
        )
        assert read
        true = Counter((int(trade["time"]), trade["side"], trade["price"], trade["size"]) for trade in trades[pair])
        assert read <= true


def test_the_page_cuts_and_kills_and_all_is_equal_at_the_end(tmp_path):
    with RunningDemo(tmp_path, "--duration", "9") as demo:
        page = demo.wait_for(r"^  page +(http://127\.0\.0\.1:\d+/)$")[1]
        connector = demo.pid("connector")
        told_to_the_page(page, action="fault", exchange="limitlex", settings={"fault": "cut"})
        killed = told_to_the_page(page, action="kill", settings={"name": "connector"})
        assert killed == {"name": "connector", "pid": str(connector)}
        demo.wait_for(rf"connector \(pid {connector}\) was killed by SIGKILL")
        demo.wait_for(r"connector started again \(pid \d+\)")
        for pair in PAIRS:
            demo.wait_for(rf"{pair} book is valid again after")
        told_to_the_page(page, action="pause", exchange="limitlex", settings={})
        assert demo.end() == 0, demo.output
    for pair in PAIRS:
        demo.wait_for(rf"^  book +{pair} +equal: yes")


def test_a_killed_server_keeps_its_data_and_the_demo_goes_on(tmp_path):
    with RunningDemo(tmp_path, "--duration", "7", "--rate", "500") as demo:
        server = demo.pid("redis")
        time.sleep(1.5)
        os.kill(server, signal.SIGKILL)
        demo.wait_for(r"redis started again")
        assert demo.end() == 0, demo.output
    counts = demo.counts()
    assert counts["received"] == counts["published"] + counts["lost"]
    assert "holes in seq 0" in demo.output
    assert "duplicates 0" in demo.output


def test_a_book_that_is_not_true_ends_in_exit_code_1(tmp_path):
    with RunningDemo(tmp_path, "--duration", "4", env={"TMPDIR": str(tmp_path)}) as demo:
        url = demo.wait_for(r"^  redis +(\S+)$")[1]
        connector = int(demo.wait_for(r"^  pid +(\d+) +connector$")[1])
        demo.wait_for(r"^  pid +\d+ +wallets$")
        demo.tell("pause")
        key = "md:{limitlex:BTC-EUR}:book"
        with redis_py.Redis.from_url(url, decode_responses=True) as client:
            before = client.xinfo_stream(key)["last-generated-id"]
            # Whatever is on its way comes first.
            until(lambda: _at_rest(client, key), "the stream is at rest")
            last = client.xinfo_stream(key)["last-generated-id"]
            assert last >= before
            ms, _, seq = last.partition("-")
            fields = {"type": "delta", "ts": "", "recv": f"{ms}000000", "xseq": "", "bids": "1.00:1", "asks": ""}
            # Else the connector would notice, and mend it.
            os.kill(connector, signal.SIGSTOP)
            client.xadd(key, fields, id=f"{ms}-{int(seq) + 1}")
        assert demo.end() == 1, demo.output
    demo.wait_for(r"^  book +BTC-EUR +equal: no")
    demo.wait_for(r"^  book +ETH-EUR +equal: yes")
    assert "limitlex: books equal to the exchange's true books: no\n" in demo.output
    demo.wait_for(r"^wrong: book of limitlex BTC-EUR: bid 1.00: 1, should be 0$")
    # Whoever looks into it finds the logs.
    kept = Path(demo.wait_for(r"^logs and data are kept in (\S+)$")[1])
    assert (kept / "connector.log").stat().st_size
    assert not list(kept.rglob("*.pem")) + list(kept.rglob("*.yaml")) + list(kept.glob("keys"))


def _at_rest(client: redis_py.Redis, key: str) -> bool:
    before = client.xinfo_stream(key)["last-generated-id"]
    time.sleep(0.5)
    return client.xinfo_stream(key)["last-generated-id"] == before


def test_faults_on_a_server_that_is_there_and_nothing_stays_in_it(tmp_path, redis_server):
    with redis_server.client() as client:
        client.set("mine", "stays")
    with RunningDemo(tmp_path, "--duration", "9", "--faults", "--redis", redis_server.url) as demo:
        found = demo.wait_for(r"^  redis +\S+ +namespace (\S+)$")
        with redis_server.client() as client:
            assert client.exists(f"{found[1]}:bridge:catalog")
        assert demo.end() == 0, demo.output
    demo.wait_for(r"fault: the connection of BTC-EUR is cut")
    demo.wait_for(r"fault: a broken book message of ETH-EUR")
    demo.wait_for(r"ETH-EUR book is invalid")
    assert "books equal to the exchange's true books: yes\n" in demo.output
    with redis_server.client() as client:
        assert client.keys() == ["mine"]


def test_ctrl_c_ends_in_order_with_the_summary(tmp_path):
    with RunningDemo(tmp_path, "--duration", "600") as demo:
        pids = demo.pids()
        time.sleep(0.5)
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == 0, demo.output
    assert "books equal to the exchange's true books: yes\n" in demo.output
    assert not any(map(alive, pids))


def test_a_killed_demo_leaves_no_key_in_the_users_redis(tmp_path, redis_server):
    with redis_server.client() as client:
        client.set("mine", "1")
        with RunningDemo(tmp_path, "--duration", "600", "--redis", redis_server.url) as demo:
            namespace = demo.wait_for(r"^  redis +\S+ +namespace (\S+)$")[1]
            until(lambda: client.exists(f"{namespace}:bridge:catalog"), "its keys")
            demo.process.kill()
            until(lambda: client.keys() == ["mine"], "its keys are gone")


def test_a_killed_demo_takes_its_parts_with_it(tmp_path):
    with RunningDemo(tmp_path, "--duration", "600", "--dir", str(tmp_path / "kept")) as demo:
        pids = demo.pids()
        assert all(map(alive, pids))
        demo.process.kill()
        until(lambda: not any(map(alive, pids)), "all parts are gone")


def test_what_failed_leaves_logs_and_no_key(tmp_path, own_server):
    with RunningDemo(tmp_path, "--duration", "2", "--redis", own_server.url, env={"TMPDIR": str(tmp_path)}) as demo:
        demo.wait_for("^to see it recover")
        (directory,) = (each for each in tmp_path.iterdir() if each.name.startswith("tickbridge-demo-"))
        assert list(directory.rglob("*.pem")) or list((directory / "keys").rglob("*"))
        own_server.kill()
        assert demo.end() == 2, demo.output
    demo.wait_for(rf"logs and data are kept in {directory}$")
    assert (directory / "connector.log").stat().st_size
    assert not [*directory.glob("keys"), *directory.glob("*.yaml"), *directory.rglob("*.pem")]


def test_ctrl_c_while_it_starts(tmp_path):
    with RunningDemo(tmp_path, "--duration", "600", env={"TMPDIR": str(tmp_path)}) as demo:
        demo.wait_for("^starting")
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == 130, demo.output
    assert list(tmp_path.iterdir()) == []


def test_a_connector_that_the_user_starts_again_is_left_to_work(tmp_path):
    """It is there before the demo looks, however long it takes to start: the demo is held meanwhile."""
    with RunningDemo(tmp_path, "--duration", "600") as demo:
        config = demo.wait_for(r"^  config +(\S+)$")[1]
        url = demo.wait_for(r"^  redis +(\S+)$")[1]
        demo.wait_for(r"received [1-9][\d,]*, published [1-9]")  # so it has seen the first one's heartbeat
        demo.process.send_signal(signal.SIGSTOP)
        os.kill(demo.pid("connector"), signal.SIGKILL)
        command = [sys.executable, "-m", "bridge", "run", "--config", config]
        with (
            subprocess.Popen(command, stderr=subprocess.DEVNULL, env=clean_environment()) as mine,
            redis_py.Redis.from_url(url, decode_responses=True) as client,
        ):
            until(lambda: client.hget("bridge:connector:limitlex", "pid") == str(mine.pid), "mine has its place")
            demo.process.send_signal(signal.SIGCONT)
            demo.wait_for(r"connector \(pid \d+\) was killed by SIGKILL")
            for pair in PAIRS:
                demo.wait_for(rf"{pair} book is valid again after")
            # A line every five seconds: by the second one the demo has looked many times.
            until(
                lambda: demo.output.rpartition("killed by")[2].count("; books valid: 3 of 3") >= 2, "the demo goes on"
            )
            code = demo.stop()
            mine.kill()
    assert code == 0, demo.output
    assert "holes in seq 0" in demo.output
    assert "processes 2" in demo.output
    assert "connector started again" not in demo.output


def test_the_comparison_is_shown_though_the_picture_cannot_be_written(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    with RunningDemo(tmp_path, "--duration", "3", "--picture", str(folder / "x.svg")) as demo:
        demo.wait_for("to see it recover")
        folder.rmdir()
        assert demo.end() == 2, demo.output
    demo.wait_for("books equal")
    demo.wait_for(f"cannot write {folder}/x.svg: No such file or directory")
    assert "Traceback" not in demo.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--pairs", "BTCEUR"), 1, "'BTCEUR' is not a pair"),
        (("--exchange", "both", "--pairs", "lmex:BTC-USD"), 1, "--pairs: none for limitlex"),
        (
            ("--exchange", "lmex,gemini"),
            1,
            "gemini cannot be shown; known: limitlex, lmex, binance, binance-usdm, bybit, ",
        ),
        (("--rate", "0"), 1, "must be above zero"),
        (("--duration", "soon"), 1, "'soon' is not a number"),
        (("--exchange", "both,limitlex", "--dir", "."), 1, "--dir: . is not empty"),
        (("--exchange", "coinbase", "--faults"), 1, "--faults: a recording has none"),
        (("--dir", "."), 1, "is not empty"),
        (("--dir", "something/kept"), 1, "--dir: something/kept: Not a directory"),
        (("--picture", "."), 1, "--picture: .: Is a directory"),
        (("--picture", "none/x.svg"), 1, "--picture: none/x.svg: No such file or directory"),
        (("--redis", "redis://127.0.0.1:1/0"), 2, "the connection was refused"),
        (("--redis", "http://127.0.0.1:1/0"), 1, "--redis: should start with redis://"),
    ],
)
def test_mistakes_are_said(tmp_path, arguments, code, said):
    (tmp_path / "something").write_text("")
    with RunningDemo(tmp_path, *arguments, env={"TMPDIR": str(tmp_path)}) as demo:
        assert demo.end() == code, demo.output
    assert [each.name for each in tmp_path.iterdir()] == ["something"]
    demo.wait_for(said)
    assert "Traceback" not in demo.output
