"""`tickbridge books` and `wallets`: the consumers as commands, with what the config says of Redis."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.keys import Keys
from bridge.model import Channel
from tests.consumers.streams import Stream
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

CLEAN = clean_environment()
ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
SPELLINGS = {
    "command": lambda name: [sys.executable, "-m", "bridge", name],
    "module": lambda name: [sys.executable, "-m", f"consumers.{name}"],
}
BOTH = pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=list(SPELLINGS))


@contextlib.contextmanager
def running(*words: str, cwd: Path | None = None, **env: str):
    environment = {**CLEAN, "PYTHONPATH": str(ROOT), **env}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=cwd
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**CLEAN, "PYTHONPATH": str(ROOT), **env},
        check=False,
    )


def config(path: Path, server: RedisServer) -> Path:
    path.write_text(f"redis: {{url: '{server.url}'}}\nnamespace: prod\nhttp: {{port: off}}\n")
    return path


@BOTH
@pytest.mark.parametrize("how", ["option", "variable", "this directory"])
def test_redis_and_namespace_come_from_the_config(redis_server: RedisServer, tmp_path, spelling, how) -> None:
    path = config(tmp_path / "tickbridge.yaml", redis_server)
    keys = Keys("prod")
    with redis_server.client() as client:
        book = Stream(client, Channel.BOOK, keys=keys)
        book.snapshot("10:1", "11:1")
        client.hset(keys.catalog(), book.key, "{}")
        balances = Stream(client, Channel.BALANCES, "main", keys=keys)
        balances.add("balance", currency="EUR", available="1", reserved="0")
        client.hset(keys.accounts_catalog(), balances.key, "{}")
        options = ("--config", str(path)) if how == "option" else ()
        env = {"TICKBRIDGE_CONFIG": str(path)} if how == "variable" else {}
        cwd = tmp_path if how == "this directory" else None
        with running(*spelling("books"), *options, cwd=cwd, **env) as books:
            shown = json.loads(books.stdout.readline())
            # A quiet book: nothing has changed since.
            assert (shown["valid"], shown["bids"], shown["recv"]) == (
                True,
                [["10", "1"]],
                book.id(1).split("-")[0] + "000000",
            )
        with running(*spelling("wallets"), *options, cwd=cwd, **env) as wallets:
            assert json.loads(wallets.stdout.readline())["available"] == "1"


@BOTH
def test_an_option_and_the_environment_are_over_the_file(redis_server: RedisServer, tmp_path, spelling) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(f"redis: {{url: 'redis://127.0.0.1:{free_port()}/0'}}\nnamespace: other\nhttp: {{port: off}}\n")
    with redis_server.client() as client:
        book = Stream(client, Channel.BOOK)
        book.snapshot("10:1", "11:1")
        client.hset("bridge:catalog", book.key, "{}")
        by_option = ("--redis", redis_server.url, "--namespace", "")
        by_variable = {"TICKBRIDGE_REDIS__URL": redis_server.url, "TICKBRIDGE_NAMESPACE": ""}
        for options, env in ((by_option, {}), ((), by_variable)):
            with running(*spelling("books"), "--config", str(path), *options, **env) as books:
                assert json.loads(books.stdout.readline())["pair"] == "BTC-EUR"


@BOTH
@pytest.mark.parametrize("http", ["", "http: {port: 9108}\n"], ids=["default", "a port in the file"])
@pytest.mark.parametrize(
    "service", [("books", 9109), ("wallets", 9110), ("candles", 9111), ("parquet", 9113), ("nautilus", 9114)]
)
def test_each_service_has_a_port_of_its_own(redis_server: RedisServer, tmp_path, spelling, http, service) -> None:
    """Whether it is free or not, it isn't that of a connector with the same file."""
    name, port = service
    options = ("-o", str(tmp_path / "data")) if name == "parquet" else ()
    path = tmp_path / "tickbridge.yaml"
    path.write_text(f"redis: {{url: '{redis_server.url}'}}\n{http}")
    with running(*spelling(name), *options, "--config", str(path)) as process:
        lines = iter(process.stderr.readline, "")
        line = next(line for line in lines if "health" in line)
    assert line.startswith(
        (
            f"{name}: metrics and health at http://127.0.0.1:{port}",
            f"{name}: 127.0.0.1 port {port} is taken: running without metrics and health pages",
        )
    )


@BOTH
@pytest.mark.parametrize(
    "variable", [{"TICKBRIDGE_HTTP__PORT": "0"}, {"TICKBRIDGE_HTTP": "{host: localhost, port: 0}"}]
)
def test_a_port_of_the_environment_is_the_services_beside_the_files_host(redis_server, tmp_path, spelling, variable):
    path = tmp_path / "tickbridge.yaml"
    path.write_text(f"redis: {{url: '{redis_server.url}'}}\nhttp: {{host: localhost, port: 9108}}\n")
    with running(*spelling("books"), "--config", str(path), **variable) as process:
        lines = iter(process.stderr.readline, "")
        line = next(line for line in lines if "health" in line)
    assert line.startswith("books: metrics and health at http://localhost:")
    assert ":9108" not in line
    assert ":9109" not in line


