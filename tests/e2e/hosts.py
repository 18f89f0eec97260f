"""Hosts with addresses and names of their own: network namespaces, each with a cable to Redis and one to the exchange."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from tests.environment import clean_environment

__all__ = ["Host", "hosts", "no_hosts"]

_EXCHANGE = 1
"""Number of its address; those of hosts begin at 8."""
_EXECUTED = 'hostname "$0" && exec "$@"'


class Host:
    """One host. ``redis`` is the address at which it finds Redis; ``within`` begins the command lines of its processes."""

    def __init__(self, number: int) -> None:
        self.name = f"tb{os.getpid()}h{number}"
        self.redis, inside = _address(8 * number + 1), _address(8 * number + 2)
        self.within: Sequence[str] = (
            *("ip", "netns", "exec", self.name),
            *("unshare", "--uts", "sh", "-c", _EXECUTED, f"host-{number}"),
        )
        self._cable = f"tb{os.getpid()}r{number}"
        _ip("netns", "add", self.name)
        self._inside("link", "set", "lo", "up")
        self._connect(self._cable, self.redis, inside)
        other, inside = _address(8 * number + 5), _address(8 * number + 6)
        self._connect(f"tb{os.getpid()}x{number}", other, inside)
        self._inside("route", "add", _address(_EXCHANGE), "via", other)

    def cut_from_redis(self) -> None:
        """Pull the cable to Redis: connections hang, as after a switch has failed."""
        _ip("link", "set", self._cable, "down")

    def join_redis(self) -> None:
        """Put it in again."""
        _ip("link", "set", self._cable, "up")

    def remove(self) -> None:
        """With its cables."""
        _ip("netns", "del", self.name)

    def _connect(self, cable: str, outside: str, inside: str) -> None:
        _ip("link", "add", cable, "type", "veth", "peer", "name", "end", "netns", self.name)
        _ip("addr", "add", f"{outside}/30", "dev", cable)
        _ip("link", "set", cable, "up")
        self._inside("link", "set", "end", "name", cable)
        self._inside("addr", "add", f"{inside}/30", "dev", cable)
        self._inside("link", "set", cable, "up")

    def _inside(self, *words: str) -> None:
        _ip("-n", self.name, *words)


def no_hosts() -> str:
    """Why there can be none on this machine; empty if there can."""
    if platform.system() != "Linux" or os.geteuid():
        return "network namespaces need root on Linux"
    if lacking := [name for name in ("ip", "unshare", "hostname") if shutil.which(name) is None]:
        return f"not installed: {', '.join(lacking)}"
    name = f"tb{os.getpid()}try"
    try:
        _ip("netns", "add", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "end", "netns", name)
    except subprocess.CalledProcessError as error:
        return f"this machine has no network namespaces: {error.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, env=clean_environment())
    return ""


@contextlib.contextmanager
def hosts(count: int) -> Iterator[tuple[str, list[Host]]]:
    """The address of a further host for the exchange, which is this one, and so many hosts that reach it."""
    exchange = _address(_EXCHANGE)
    with contextlib.ExitStack() as stack:
        _ip("addr", "replace", f"{exchange}/32", "dev", "lo")
        stack.callback(_ip, "addr", "del", f"{exchange}/32", "dev", "lo")
        found: list[Host] = []
        for number in range(1, count + 1):
            found.append(Host(number))
            stack.callback(found[-1].remove)
        yield exchange, found


def _address(number: int) -> str:
    """Of a network of this process' own, so that test runs at the same time do not meet."""
    of_ours = os.getpid() % (100 * 256)
    return f"10.{100 + of_ours // 256}.{of_ours % 256}.{number}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, env=clean_environment())
