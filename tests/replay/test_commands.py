"""``tickbridge replay`` and ``tickbridge record`` as a user runs them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest
from websockets.asyncio.client import connect

import bridge.connector
from bridge.cli.main import main
from bridge.recordings.recording import ConnectRow, HeaderRow, RecordingError, RecvRow, SendRow, read_recording
from bridge.recordings.replay import MAX_SPEED, serve_replay
from tests.environment import clean_environment

SMALL = Path(__file__).parents[1] / "fixtures" / "coinbase-small.jsonl"
CONFIG = """
connectors:
  - {name: cb, exchange: coinbase, pairs: [BTC-USD]}
  - {name: lx, exchange: limitlex, pairs: [BTC-EUR]}
"""


@asynccontextmanager
async def command(*arguments: str):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def url_of(process) -> str:
    line = (await process.stdout.readline()).decode()
    assert line.startswith("ws://127.0.0.1:"), line
    return line.split()[0]


async def test_replay_until_sigterm():
    frames = [row.data for row in read_recording(SMALL) if isinstance(row, RecvRow)]
    async with command("replay", str(SMALL), "--port", "0", "--speed", "max") as process:
        async with connect(await url_of(process)) as client:
            await client.send("{}")
            assert [await client.recv() for _ in frames] == frames
            line = await process.stdout.readline()
            assert line.decode() == f"COINBASE.ws.2: {len(frames)} frames sent, the recorded connection is complete\n"
            process.send_signal(signal.SIGTERM)
            await client.wait_closed()
            assert client.close_code == 1001
        assert await process.wait() == 0
        assert await process.stderr.read() == b""


async def test_replay_once_ends_by_itself():
    async with command("replay", str(SMALL), "--port", "0", "--speed", "max", "--once", "--close") as process:
        async with connect(await url_of(process)) as client:
            await client.send("{}")
            assert len([frame async for frame in client]) == 190
        assert await process.wait() == 0


async def test_replay_says_what_it_waits_for():
    async with (
        command("replay", str(SMALL), "--port", "0", "--wait-subscribe", "0") as process,
        connect(await url_of(process)),
    ):
        assert b"waiting for the client" in await process.stderr.readline()


def test_replay_of_a_file_that_is_none(tmp_path, capsys):
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(b"no zstd")
    assert main(["replay", str(path), "--port", "0"]) == 1
    assert f"{path}, line 1: broken zstd data" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "missing.jsonl"), "--port", "0"]) == 1
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--port", "x"], ["--port", "70000"], [], ["--port", "0", "--speed", "0"], ["--port", "0", "--speed", "quick"]],
)
def test_replay_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["replay", str(SMALL), *arguments])
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("tickbridge replay: ")


async def test_replay_on_a_port_that_is_taken():
    async with serve_replay(SMALL) as server:
        port = server.url.rsplit(":", 1)[1]
        async with command("replay", str(SMALL), "--port", port) as process:
            assert await process.wait() == 2
            assert b"cannot listen on 127.0.0.1:" in await process.stderr.read()


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def feed(monkeypatch):
    """Puts a function in the place of the connector's own ``record``, which is tested with the connector."""

    def use(record):
        module = ModuleType("bridge.connector.run")
        module.record = record
        monkeypatch.setitem(sys.modules, "bridge.connector.run", module)
        monkeypatch.setattr(bridge.connector, "run", module, raising=False)

    return use


async def through_a_socket(_settings, connectors, tap):
    """A client of the replay that tells the tap all, as a feed does; a signal ends it after ten frames."""
    assert [one.name for one in connectors] == ["cb"]
    async with serve_replay(SMALL, speed=MAX_SPEED) as server, connect(server.url, max_queue=None) as client:
        tap.connected("cb.1", server.url + "/?token=abcdefgh")
        await client.send("{}")
        tap.sent("cb.1", "{}")
        for _ in range(10):
            tap.received("cb.1", await client.recv(decode=False))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.zst"])