@BOTH
def test_the_url_may_be_in_a_secret_file(redis_server: RedisServer, tmp_path, spelling) -> None:
    (tmp_path / "url").write_text(f"{redis_server.url}\n")
    path = tmp_path / "tickbridge.yaml"
    path.write_text(f"redis: {{url_file: '{tmp_path}/url'}}\nhttp: {{port: off}}\n")
    with redis_server.client() as client:
        book = Stream(client, Channel.BOOK)
        book.snapshot("10:1", "11:1")
        client.hset("bridge:catalog", book.key, "{}")
        by_variable = {"TICKBRIDGE_REDIS__URL_FILE": str(tmp_path / "url")}
        for options, env in ((("--config", str(path)), {}), (("--http", "off"), by_variable)):
            with running(*spelling("books"), *options, **env) as books:
                assert json.loads(books.stdout.readline())["pair"] == "BTC-EUR"


@pytest.mark.parametrize(
    ("name", "writer"),
    [
        ("books", "connector with order books"),
        ("wallets", "connector with an account"),
        ("candles", "connector with trades"),
    ],
)
def test_what_is_waited_for_is_named(redis_server: RedisServer, name, writer) -> None:
    """A connector is there, but none that writes what this service reads."""
    with redis_server.client() as client:
        quotes = Stream(client, Channel.QUOTES)
        client.hset("bridge:catalog", quotes.key, "{}")
        words = (*SPELLINGS["command"](name), "--redis", redis_server.url, "--http", "off")
        with running(*words) as service:
            assert service.stderr.readline() == (
                f"{name}: there is nothing to read yet, waiting; no {writer} has written to this Redis; "
                "is it the right one, and the right namespace?\n"
            )


@BOTH
@pytest.mark.parametrize("name", ["books", "wallets", "candles", "parquet", "nautilus"])
def test_version_help_and_mistakes(tmp_path, spelling, name) -> None:
    assert ended(*spelling(name), "--version").stdout.startswith("tickbridge ")
    assert "--config" in ended(*spelling(name), "--help").stdout
    wrong = ended(*spelling(name), "--confg", "x")
    assert (wrong.returncode, "did you mean '--config'" in wrong.stderr) == (1, True)
    bad = tmp_path / "bad.yaml"
    bad.write_text("redis: {ulr: redis://127.0.0.1}\n")
    done = ended(*spelling(name), *(("-o", str(tmp_path)) if name == "parquet" else ()), "--config", str(bad))
    assert (done.returncode, "did you mean 'url'" in done.stderr) == (1, True)
    port = free_port()
    options = ("-o", str(tmp_path)) if name == "parquet" else ()
    away = ended(*spelling(name), *options, "--redis", f"redis://:hunter2@127.0.0.1:{port}/0", "--http", "off")
    assert (away.returncode, f"redis://127.0.0.1:{port}/0" in away.stderr) == (2, True)
    assert "hunter2" not in away.stderr


@BOTH
@pytest.mark.parametrize("option", ["--redis-ca-file", "--redis-cert-file"])
def test_a_file_that_holds_no_certificate_is_named(spelling, option) -> None:
    done = ended(*spelling("books"), "--redis", "rediss://127.0.0.1:1", option, "/etc/passwd")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("books: /etc/passwd holds no PEM certificate")


def test_the_package_lists_its_services() -> None:
    done = ended(sys.executable, "-m", "consumers")
    assert done.returncode == 0
    for name in ("books", "wallets", "candles", "parquet", "nautilus", "web"):
        assert f"python -m consumers.{name}" in done.stdout


def test_copied_out_a_service_does_without_the_command(redis_server: RedisServer, tmp_path) -> None:
    """What docs/explanation/architecture.md says may be copied out is enough."""
    [words] = re.findall(
        r"^- `consumers/`: from\s+`bridge`\s+only\s+(.*?)\.", ARCHITECTURE.read_text(), re.MULTILINE | re.DOTALL
    )
    parts = re.findall(r"`([\w/]+)`", words)
    for package in ("bridge", "bridge/redis", "bridge/process"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for name in parts:
        (tmp_path / "bridge" / f"{name}.py").write_bytes((ROOT / "bridge" / f"{name}.py").read_bytes())
    (tmp_path / "consumers").mkdir()
    for path in (ROOT / "consumers").glob("*.py"):
        (tmp_path / "consumers" / path.name).write_bytes(path.read_bytes())
    with redis_server.client() as client:
        book = Stream(client, Channel.BOOK)
        book.snapshot("10:1", "11:1")
        client.hset("bridge:catalog", book.key, "{}")
        words = (sys.executable, "-m", "consumers.books", "--redis", redis_server.url, "--http", "off")
        with running(*words, cwd=tmp_path, PYTHONPATH=str(tmp_path)) as books:
            assert json.loads(books.stdout.readline())["pair"] == "BTC-EUR"
