"""``tickbridge doctor``: what it collects, and that no secret gets into it, wherever one was."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from bridge.model import Channel
from tests.cli.feeds import Feed
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

PASSWORD, KEY, SECRET = "pass-W0rd/of:redis", "apikey-8f3a77c1", "api-secret-b81e/+=="
ELSEWHERE = "somebody-elses-5ecret"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPlantedPlantedPlanted\n-----END PRIVATE KEY-----"
PLANTED = (PASSWORD, KEY, SECRET, ELSEWHERE, "MC4CAQAwBQYDK2VwBCIEIPlantedPlantedPlanted")


def spellings(secret: str) -> set[str]:
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()}


def run(*arguments: str, code: int = 0, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "doctor", *arguments],
        capture_output=True, text=True, timeout=PATIENCE, env={**clean_environment(), **env}, input=stdin, check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def config(path: Path, url: str, more: str = "") -> Path:
    secret = path / "main.pem"
    secret.write_text(f"{PEM}\n")
    secret.chmod(0o600)
    file = path / "tickbridge.yaml"
    file.write_text(
        f"redis: {{url: '{url}'}}\n"
        "connectors:\n"
        "  - {name: lm, exchange: lmex, pairs: [BTC-USD], channels: [trades], account: main,\n"
        f"     proxy: 'http://me:{quote(ELSEWHERE)}@127.0.0.1:3128'}}\n"
        "accounts:\n"
        f"  main: {{exchange: lmex, api_key: {KEY}, api_secret: '{SECRET}'}}\n"
        f"  other: {{exchange: limitlex, api_key: {KEY}, api_secret_file: {secret}}}\n{more}"
    )
    file.chmod(0o600)
    return file


def log() -> str:
    """Lines as they might be: ours, a proxy's, a curl's, a dump of settings, a key over several lines."""
    basic = base64.b64encode(f"me:{ELSEWHERE}".encode()).decode()
    lines = [
        '{"event": "started", "level": "info"}',
        f"connecting to redis://default:{quote(PASSWORD, safe='')}@db:6379/0",
        f"Authorization: Bearer {ELSEWHERE}",
        f"Authorization: Basic {basic}",
        json.dumps(
            {"headers": {"KC-API-PASSPHRASE": ELSEWHERE, "X-Api-Key": KEY}, "body": json.dumps({"secret": SECRET})}
        ),
        f"AWS_SECRET_ACCESS_KEY={ELSEWHERE} DB_PASSWORD='{ELSEWHERE}' token => {ELSEWHERE}",
        f"https://exchange.example/x?signature={ELSEWHERE}&api_key={KEY}",
        f"GET https://{ELSEWHERE}@host/x",
        f"it said {SECRET!r} and {PASSWORD}",
        PEM,
        "the last line",
    ]
    return "\n".join(lines) + "\n"


def expect_no_secret(text: str) -> None:
    for secret in PLANTED:
        for spelling in spellings(secret):
            assert spelling not in text, spelling
    assert base64.b64encode(f"me:{ELSEWHERE}".encode()).decode() not in text


def test_it_collects_everything_and_no_secret(redis_server: RedisServer, tmp_path: Path) -> None:
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "me", "reset", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        feed = Feed(client)
        feed.beat()
        key = feed.list("BTC-EUR", Channel.TRADES, "down")
        down = {
            "type": "control",
            "ts": "",
            "recv": "1",
            "event": "down",
            "reason": f"password={ELSEWHERE}",
            "count": "",
        }
        client.xadd(key, down, id="1786309548031-1")
        feed.trade(key, 2, 1786309548032)
        client.hset("bridge:connector:limitlex", "note", f"token={ELSEWHERE}")
    url = redis_server.url.replace("redis://", f"redis://me:{quote(PASSWORD, safe='')}@")
    (tmp_path / "bridge.log").write_text(log())
    target = tmp_path / "report.txt"
    where = ("--config", str(config(tmp_path, url)), "--output", str(target))
    done = run(*where, "--log", str(tmp_path / "bridge.log"), "--log", "-", stdin=log(), SOME_TOKEN=ELSEWHERE)
    text = target.read_text()
    for part in (
        "tickbridge 0.",
        "redis_version",
        "connector limitlex (limitlex): ",
        "1 streams: 1 ",
        "accounts.main.api_key = ***",
    ):
        assert part in text, part
    [control] = [line for line in text.splitlines() if "1786309548031-1" in line]
    assert f"{key} 2026-08-09T21:05:48Z 1786309548031-1 down password=***" in control
    assert text.count("the last line") == 2
    assert '"event": "started"' in text
    expect_no_secret(text + done.stdout + done.stderr)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert "cannot write it: File exists" in run(*where, code=1).stderr


@pytest.mark.parametrize(
    "more",
    ["nonsense: 1\n", "  x: [broken\n", f"  second: {{exchange: nowhere, api_secret: {ELSEWHERE}}}\n"],
    ids=["unknown key", "no YAML", "no exchange"],
)
def test_an_invalid_config_is_told_and_its_secrets_are_not(tmp_path: Path, more: str) -> None:
    file = config(tmp_path, f"redis://me:{quote(PASSWORD, safe='')}@127.0.0.1:1", more)
    dumped = f"settings: {KEY} {SECRET} {quote(PASSWORD, safe='')} {ELSEWHERE}\n{PEM.splitlines()[1]}\n"
    done = run("--config", str(file), "--output", "-", "--log", "-", stdin=log() + dumped, A_PASSWORD=ELSEWHERE)
    assert "invalid: " in done.stdout
    assert "not asked: the config is invalid" in done.stdout
    expect_no_secret(done.stdout + done.stderr)


def test_without_redis_the_report_says_so(tmp_path: Path) -> None:
    done = run("--config", str(config(tmp_path, f"redis://127.0.0.1:{free_port()}")), "--output", "-")
    assert done.stdout.count("not available: ") == 2
    assert "Control entries" in done.stdout


def test_no_half_of_a_secret_is_left_where_a_line_or_a_log_is_cut(redis_server: RedisServer, tmp_path: Path) -> None:
    """Masks know whole secrets: what is too long is cut afterwards."""
    half = SECRET[:6]
    lines = [f"{'x' * length} {SECRET} {'y' * more}" for length in (1990, 3990, 65_530) for more in (0, 70_000)]
    # The middle of a key that began earlier.
    (tmp_path / "long.log").write_text("\n".join([*lines, PEM, "the last line"]) + "\n")
    with redis_server.client() as client:
        feed = Feed(client)
        feed.beat()
        key = feed.list("BTC-EUR", Channel.TRADES, "down")
        client.hset("bridge:connector:limitlex", "note", lines[0])
        down = {"type": "control", "ts": "", "recv": "1", "event": "down", "reason": lines[0], "count": ""}
        client.xadd(key, down, id="1786309548031-1")
    where = ("--config", str(config(tmp_path, redis_server.url)), "--output", "-", "--log", str(tmp_path / "long.log"))
    for count in ("3", "10"):
        text = run(*where, "--lines", count).stdout
        assert "the last line" in text
        assert half not in text
        assert max(map(len, text.splitlines())) < 2_100, "a line is cut"
        expect_no_secret(text)


def test_a_log_may_hold_any_bytes(tmp_path: Path) -> None:
    raw = subprocess.run(
        [sys.executable, "-m", "bridge", "doctor", "--output", "-", "--log", "-"],
        capture_output=True, timeout=PATIENCE, input=b"first\n\xff\xfe\nlast\n", check=False, cwd=tmp_path,
        env={**clean_environment(), "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    assert raw.returncode == 0, raw.stderr
    assert b"last" in raw.stdout


def test_a_closed_output_and_a_full_disk_are_no_crash(tmp_path: Path) -> None:
    run("--output", str(tmp_path / "whole.txt"))
    for script, code, said in (
        (f"{sys.executable} -m bridge doctor --output - >&-", 0, ""),
        # A file must not grow beyond 512 bytes.
        (
            f"ulimit -f 1; {sys.executable} -m bridge doctor --output part.txt",
            2,
            "cannot write part.txt: File too large",
        ),
    ):
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=tmp_path,
            env={**clean_environment(), "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert not (tmp_path / "part.txt").exists()


def test_mistakes_in_arguments(tmp_path: Path) -> None:
    assert "cannot read it: No such file" in run("--log", str(tmp_path / "no.log"), code=1).stderr
    assert "--lines: should be at least 1" in run("--lines", "0", code=1).stderr
    only = run("--output", "-", "--log", "-", "--lines", "1", stdin="first\nlast\n").stdout
    assert "last" in only
    assert "first" not in only.partition("## Log")[2].replace("the last 1 lines", "")