def test_record_until_sigterm(config, feed, tmp_path, capsys, name):
    feed(through_a_socket)
    out = tmp_path / name
    assert main(["record", "--config", str(config), "--out", str(out), "--connector", "cb"]) == 0
    assert f"12 rows recorded in {out}" in capsys.readouterr().out
    header, connected, sent, *received = read_recording(out)
    assert isinstance(header, HeaderRow)
    assert (header.exchange, header.config["cb"]["pairs"]) == ("coinbase", ["BTC-USD"])
    assert isinstance(connected, ConnectRow)
    assert connected.addr.endswith("/?token=***")
    assert isinstance(sent, SendRow)
    frames = [row.data for row in read_recording(SMALL) if isinstance(row, RecvRow)]
    assert [row.data for row in received] == frames[:10]


async def test_record_with_the_real_connector(tmp_path):
    frames = [row.data for row in read_recording(SMALL) if isinstance(row, RecvRow)]
    out = tmp_path / "out.jsonl.zst"
    # Once and closed at its end: when nobody is left, the connector has received every frame.
    async with serve_replay(SMALL, speed=MAX_SPEED, once=True, close=True) as server:
        config = tmp_path / "config.yaml"
        config.write_text(
            "connectors: [{name: cb, exchange: coinbase, pairs: [BTC-USD, ETH-USD],"
            f' url: "{server.url}", rest_url: "{server.rest_url}"}}]'
        )
        async with command("record", "--config", str(config), "--out", str(out)) as process:
            await server.exhausted()
            process.send_signal(signal.SIGTERM)
            output, _ = await process.communicate()
            assert process.returncode == 0
            assert f"rows recorded in {out}" in output.decode()
    assert [row.data for row in read_recording(out) if isinstance(row, RecvRow)] == frames


async def test_record_on_a_full_disk_says_so_and_nothing_else(tmp_path):
    out = tmp_path / "out.jsonl"
    out.symlink_to("/dev/full")
    async with serve_replay(SMALL, speed=MAX_SPEED) as server:
        config = tmp_path / "config.yaml"
        config.write_text(
            "connectors: [{name: cb, exchange: coinbase, pairs: [BTC-USD, ETH-USD],"
            f' url: "{server.url}", rest_url: "{server.rest_url}"}}]\nlog: {{level: warning}}\n'
        )
        async with command("record", "--config", str(config), "--out", str(out), "--force") as process:
            _, said = await process.communicate()
            assert process.returncode == 2
    assert said.decode() == f"tickbridge: {out}: cannot be written: No space left on device\n"


def test_record_for_a_while(config, feed, tmp_path):
    async def record(_settings, _connectors, tap):
        tap.connected("cb.1", "wss://h")
        await asyncio.Event().wait()

    feed(record)
    out = tmp_path / "out.jsonl"
    arguments = ["record", "--config", str(config), "--connector", "cb", "--out", str(out), "--duration", "0.05"]
    assert main(arguments) == 0
    assert len(list(read_recording(out))) == 2
    assert main(arguments) == 1  # the file exists
    assert main([*arguments, "--force"]) == 0


def test_record_that_fails_leaves_no_empty_file(config, feed, tmp_path, capsys):
    async def record(_settings, _connectors, _tap):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(), name="fail")

    async def fail():
        raise RecordingError("somewhere", "the disk is full")

    feed(record)
    out = tmp_path / "out.jsonl"
    assert main(["record", "--config", str(config), "--connector", "cb", "--out", str(out)]) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert not out.exists()


def test_record_of_two_exchanges(config, tmp_path, capsys):
    assert main(["record", "--config", str(config), "--out", str(tmp_path / "out.jsonl")]) == 1
    assert "a recording is of one exchange (choose cb or lx)" in capsys.readouterr().err


@pytest.mark.parametrize("duration", ["0", "-1", "inf", "soon"])
def test_record_duration(config, tmp_path, duration):
    with pytest.raises(SystemExit) as caught:
        main(["record", "--config", str(config), "--out", str(tmp_path / "o.jsonl"), "--duration", duration])
    assert caught.value.code == 1
