"""The servers of the tests do what the other tests take for granted."""

from __future__ import annotations

from tests.servers import RedisServer


def test_each_server_answers_and_starts_empty(any_server: RedisServer) -> None:
    with any_server.client() as client:
        assert client.dbsize() == 0
        assert client.xadd("s", {"a": "1"}, id="5-1") == "5-1"


def test_data_survives_stop_and_kill_on_the_same_port(own_server: RedisServer) -> None:
    url = own_server.url
    with own_server.client() as client:
        client.set("stopped", "1")
    own_server.restart()
    with own_server.client() as client:
        client.set("killed", "2")
    own_server.kill()
    assert not own_server.running
    own_server.start()
    assert own_server.url == url
    with own_server.client() as client:
        assert client.mget("stopped", "killed") == ["1", "2"]
