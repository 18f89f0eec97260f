"""The end of a socket right behind its last data is noticed at once, under every loop and with both libraries."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.feed.transport import connect
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.unit.test_transport import Heard

_TIMES = 60
_SERVER = """
import asyncio
from tests.unit.test_handshakes import OPEN, frame, server

async def talk(reader, writer, accept):
    writer.write(OPEN.replace(b"ACCEPT", accept))
    await reader.read(10)  # what comes behind that is not read: so the socket ends with a reset, right behind the data
    for text in (b"first", b"last"):
        writer.write(frame(1, text))
        await writer.drain()
    writer.close()

async def main():
    async with server(talk) as url:
        print(url, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture
def url() -> Iterator[str]:
    """A server in a process of its own: in one with its client, the loop or the interpreter's lock would come between."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True, cwd=root, env=clean_environment()
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


async def visit(url: str, library: str) -> None:
    for _ in range(_TIMES):
        heard = Heard()
        peer = await connect("x", url, {}, heard, tls=None, open_timeout=PATIENCE, library=library)
        for text in ("hello" * 10, "hello again" * 10):
            await peer.send(text)
        async with asyncio.timeout(PATIENCE):  # no ping would find it here
            await heard.gone.wait()
        assert len(heard.reasons) == 1
        await peer.close()


@pytest.mark.parametrize("library", ["websockets", "picows"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_end_right_behind_the_last_data(url: str, loop: str, library: str) -> None:
    if library == "picows":
        pytest.importorskip("picows")
    run = asyncio.run if loop == "asyncio" else pytest.importorskip("uvloop").run
    run(visit(url, library))
