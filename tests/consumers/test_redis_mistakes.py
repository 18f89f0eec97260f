"""A mistake in a Redis URL is one line and exit 1, whoever is given the URL; a server that isn't there is exit 2."""

from __future__ import annotations

import subprocess

import pytest

from tests import preloaded
from tests.environment import clean_environment
from tests.servers import free_port

WAYS = {
    "books": ("consumers.books", "--http", "off", "--redis"),
    "wallets": ("consumers.wallets", "--http", "off", "--redis"),
    "tail": ("bridge", "tail", "--redis"),
    "demo": ("bridge", "demo", "--duration", "1", "--redis"),
}
MISTAKES = {
    "redis://me:hunter22@h?timeout=5": "unknown option 'timeout' (did you mean 'socket_timeout'",
    "redis://me:hunter22@h/abc": "should end in a database number",
    "redis://me:hunter22@h:99999": "port from 1 to 65535",
    "redis://me:hunt/er22@h": "percent-encoded",
    "redis+sentinel://me:hunter22@[::1]:26379": "should name the master",
}


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(module, *arguments, env=clean_environment())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("url", MISTAKES)
def test_a_mistake_in_the_url(way, url):
    done = run(*WAYS[way], url)
    assert done.returncode == 1
    assert MISTAKES[url] in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunt" not in done.stdout + done.stderr


@pytest.mark.parametrize("way", ["books", "wallets", "tail"])
@pytest.mark.parametrize("query", ["", "?protocol=3"])
def test_nobody_there(way, query):
    done = run(*WAYS[way], f"redis://:hunter22@127.0.0.1:{free_port()}/0{query}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "hunter22" not in done.stdout + done.stderr
