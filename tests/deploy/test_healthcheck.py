"""The image's health check, against real servers."""

from __future__ import annotations

import http.server
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.config import HttpSettings
from consumers import books, candles, parquet, wallets, web
from tests.servers import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that answers every page with this status; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, name="answers", daemon=True).start()
        yield str(server.server_port)
        server.shutdown()


@pytest.fixture
def check(monkeypatch):
    monkeypatch.delenv("TICKBRIDGE_HTTP__PORT", raising=False)
    spec = importlib.util.spec_from_file_location("healthcheck", ROOT / "deploy" / "healthcheck.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_default_ports_are_those_of_the_services(check):
    ports = [HttpSettings().port, *(each.HTTP_PORT for each in (books, wallets, candles, web, parquet))]
    assert tuple(map(str, ports)) == check.DEFAULT_PORTS
    assert len(set(ports)) == 6
    exposed = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("EXPOSE")]
    assert exposed == [f"EXPOSE {' '.join(check.DEFAULT_PORTS)}"]


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_whichever_service_runs_is_asked(check, monkeypatch, capsys, status, code):
    with answering(status) as port:
        monkeypatch.setattr(check, "DEFAULT_PORTS", (str(free_port()), port))
        assert check.main(["readyz"]) == code
    assert "/readyz" in capsys.readouterr().out


def test_only_the_port_that_is_set_is_asked(check, monkeypatch):
    with answering(200) as port, answering(503) as other:
        monkeypatch.setattr(check, "DEFAULT_PORTS", (port,))
        monkeypatch.setenv("TICKBRIDGE_HTTP__PORT", other)
        assert check.main([]) == 1
        assert check.main([f"http://127.0.0.1:{port}/x"]) == 0


def test_nobody_there(check, monkeypatch, capsys):
    port = free_port()
    monkeypatch.setattr(check, "DEFAULT_PORTS", (str(port),))
    assert check.main([]) == 1
    assert f"http://127.0.0.1:{port}/livez: " in capsys.readouterr().out
