"""Serves a recording over a local WebSocket, for ``tickbridge replay``.

Each client gets one complete recorded connection: every frame that the exchange sent on it, in order, whatever the
client subscribes to, because an exchange may number the frames of a connection. Recorded REST answers are served on the
same port. The file is read as the clients proceed, and never loaded as a whole.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from aiohttp import WSCloseCode, WSMsgType, web

from bridge.errors import BridgeError
from bridge.recordings.clients import Client, Position
from bridge.recordings.index import RecordedConnection, RecordingIndex, keyed_rows
from bridge.recordings.recording import ExpectRow, RecordingError, RecvRow, SendRow, read_recording
from bridge.recordings.secrets import Redactor
from bridge.recordings.truth import PATH, Truth, truth_of

__all__ = ["MAX_SPEED", "Pacer", "ReplayError", "ReplayServer", "serve_replay"]

MAX_SPEED = math.inf
"""As fast as the client reads."""

_log = logging.getLogger(__name__)

_BATCH = 64 * 1024
"""Bytes of frames per write; a write per frame would cost twenty times as much."""

_SOON = 0.001
"""Seconds below which a frame counts as due, because the event loop does not sleep for less."""

_BREATH = 256
"""Rows of other connections after which to yield to the event loop."""

_CLOSE_TIMEOUT = 1.0
"""Seconds that clients have to close when the server ends."""

_LAST_READS = 30.0
"""Seconds that a client has to read the rest when its connection is closed after the last frame."""


class ReplayError(BridgeError):
    """The replay cannot be served for a reason outside the recording, for example because the port is in use."""


class Pacer:
    """Schedules recorded times, ``speed`` times as fast as recorded; with ``MAX_SPEED`` everything is due at once."""

    def __init__(self, speed: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not speed > 0:
            msg = f"speed must be above 0, not {speed}"
            raise ValueError(msg)
        self._speed = speed
        self._clock = clock
        self._start: tuple[float, float] | None = None

    def start(self, ts: float) -> None:
        """The recorded time ``ts`` is now."""
        self._start = (ts, self._clock())

    def wait(self, ts: float) -> float:
        """Seconds until the recorded time ``ts``; 0 when it has passed. The first call starts the clock."""
        if self._start is None:
            self.start(ts)
        assert self._start is not None
        recorded, started = self._start
        return max(0.0, (ts - recorded) / self._speed - (self._clock() - started))


class ReplayServer:
    """A recording being served; made by :func:`serve_replay`."""

    def __init__(
        self,
        path: Path,
        index: RecordingIndex,
        *,
        speed: float,
        once: bool,
        close: bool,
        subscribe_timeout: float,
        report: Callable[[str], None],
        warn: Callable[[str], None],
        truth: Callable[[Callable[[], None]], Truth] | None,
    ) -> None:
        self.url = ""
        """``ws://host:port``, once it is served."""
        self.rest_url = ""
        """``http://host:port``, once it is served."""
        self.frames_sent = 0
        """Frames sent so far, to all clients together."""
        self.connections_served = 0
        """How often a recorded connection was served to its last frame."""
        self._path = path
        self._index = index
        self._speed = speed
        self._once = once
        self._close = close
        self._subscribe_timeout = subscribe_timeout
        self._report = report
        self._warn = warn
        self._redact = Redactor()
        self._clients: set[Client] = set()
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._complete: set[int] = set()
        self._finished = asyncio.Event()
        self._exhausted = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()
        self._truth = truth(self._running.clear) if truth else None
        if not index.connections:
            self._finished.set()

    @property
    def paced(self) -> bool:
        """Whether it follows the clock, so that there is a remaining time."""
        return self._speed != MAX_SPEED

    def positions(self) -> list[Position]:
        """The positions of the current clients."""
        return [client.position(self._speed) for client in self._clients]

    async def finished(self) -> None:
        """Return when every recorded connection has been served to its last frame at least once."""
        await self._finished.wait()

    async def exhausted(self) -> None:
        """With ``once``: return when every recorded connection was handed out and no client is left."""
        await self._exhausted.wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with a WebSocket if one is requested, otherwise with a recorded REST answer."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve(request)
        if self._truth and request.path.startswith(PATH):
            return self._truth.respond(request)
        answer = self._index.answer(request.raw_path)
        if answer is None:
            known = "".join(f"  {path}\n" for path in self._index.answer_paths()) or "  none\n"
            return web.Response(status=404, text=f"The recording has no answer for this path. It has:\n{known}")
        kind = "application/json" if answer.lstrip()[:1] in ("{", "[") else "text/plain"
        return web.Response(text=answer, content_type=kind)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        address = self._redact.url(request.raw_path)
        choice = self._index.choose(request.raw_path, again=not self._once)
        if choice is None:
            reason = "was served (--once)" if self._index.connections else "none: the recording has no WebSocket"
            return web.Response(status=410, text=f"Every recorded connection {reason}.\n")
        recorded, fits = choice
        if not fits:
            self._warn(f"no recorded connection has the address {address}: serving {recorded.name} instead")
        ws = web.WebSocketResponse(compress=False, max_msg_size=0, timeout=_LAST_READS)
        recorded.served += 1
        self._busy += 1
        self._idle.clear()
        try:
            writer = await ws.prepare(request)
            client = Client(ws, writer, request, recorded)
            self._clients.add(client)
            try:
                await self._talk(client, recorded)
            finally:
                self._clients.discard(client)
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()
                if self._once and all(known.served for known in self._index.connections):
                    self._exhausted.set()
        return ws

    async def _talk(self, client: Client, recorded: RecordedConnection) -> None:
        async with asyncio.TaskGroup() as group:
            listener = group.create_task(self._listen(client, recorded), name=f"replay-listen-{recorded.name}")
            sender = group.create_task(self._send(client, recorded), name=f"replay-send-{recorded.name}")
            ending = group.create_task(client.ending.wait(), name=f"replay-ending-{recorded.name}")
            await asyncio.wait({listener, ending}, return_when=asyncio.FIRST_COMPLETED)
            for task in (listener, sender, ending):
                task.cancel()
        # Only now: aiohttp cuts the connection, instead of waiting for the client's part of the closing handshake,
        # when it is closed while another task receives. The client would lose frames that it has yet to read.
        if client.ending.is_set():
            await client.ws.close(code=client.close_code)
        if not client.sent and recorded.frames:
            # Only looked in, or never subscribed: the recorded connection is still to be had.
            recorded.served -= 1
        elif client.sent < recorded.frames:
            self._report(f"{recorded.name}: {client.sent} of {recorded.frames} frames sent, then {client.left()}")

    async def _listen(self, client: Client, recorded: RecordedConnection) -> None:
        async for message in client.ws:
            if message.type is WSMsgType.ERROR:
                self._warn(f"{recorded.name}: the client broke the WebSocket protocol: {message.data}")
                return
            client.spoke.set()
            data = message.data if message.type is WSMsgType.TEXT else f"{len(message.data)} bytes"
            _log.debug("%s: the client says %s", recorded.name, self._redact.sent(data))

    async def _send(self, client: Client, recorded: RecordedConnection) -> None:
        try:
            await self._send_frames(client, recorded)
        except ConnectionError:
            return  # the client left; its side of the conversation ends by itself
        except RecordingError as error:
            self._warn(str(error))
            client.end(WSCloseCode.INTERNAL_ERROR)
            return
        self._report(f"{recorded.name}: {client.sent} frames sent, the recorded connection is complete")
        self.connections_served += 1
        self._complete.add(recorded.index)
        if len(self._complete) == len(self._index.connections):
            self._finished.set()
        if self._close or recorded.followed:
            client.end(WSCloseCode.OK)

    async def _send_frames(self, client: Client, recorded: RecordedConnection) -> None:
        pacer = Pacer(self._speed)
        pacer.start(recorded.ts)
        truth = self._truth.reader(recorded) if self._truth else None
        for number, (key, row) in enumerate(keyed_rows(read_recording(self._path))):
            if number % _BREATH == 0:
                await asyncio.sleep(0)
            if key != recorded.key:
                continue
            if isinstance(row, RecvRow):
                wait = pacer.wait(row.ts)
                if wait > _SOON:
                    await self._flush(client)
                    await asyncio.sleep(wait)
                if truth and not (self._running.is_set() or truth.awaited):
                    await self._flush(client)
                    await self._running.wait()
                client.add(row)
                if truth:
                    truth.sent(row.payload)
                if len(client.batch) >= _BATCH:
                    await self._flush(client)
            elif isinstance(row, ExpectRow):
                if truth:
                    truth.expected(row)
            elif isinstance(row, SendRow) and not client.spoke.is_set():
                await self._flush(client)
                await self._await_client(client, recorded)
                pacer.start(row.ts)
        await self._flush(client)

    async def _flush(self, client: Client) -> None:
        """Write what is due; returns when the client has room for more."""
        self.frames_sent += await client.flush()

    async def _await_client(self, client: Client, recorded: RecordedConnection) -> None:
        """Wait for the client's subscription before sending data, like the exchange."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._subscribe_timeout):
                await client.spoke.wait()
                return
        self._warn(
            f"{recorded.name}: the recorded client subscribed before the exchange sent this; waiting for the client at "
            f"{client.remote} to send its first message"
        )
        await client.spoke.wait()

    async def shut_down(self) -> None:
        """Close all connections as "going away", and abort those that do not answer."""
        for client in self._clients:
            client.end(WSCloseCode.GOING_AWAY)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._idle.wait()
        except TimeoutError:
            # A client that doesn't read leaves no room for the close frame, nor for an orderly end.
            for client in self._clients:
                client.cut()


def _quiet(_: str) -> None:
    """Say nothing."""


@asynccontextmanager
async def serve_replay(
    path: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float = 1.0,
    once: bool = False,
    close: bool = False,
    subscribe_timeout: float = 5.0,
    report: Callable[[str], None] = _quiet,
    warn: Callable[[str], None] = _quiet,
    truth: tuple[str, Sequence[str]] | None = None,
) -> AsyncIterator[ReplayServer]:
    """Serve a recording until the block is left.

    Args:
        path: The recording.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one (see ``server.url``).
        speed: Speed relative to the recording; ``MAX_SPEED``: as fast as each client reads.
        once: Hand out each recorded connection once, and refuse further clients.
        close: Close a connection after its last frame instead of leaving it open.
        subscribe_timeout: Seconds without a first message of a client after which ``warn`` is called.
        report: Called with a line about each connection that was served.
        warn: Called with a line about possible mistakes of the user.
        truth: An exchange and pairs: also serve what their streams should hold, under ``/sim/``.

    Raises:
        RecordingError: the recording cannot be read; all of it is checked before anything is served.
        ReplayError: the port is not available.
        ConfigError: the recording does not have the pairs of ``truth``, or cannot be compared with.
        ValueError: the speed is not above 0.
    """
    Pacer(speed)
    index = await asyncio.to_thread(RecordingIndex.of, Path(path))
    server = ReplayServer(
        Path(path),
        index,
        speed=speed,
        once=once,
        close=close,
        subscribe_timeout=subscribe_timeout,
        report=report,
        warn=warn,
        truth=partial(truth_of, *truth, index) if truth else None,
    )
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_TIMEOUT)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ReplayError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        bound = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        server.url = f"ws://{shown}:{bound}"
        server.rest_url = f"http://{shown}:{bound}"
        yield server
        await server.shut_down()
    finally:
        await runner.cleanup()
