"""The TypeScript client: its own tests, the conformance cases, and its book beside the Python reader's and the truth."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.building import CLIENTS, ran
from tests.clients.disturbing import BOOK, disturb
from tests.clients.following import Program, books_by_id
from tests.e2e.conftest import Bench
from tests.e2e.harness import eventually
from tests.environment import clean_environment
from tests.servers import RedisServer
from tests.unit.doc_pages import DOCS, README, ROOT, blocks, text

TRADES = "md:{limitlex:BTC-EUR}:trades"
EXAMPLE = CLIENTS / "typescript" / "examples" / "book.ts"
PAGES = (README, DOCS / "how-to" / "read-in-typescript.md", CLIENTS / "typescript" / "README.md")


def test_its_own_tests(typescript, redis_server: RedisServer):
    env = clean_environment(TICKBRIDGE_TEST_REDIS=redis_server.url)
    output = ran("npm", "test", cwd=typescript, env=env)
    assert int(re.search(r"^# tests (\d+)$", output, re.MULTILINE)[1]) > 20, output
    assert "# skipped 0" in output, output


def test_conformance(typescript, redis_server: RedisServer):
    subject = f"node {typescript / 'dist' / 'test' / 'conformance.js'}"
    command = [sys.executable, "-m", "conformance", "--strict", "--redis", redis_server.url, "--subject", subject]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed, 0 skipped" in done.stdout, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_example_is_the_one_that_is_run(page):
    assert text(EXAMPLE) in blocks(page, "ts")


def test_the_example_prints_the_best_prices(typescript, bench: Bench, tmp_path: Path):
    bench.simulate(rate=200)
    connector = bench.run()
    compiled = typescript / "dist" / "examples" / "book.js"
    program = compiled.read_text()
    for shown, here in (
        ("redis://127.0.0.1:6379/0", bench.server.url),
        ('"coinbase", "BTC-USD"', '"limitlex", "BTC-EUR"'),
    ):
        assert shown in program
        program = program.replace(shown, here)
    mine = compiled.with_name(f"{tmp_path.name}.js")
    mine.write_text(program)
    with Program(tmp_path, "node", str(mine)) as running:
        running.wait(lambda lines: len(lines) > 20, "prices")
        disturb(bench, connector, running)
        lines = running.lines
    expected = asyncio.run(books_by_id(bench.server.url, BOOK, lines[-1].split()[0]))
    for line in lines:
        entry, _, said = line.partition(" ")
        sides = expected[entry]
        if sides is None:
            assert said.startswith("invalid: "), line
        else:
            best = (max(sides[0]), min(sides[1]))
            assert tuple(map(type(best[0]), said.split(" / "))) == best, line


@pytest.mark.parametrize("outage", ["restart", "stuck"])
def test_an_outage_of_redis_is_outlived(outage, typescript, own_server: RedisServer, tmp_path: Path):
    fields = {"type": "trade", "ts": "", "recv": "1", "id": "", "side": "buy", "price": "1.50", "size": "2"}

    def add(seqs: range) -> None:
        with own_server.client() as client:
            for seq in seqs:
                client.xadd(TRADES, fields, id=f"{1795302525000 + seq}-{seq}")

    follow = str(typescript / "dist" / "test" / "follow.js")
    add(range(1, 11))
    with Program(tmp_path, "node", follow, own_server.url, "trades", "limitlex", "BTC-EUR") as program:
        program.wait(lambda lines: len(lines) == 10, "the first trades")
        with _away(own_server, outage):
            eventually(lambda: "outage: Redis at" in program.errors, "the outage is reported")
        add(range(11, 21))
        program.wait(lambda lines: len(lines) >= 20, "the trades after the outage")
        rows = [json.loads(line) for line in program.lines]
        assert [row["id"].split("-")[1] for row in rows] == [str(seq) for seq in range(1, 21)]
        assert {row["kind"] for row in rows} == {"trade"}
        eventually(lambda: program.errors.endswith("over\n"), "its end is reported")
        assert program.stop() == 0


@contextmanager
def _away(server: RedisServer, outage: str) -> Iterator[None]:
    """The server is stopped, or takes connections and says nothing."""
    if outage == "restart":
        server.stop()
        yield
        server.start()
    else:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_the_examples_of_the_documentation_compile(typescript):
    folder = typescript / "documented"
    folder.mkdir(exist_ok=True)
    shown = blocks(DOCS / "how-to" / "read-in-typescript.md", "ts")
    assert len(shown) > 2
    for number, block in enumerate(shown):
        head = (
            ""
            if "import" in block
            else 'import { Tickbridge } from "@tickbridge/client";\nconst tb = new Tickbridge("");\n'
        )
        (folder / f"example{number}.ts").write_text(head + block)
    config = {"extends": "../tsconfig.json", "compilerOptions": {"noEmit": True, "rootDir": ".."}, "include": ["*.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    ran("npx", "tsc", "--project", str(folder), cwd=typescript)
