"""Redis URLs taken apart, and what is wrong with some."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import ConnectionPool, SSLConnection
from redis.asyncio.sentinel import SentinelConnectionPool

from bridge.redis.topology import Kind, Topology, safe_url, slot_of


@pytest.mark.parametrize(
    ("url", "kind", "tls", "nodes", "master"),
    [
        ("redis://h:1/0", Kind.SERVER, False, [("h", 1)], ""),
        ("rediss://u:p@h", Kind.SERVER, True, [("h", 6379)], ""),
        ("unix:///run/r.sock?db=1", Kind.SERVER, False, [], ""),
        (
            "redis+sentinel://a,b:1,[::1]:2/mymaster",
            Kind.SENTINEL,
            False,
            [("a", 26379), ("b", 1), ("::1", 2)],
            "mymaster",
        ),
        ("rediss+sentinel://:p@a/m/3", Kind.SENTINEL, True, [("a", 26379)], "m"),
        ("redis+cluster://u:p@a,b:7000/0", Kind.CLUSTER, False, [("a", 6379), ("b", 7000)], ""),
        ("rediss+cluster://a", Kind.CLUSTER, True, [("a", 6379)], ""),
    ],
)
def test_a_url_taken_apart(url, kind, tls, nodes, master):
    topology = Topology(url)
    assert (topology.kind, topology.tls, topology.nodes, topology.master) == (kind, tls, nodes, master)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://h", "should start with"),
        ("redis+sentinels://h/m", "should start with"),
        ("redis+sentinel://h", "should name the master"),
        ("redis+sentinel://h/m/x", "should name the master"),
        ("redis+sentinel://h:x/m", "should have a port from 1 to 65535"),
        ("redis+cluster://h,,i", "should name a host"),
        ("redis+cluster://h/1", "should not have a database number"),
        ("redis+sentinel://h/m?sentinel_db=1", "unknown option 'sentinel_db'"),
    ],
)
def test_what_is_wrong_is_said_without_quoting(url, message):
    secret = "hunter22"
    with pytest.raises(ValueError, match=message) as caught:
        Topology(url.replace("://", f"://u:{secret}@"))
    assert secret not in str(caught.value)


async def test_passwords_go_where_they_belong():
    url = "rediss+sentinel://u:p%40@a:1,b/m/2?sentinel_username=su&sentinel_password=s%26p&socket_keepalive=no"
    pool = Topology(url, ca_file="/ca.pem", cert_file="/c.pem", key_file="/k.pem").pool(socket_connect_timeout=3)
    assert isinstance(pool, SentinelConnectionPool)
    options = pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("u", "p@", 2)
    assert (options["ssl_ca_certs"], options["ssl_certfile"], options["ssl_keyfile"]) == ("/ca.pem", "/c.pem", "/k.pem")
    for sentinel in pool.sentinel_manager.sentinels:
        theirs = sentinel.connection_pool.connection_kwargs
        assert (theirs["username"], theirs["password"], theirs["ssl_ca_certs"]) == ("su", "s&p", "/ca.pem")
        assert theirs["socket_connect_timeout"] == 1, "a dead Sentinel leaves time for the others"


async def test_after_a_failover_all_connections_are_to_the_new_master(redis_server, own_server):
    """Also those that were in use at the moment when the pool learnt of it."""
    addresses = [("127.0.0.1", server.port) for server in (redis_server, own_server)]
    pool: Any = Topology("redis+sentinel://a/m").pool()
    said = addresses[0]

    async def discover(_: str) -> tuple[str, int]:
        return said

    pool.sentinel_manager.discover_master = discover
    try:
        old, idle = await pool.get_connection(), await pool.get_connection()
        await pool.release(idle)
        assert idle.is_connected
        said = addresses[1]
        await pool.disconnect(inuse_connections=False)  # so that one has to be opened
        new = await pool.get_connection()
        assert (new.host, new.port) == addresses[1]
        await pool.release(old)
        again = await pool.get_connection()
        assert again is old
        assert (again.host, again.port) == addresses[1]
        await pool.release(new)
        assert new.is_connected
        await pool.release(again)
    finally:
        await pool.disconnect()


@pytest.mark.parametrize(
    ("raised", "expected"), [(RuntimeError, exceptions.ConnectionError), (TimeoutError, exceptions.TimeoutError)]
)
@pytest.mark.parametrize("to_sentinel", [False, True])
async def test_a_connection_that_was_just_closed_is_an_error_of_redis(redis_server, raised, expected, to_sentinel):
    """uvloop raises a RuntimeError, after which nobody would try again, nor ask the next Sentinel."""
    if to_sentinel:
        whole: Any = Topology(f"redis+sentinel://127.0.0.1:{redis_server.port}/m").pool()
        pool = whole.sentinel_manager.sentinels[0].connection_pool
    else:
        pool = Topology(redis_server.url).pool()
    connection = await pool.get_connection()

    def writelines(_: Any) -> None:
        raise raised("the handler is closed")

    try:
        connection._writer.writelines = writelines
        with pytest.raises(expected):
            await connection.send_command("PING")
        assert not connection.is_connected
    finally:
        await pool.release(connection)
        await pool.disconnect()


async def test_a_node_of_a_cluster():
    pool = Topology("rediss+cluster://u:p@a:1,b:2").pool(("c", 3))
    assert isinstance(pool, ConnectionPool)
    assert issubclass(pool.connection_class, SSLConnection)
    assert (pool.connection_kwargs["host"], pool.connection_kwargs["port"]) == ("c", 3)
    assert pool.connection_kwargs["password"] == "p"


def test_addresses_without_secrets():
    assert safe_url("redis+sentinel://u:p@a,b:1/m/0?sentinel_password=s") == "redis+sentinel://a,b:1/m/0"


def test_a_pair_is_one_slot():
    keys = ["md:{limitlex:BTC-EUR}:trades", "md:{limitlex:BTC-EUR}:book:snapshot", "prod:md:{limitlex:BTC-EUR}:book"]
    assert len({slot_of(key) for key in keys}) == 1
    assert slot_of("foo") == 12182  # as `CLUSTER KEYSLOT foo` has it
