"""Redis URLs as people write them: what each leads to, and what is said of those that are wrong."""

from __future__ import annotations

import pytest
from redis.asyncio import Connection, ConnectionPool, Redis

from bridge.redis.topology import Topology, by_stream, flat_map
from bridge.redis.url import Kind, RedisUrl, RedisUrlError, passwords_of, safe_url


@pytest.mark.parametrize(
    ("url", "nodes", "options"),
    [
        ("redis://h", [("h", 6379)], {}),
        ("redis://h/", [("h", 6379)], {}),
        ("REDIS://h:1/5", [("h", 1)], {"db": 5}),
        ("redis://h/5/", [("h", 6379)], {"db": 5}),
        ("redis://h?db=5", [("h", 6379)], {"db": 5}),
        ("redis://h/3?db=5", [("h", 6379)], {"db": 5}),
        ("redis://[::1]:1/0", [("::1", 1)], {"db": 0}),
        ("redis://[fe80::1%25eth0]:1", [("fe80::1%eth0", 1)], {}),
        ("redis://[fe80::1%eth0]", [("fe80::1%eth0", 6379)], {}),
        ("redis://default@h", [("h", 6379)], {"username": "default"}),
        ("redis://:s@h", [("h", 6379)], {"password": "s"}),
        ("redis://me:p%40s%3As%2Fw%3Fo%23r%25d@h", [("h", 6379)], {"username": "me", "password": "p@s:s/w?o#r%d"}),
        ("redis://me:p@s:s@h:1", [("h", 1)], {"username": "me", "password": "p@s:s"}),
        ("redis://h?username=me&password=a%26b", [("h", 6379)], {"username": "me", "password": "a&b"}),
        ("redis://h?protocol=3&client_name=mine", [("h", 6379)], {"protocol": 3, "client_name": "mine"}),
        ("redis://h?socket_timeout=0.5&socket_keepalive=True", [("h", 6379)], {"socket_timeout": 0.5, "socket_keepalive": True}),
        ("redis://h?health_check_interval=1", [("h", 6379)], {"health_check_interval": 1}),
        ("redis://h?decode_responses=True&max_connections=1&encoding=latin-1&retry_on_timeout=1", [("h", 6379)], {}),
        ("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false", [("h", 6379)], {"ssl_cert_reqs": "none", "ssl_check_hostname": False}),
        ("unix:///run/my%20redis.sock?db=2", [], {"db": 2}),
        ("unix://me:s@/run/my redis.sock", [], {"username": "me", "password": "s"}),
        (
            "redis+sentinel://:p@[::1]:26379,[2001:db8::1],c/m/1?sentinel_password=s%40x",
            [("::1", 26379), ("2001:db8::1", 26379), ("c", 26379)],
            {"password": "p", "db": 1},
        ),
        ("rediss+cluster://[::1]:7000,[fe80::1%25lo]:7001", [("::1", 7000), ("fe80::1%lo", 7001)], {}),
    ],
)  # fmt: skip
def test_what_a_url_leads_to(url, nodes, options):
    parts = RedisUrl.of(url)
    assert (list(parts.nodes), parts.options) == (nodes, options)
    assert Topology(url).nodes == nodes
    if url.startswith("unix"):
        assert parts.path == "/run/my redis.sock"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://h?timeout=5", "unknown option 'timeout'.*did you mean 'socket_timeout'"),
        ("redis://h?protocl=3", "unknown option 'protocl'.*did you mean 'protocol'"),
        ("redis://h?clientname=x", "did you mean 'client_name'"),
        ("rediss://h?ssl_ca_cert=/x", "did you mean 'ssl_ca_certs'"),
        ("redis://h?DB=1", "did you mean 'db'"),
        ("redis://h?zzz=1", "unknown option 'zzz'.*known: db, username"),
        ("redis+sentinel://h/m?sentinel_pasword=x", "did you mean 'sentinel_password'"),
        ("redis://h?db=abc", "db should be a whole number, 0 or more"),
        ("redis://h?db=-1", "db should be a whole number"),
        ("redis://h?db=", "db should be a whole number"),
        ("redis://h/abc", "database number"),
        ("redis://h/-1", "database number"),
        ("redis://h/1/2", "database number"),
        ("redis://h?db=1&db=2", "'db' twice"),
        ("redis://h:99999", "port from 1 to 65535"),
        ("redis://h:0", "port from 1 to 65535"),
        ("redis://h:", "port from 1 to 65535"),
        ("redis://h:abc", "port from 1 to 65535"),
        ("redis://h?socket_timeout=-1", "socket_timeout should be seconds, more than 0"),
        ("redis://h?socket_timeout=nan", "socket_timeout should be seconds"),
        ("redis://h?socket_timeout=inf", "socket_timeout should be seconds"),
        ("redis://h?socket_keepalive=maybe", "socket_keepalive should be true or false"),
        ("redis://h?protocol=4", "protocol should be 2 or 3"),
        ("redis://h?client_name=a%20b", "client_name should be a name"),
        ("redis://h?health_check_interval=1.5", "whole number"),
        ("redis://h?ssl_cert_reqs=none", "only in a rediss:// URL"),
        ("rediss://h?ssl_cert_reqs=perhaps", "should be required, optional or none"),
        ("rediss://h?ssl_ca_certs=/nowhere/at.all", "ssl_ca_certs names a file that cannot be read: No such file"),
        ("rediss://h?ssl_ca_certs=/etc/passwd", "ssl_ca_certs names a file that holds no PEM certificate"),
        ("rediss://h?ssl_certfile=/etc/passwd", "ssl_certfile names a file that holds no PEM certificate"),
        ("rediss+cluster://h?ssl_password=x", "which is not supported for a Cluster"),
        ("redis://h?sentinel_password=x", "only in a redis\\+sentinel:// URL"),
        ("redis+cluster://h?db=1", "a Cluster has only one"),
        ("redis://a,b", "one host.*redis\\+sentinel://"),
        ("redis://", "should name a host"),
        ("redis:///0", "should name a host"),
        ("redis://::1:6379", "IPv6 address in brackets"),
        ("redis://[::1", "in brackets"),
        ("redis://[::1]6379", "in brackets"),
        ("redis://[no.ip]:1", "IPv6 address between its brackets"),
        ("redis+sentinel://[::1]:1,[::2/m", "in brackets"),
        ("redis://h ost", "should name a host"),
        ("redis:/h", "should start with redis://"),
        ("localhost:6379", "should start with redis://"),
        ("unix://", "should name a socket"),
        ("unix://run/r.sock", "should name a socket"),
        ("redis://h/0#", "should not contain '#'"),
    ],
)
def test_what_is_wrong_is_said(url, message):
    with pytest.raises(RedisUrlError, match=message):
        RedisUrl.of(url)
    with pytest.raises(RedisUrlError, match=message):
        Topology(url)


