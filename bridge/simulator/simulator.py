"""A simulated exchange on a port: the paths of its dialect and of its control, with or without TLS."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from ssl import SSLContext

from aiohttp import web
from msgspec import Struct

from bridge.simulator import control
from bridge.simulator.simulation import Simulation
from bridge.simulator.tls import server_context

__all__ = ["ListenError", "Simulator", "Urls"]


class ListenError(OSError):
    """The port is taken, or the address isn't this machine's."""


class Urls(Struct, frozen=True):
    """Where a running simulator is reached; ``ca_file`` is the CA to trust when it serves TLS."""

    ws: str
    rest: str
    control: str
    port: int
    ca_file: Path | None = None


class Simulator(Simulation):
    """A simulation that can be served."""

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Urls]:
        """Serve on ``host:port`` (0: any free port) as long as the block runs.

        Raises:
            ConfigError: no certificate can have this host's name, or a fault of the start isn't the exchange's.
            ListenError: the port is taken, or the address isn't this machine's.
            OSError: a certificate or the journal cannot be written.
        """
        context, ca_file = self._tls(host) if self.config.tls else (None, None)
        app = web.Application(client_max_size=65_536)
        app.on_response_prepare.append(self._date)
        self.dialect.add_routes(app)
        control.add_routes(app, self)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        listener = _listen(host, port)
        try:
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=context).start()
            self.start()
            yield self._urls(host, listener.getsockname()[1], ca_file)
        finally:
            await self.stop()
            await runner.cleanup()
            listener.close()
            self.close()

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = format_datetime(datetime.fromtimestamp(int(self._shown_clock()), UTC), usegmt=True)

    def _tls(self, host: str) -> tuple[SSLContext, Path]:
        directory = self.config.tls_dir or Path(tempfile.mkdtemp(prefix="tickbridge-simulator-"))
        names = () if host in ("", "0.0.0.0", "::") else (host,)  # noqa: S104 - compared, not bound
        return server_context(directory, datetime.fromtimestamp(self._clock(), UTC), names)

    def _urls(self, host: str, port: int, ca_file: Path | None) -> Urls:
        shown = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host  # noqa: S104 - as above
        where = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
        secure = "s" if ca_file else ""
        rest = f"http{secure}://{where}"
        return Urls(
            f"ws{secure}://{where}{self.dialect.ws_path}", rest + self.dialect.rest_path, f"{rest}/sim", port, ca_file
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ListenError(error.errno, error.strerror) from None
    return listener
