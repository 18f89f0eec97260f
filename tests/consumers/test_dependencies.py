"""A reader needs redis and msgspec, and nothing else that a connector needs."""

from __future__ import annotations

import subprocess
import sys

from bridge.model import Channel
from tests.consumers.streams import Stream
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer
from tests.unit.doc_pages import ROOT

LIGHT = ("reader", "positions", "items", "keeper", "wallet", "groups", "instruments", "patterns", "sync")
# redis-py needs `async_timeout` on Pythons before 3.11.3.
BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {"redis", "async_timeout", "msgspec", "bridge", "consumers"}:
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Blocked())
"""


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", BLOCK + script, *arguments]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=clean_environment(), timeout=PATIENCE
    )
    assert ran.stderr == ""
    return ran.stdout


def test_modules_that_need_only_redis_and_msgspec() -> None:
    script = "".join(f"import consumers.{name}\n" for name in LIGHT)
    assert run(f"{script}print('aiohttp' in sys.modules, 'hiredis' in sys.modules)") == "False False\n"


def test_what_is_blocked_would_be_found() -> None:
    assert (
        run("try:\n    import consumers.books\nexcept ImportError as error:\n    print(error)")
        == "aiohttp is not to be imported\n"
    )


def test_a_book_is_read_without_the_rest(redis_server: RedisServer) -> None:
    """Without hiredis, too."""
    with redis_server.client() as client:
        book = Stream(client, Channel.BOOK)
        book.snapshot("10:1 9:1", "11:1")
        book.delta("10:0")
    script = """
from bridge.keys import Keys
from consumers.keeper import BookKeeper
from consumers.reader import Position
from consumers.sync import SyncReader

key = sys.argv[2]
keeper = BookKeeper(Keys().parse(key))
with SyncReader(sys.argv[1], {key: Position.SNAPSHOT}) as reader:
    while keeper.id != sys.argv[3]:
        for item in reader.read():
            keeper.take(item)
print(keeper.top())
"""
    assert run(script, redis_server.url, book.key, book.id(2)) == "([('9', '1')], [('11', '1')])\n"