@pytest.mark.parametrize(
    "password", ["hun/ter22", "hun?ter22", "hun#ter22", "12/hunter22", "12?hunter22=x", "12?hunter22", "12#hunter22"]
)
@pytest.mark.parametrize("user", ["", "me"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "redis+sentinel"])
def test_a_password_that_is_not_encoded_is_said_and_not_shown(scheme, user, password):
    url = f"{scheme}://{user}:{password}@host:6379/0"
    with pytest.raises(RedisUrlError) as caught:
        RedisUrl.of(url)
    text = str(caught.value)
    assert "hunter" not in text
    assert "ter22" not in text + safe_url(url)
    assert "percent-encoded" in text or "should name the master" in text or "should have a port" in text


def test_all_passwords_are_known_to_the_redaction():
    url = "rediss+sentinel://me:p%40w@h/m?sentinel_password=s%26w&password=q&ssl_password=k"
    assert passwords_of(url) == ["p@w", "s&w", "q", "k"]


def test_a_short_timeout_of_the_url_does_not_cut_a_read_that_waits():
    topology = Topology("redis://h?socket_timeout=0.5")
    assert topology.pool(socket_timeout=10.0).connection_kwargs["socket_timeout"] == 0.5
    assert topology.pool(blocks=7.0).connection_kwargs["socket_timeout"] == 7.0
    with topology.sync_client(blocks=11.0) as client:
        assert client.connection_pool.connection_kwargs["socket_timeout"] == 11.0
    assert Topology("redis://h?socket_timeout=90").pool(blocks=7.0).connection_kwargs["socket_timeout"] == 90


def test_what_programs_say_to_redis_py_has_no_effect():
    pool = Topology("redis://h?decode_responses=True&max_connections=1&encoding=latin-1").pool()
    assert isinstance(pool, ConnectionPool)
    assert issubclass(pool.connection_class, Connection)
    assert not {"decode_responses", "encoding"} & pool.connection_kwargs.keys()
    assert pool.max_connections > 1


ENTRIES = [["1-1", ["a", "b"]], ["1-2", ["a", "c"]]]


@pytest.mark.parametrize(
    "reply",
    [
        [["k", ENTRIES]],
        {"k": ENTRIES},
        {"k": [ENTRIES]},
    ],
)
def test_entries_by_stream_in_every_shape(reply):
    assert [(key, list(entries)) for key, entries in by_stream(reply)] == [("k", ENTRIES)]
    assert by_stream(None) == by_stream({}) == by_stream([]) == []


def test_one_entry_is_no_page():
    assert by_stream({"k": [["1-1", ["a", "b"]]]}) == [("k", [["1-1", ["a", "b"]]])]
    assert by_stream({"k": [[("1-1", {"a": "b"})]]}) == [("k", [("1-1", {"a": "b"})])]


def test_maps_as_flat_lists():
    assert flat_map([{"name": "g", "lag": 1}, {"name": "h"}]) == [["name", "g", "lag", 1], ["name", "h"]]
    assert flat_map({b"last": b"1-1"}) == [b"last", b"1-1"]
    assert flat_map([b"a", 1, None]) == [b"a", 1, None]


async def test_protocol_3_goes_to_every_kind_of_client(any_server):
    url = f"{any_server.url}?protocol=3"
    client: Redis = Topology(url).client(decode_responses=True)
    assert isinstance(await client.execute_command("HELLO"), dict)
    await client.aclose()
    with Topology(url).sync_client(decode_responses=True) as plain:
        assert isinstance(plain.execute_command("HELLO"), dict)
    assert RedisUrl.of("redis+cluster://h?protocol=3").kind is Kind.CLUSTER
