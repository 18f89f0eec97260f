"""The full-screen view. A thread draws it and reads the keys, so that a blocked terminal does not block the demo."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from rich.console import RenderableType

from bridge.process.starting import DRAWING, collect_as_usual, collect_rarely
from bridge.view.device import Device
from bridge.view.keys import Keys
from bridge.view.painter import Painter

__all__ = ["FullScreen"]

Picture = Callable[[int, int], RenderableType]
"""Draws one moment into so many columns and rows."""

_EVERY = 0.2
_SWITCH_EVERY = 0.0005
_ESCAPE_SECONDS = 0.15
"""Seconds that the rest of an escape sequence may take; after that, it was the escape key."""
_CLOSE_SECONDS = 1.0
"""Seconds that closing the view waits for a terminal that does not read."""


class FullScreen:
    """Shows pictures on the whole terminal; calls ``pressed`` in the event loop with the name of each key.

    While the terminal has not read one picture, further ones are skipped: a picture is shown completely or not at all,
    and nothing waits for the terminal. Ctrl-Z releases the terminal until the shell resumes the program.
    """

    def __init__(self, device: Device, pressed: Callable[[str], None]) -> None:
        self._device = device
        self._pressed = pressed
        self._thread: _TerminalThread | None = None
        self._key_pressed = asyncio.Event()

    @property
    def open(self) -> bool:
        return self._thread is not None

    async def show(self, take: Callable[[], Picture]) -> None:
        """Take and show pictures several times a second, and after each key, until cancelled or the terminal is gone.

        Raises:
            Exception: any error while drawing.
        """
        loop = asyncio.get_running_loop()

        def pressed(key: str) -> None:
            loop.call_soon_threadsafe(self._take_key, key)

        thread = self._thread = _TerminalThread(self._device, pressed)
        with ExitStack() as stack:
            stack.enter_context(_job_control(thread))
            # Drawing takes some milliseconds; a short switch interval keeps it from delaying the reader.
            stack.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(_SWITCH_EVERY)
            # Pictures are made of many small objects; a full collection after them would stop the reader for 300 ms.
            stack.callback(collect_as_usual)
            collect_rarely(DRAWING)
            thread.start()
            while thread.is_alive():
                if thread.idle:
                    thread.offer(take())
                with suppress(TimeoutError):
                    async with asyncio.timeout(_EVERY):
                        await self._key_pressed.wait()
                self._key_pressed.clear()
        if thread.error is not None:
            raise thread.error

    def _take_key(self, key: str) -> None:
        self._pressed(key)
        self._key_pressed.set()

    async def close(self) -> None:
        """Release the terminal; no effect if it is not in use."""
        if thread := self._thread:
            thread.finish()
            await asyncio.to_thread(thread.join)
            self._thread = None

    def abandon(self) -> None:
        """Release the terminal at once, even if it does not read."""
        if thread := self._thread:
            thread.finish(patience=0.0)
            thread.join(_CLOSE_SECONDS)
            self._thread = None


class _TerminalThread(threading.Thread):
    """The thread that reads and writes the terminal."""

    def __init__(self, device: Device, pressed: Callable[[str], None]) -> None:
        super().__init__(name="view", daemon=True)
        self.error: Exception | None = None
        self._device = device
        self._pressed = pressed
        self._keys = Keys()
        self._painter = Painter()
        self._picture: Picture | None = None
        self._output = memoryview(b"")
        self._patience = _CLOSE_SECONDS
        self._finishing = False
        self._suspended = False
        self._again = False
        self._left = threading.Event()
        self._wake_end, self._waker = os.pipe()

    @property
    def idle(self) -> bool:
        """Whether the terminal has read all pictures."""
        return self._picture is None and not self._output

    def offer(self, picture: Picture) -> None:
        self._picture = picture
        self._wake()

    def finish(self, patience: float = _CLOSE_SECONDS) -> None:
        """End; the terminal has ``patience`` seconds to read the picture in progress."""
        self._patience = patience
        self._finishing = True
        self._wake()

    def suspend(self) -> None:
        """Release the terminal for now; returns when that is done."""
        self._left.clear()
        self._suspended = True
        self._wake()
        self._left.wait(2 * _CLOSE_SECONDS)

    def resume(self) -> None:
        """Use the terminal again, as soon as this program is in the foreground."""
        self._suspended = False
        self._again = True
        self._wake()

    def run(self) -> None:
        try:
            with suppress(OSError):  # the terminal is gone
                while not self._finishing:
                    self._turn()
        except Exception as error:  # noqa: BLE001  (raised by FullScreen.show)
            self.error = error
        finally:
            with suppress(OSError):
                self._leave()
            self._device.close()
            self._left.set()

    def _turn(self) -> None:
        """Wait for something to do, and do it."""
        if self._suspended and not self._left.is_set():
            self._leave()
            self._left.set()
        elif not self._suspended and (self._again or not self._device.entered) and self._device.in_foreground:
            self._again = False
            self._output = memoryview(self._device.enter())
            self._painter.forget()
        ours = self._device.entered and self._device.in_foreground
        number = self._device.number
        patience = _ESCAPE_SECONDS if self._keys.waiting else _EVERY
        readers = [self._wake_end, number] if ours else [self._wake_end]
        readable, writable, _ = select.select(readers, [number] if ours and self._output else [], [], patience)
        if self._wake_end in readable:
            os.read(self._wake_end, 64)
        if number in readable:
            self._read()
        elif self._keys.waiting and not readable:
            self._press(self._keys.flush())
        if writable:
            self._write()
        if ours and not self._output and (picture := self._picture):
            size = self._device.size
            self._output = memoryview(self._painter.paint(picture(*size), *size).encode())
            self._picture = None

    def _read(self) -> None:
        try:
            data = os.read(self._device.number, 1024)
        except BlockingIOError:
            return
        if not data:
            raise OSError("the terminal is closed")
        self._press(self._keys.feed(data))

    def _press(self, keys: list[str]) -> None:
        for key in keys:
            with suppress(RuntimeError):  # the loop is closed
                self._pressed(key)

    def _write(self) -> None:
        with suppress(BlockingIOError):
            self._output = self._output[os.write(self._device.number, self._output) :]

    def _leave(self) -> None:
        """Finish the picture in progress, and restore the terminal."""
        if not self._device.entered:
            return
        self._drain()
        if self._output:
            # The output may be cut within a sequence; the next escape character ends that.
            self._device.discard_output()
        self._output = memoryview(self._device.leave())
        self._drain()
        self._output = memoryview(b"")

    def _drain(self) -> None:
        deadline = time.monotonic() + self._patience
        while self._output:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([], [self._device.number], [], left)[1]:
                return
            self._write()

    def _wake(self) -> None:
        with suppress(OSError):
            os.write(self._waker, b".")


@contextmanager
def _job_control(thread: _TerminalThread) -> Iterator[None]:
    """Restore the terminal when Ctrl-Z stops the program, and show the view again after ``fg``."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        thread.suspend()
        # By the default action, which the system skips if no shell could resume the program.
        usual = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, usual)
        thread.resume()

    loop.add_signal_handler(signal.SIGTSTP, stop)
    loop.add_signal_handler(signal.SIGCONT, thread.resume)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTSTP)
        loop.remove_signal_handler(signal.SIGCONT)
