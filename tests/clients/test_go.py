"""The Go client: its own tests, the conformance cases, and its book beside the Python reader's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.clients.building import CLIENTS, go_environment, ran
from tests.clients.disturbing import BOOK, disturb
from tests.clients.following import Program, books_by_id
from tests.e2e.conftest import Bench
from tests.environment import clean_environment
from tests.servers import RedisServer
from tests.unit.doc_pages import DOCS, ROOT, blocks, text

EXAMPLE = CLIENTS / "go" / "cmd" / "book" / "main.go"


def test_its_own_tests(go: Path):
    ran("go", "vet", "./...", cwd=go, env=go_environment())
    assert not ran("gofmt", "-l", ".", cwd=CLIENTS / "go"), "not formatted"
    output = ran("go", "test", "-count=1", "./...", cwd=go, env=go_environment())
    assert output.startswith("ok"), output


def test_conformance(go: Path, redis_server: RedisServer):
    command = [
        sys.executable,
        "-m",
        "conformance",
        "--redis",
        redis_server.url,
        "--subject",
        str(go / "bin" / "conformance"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout, done.stdout


@pytest.mark.parametrize("page", [DOCS / "how-to" / "read-in-go.md"], ids=lambda page: page.name)
def test_the_example_is_the_one_that_is_run(page):
    assert text(EXAMPLE).partition("\n")[2] in blocks(page, "go")


def test_the_examples_of_the_documentation_compile(go: Path):
    [example] = [block for block in blocks(DOCS / "how-to" / "read-in-go.md", "go") if "package" not in block]
    folder = go / "documented"
    folder.mkdir(exist_ok=True)
    head = 'package documented\n\nimport (\n"context"\n"fmt"\n"tickbridge"\n)\n'
    body = f"func Example(ctx context.Context, tb *tickbridge.Client) error {{\n{example}}}\n"
    (folder / "example.go").write_text(f"{head}\n{body}")
    ran("go", "vet", "./documented", cwd=go, env=go_environment())


def test_the_book_is_right_through_drops_and_a_restart(go: Path, bench: Bench, tmp_path: Path):
    bench.simulate(rate=200)
    connector = bench.run()
    program = _example(go, bench, tmp_path)
    with Program(tmp_path, str(program)) as running:
        running.wait(lambda lines: len(lines) > 20, "prices")
        disturb(bench, connector, running)
        lines = running.lines
    expected = asyncio.run(books_by_id(bench.server.url, BOOK, lines[-1].split()[0]))
    invalid = 0
    for line in lines:
        entry, bid, _, ask, *reason = line.split(" ")
        sides = expected[entry]
        if sides is None:
            invalid += 1
            assert (bid, ask) == ("", ""), line
            assert reason != [""], line
        else:
            assert (Decimal(bid), Decimal(ask)) == (max(sides[0]), min(sides[1])), line
    assert invalid


def _example(go: Path, bench: Bench, tmp_path: Path) -> Path:
    """The example, compiled for this server and pair."""
    source = text(EXAMPLE)
    for shown, here in (
        ("redis://127.0.0.1:6379/0", bench.server.url),
        ('"coinbase", "BTC-USD"', '"limitlex", "BTC-EUR"'),
    ):
        assert shown in source
        source = source.replace(shown, here)
    folder = go / "cmd" / tmp_path.name.replace("_", "")
    folder.mkdir(exist_ok=True)
    (folder / "main.go").write_text(source)
    ran("go", "build", "-o", str(tmp_path / "book"), f"./cmd/{folder.name}", cwd=go, env=go_environment())
    return tmp_path / "book"
