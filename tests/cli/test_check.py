from __future__ import annotations

import re
from textwrap import dedent

import pytest
import redis

from bridge.check.redis import _findings, probe_redis
from bridge.config import RedisSettings
from bridge.errors import RedisUnavailableError
from bridge.redis.errors import explain
from tests.cli.test_main import tickbridge
from tests.servers import free_port

GOOD = """
redis: {url: "redis://:hunter2-redis@127.0.0.1:1/0"}
namespace: test
connectors:
  - name: cb
    exchange: coinbase
    pairs: [BTC-USD, ETH-USD]
    channels: [trades, book]
    url: ws://127.0.0.1:1
accounts:
  main: {exchange: coinbase, api_key: hunter2-key, api_secret: hunter2-secret}
"""


def test_a_good_config_is_described_and_ok(config, tmp_path):
    result = tickbridge("check", "--config", config(GOOD))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == dedent(f"""\
        config      {tmp_path}/tickbridge.yaml
        redis       redis://127.0.0.1:1/0
        namespace   test
        connector   cb: coinbase, BTC-USD, ETH-USD
                      channels trades, book
                      url ws://127.0.0.1:1
        account     main: no connector uses it
        streams     4, at most about 346 MB of Redis memory
                      test:md:{{coinbase:BTC-USD}}:book    200000 entries or 1h    about 83 MB
                      test:md:{{coinbase:BTC-USD}}:trades  1000000 entries or 24h  about 90 MB
                      test:md:{{coinbase:ETH-USD}}:book    200000 entries or 1h    about 83 MB
                      test:md:{{coinbase:ETH-USD}}:trades  1000000 entries or 24h  about 90 MB
                      estimated: measured bytes per entry times max_entries;
                      full books take more, and streams that reach max_age first take less
        ok
    """)


def test_five_mistakes_are_five_messages_at_once(config):
    path = config("""
        redis: {url: "http://:hunter2@127.0.0.1"}
        connectors:
          - name: cb
            exchange: coinbas
            pairs: [btc-usd]
            chanels: [trades]
            url: ws://example.com
        retention: {trades: {max_age: soon}}
    """)
    result = tickbridge("check", "--config", path)
    assert (result.returncode, result.stdout) == (1, "")
    first, *lines = result.stderr.splitlines()
    assert first == f"tickbridge: {path}: 6 mistakes"
    assert [line.strip().partition(": ")[0] for line in lines] == [
        "redis.url",
        "connectors.0.exchange",
        "connectors.0.pairs.0",
        "connectors.0.url",
        "connectors.0.chanels",
        "retention.trades.max_age",
    ]
    assert "hunter2" not in result.stderr
    assert tickbridge("run", "--config", path).stderr == result.stderr


def test_the_environment_is_over_the_file_and_its_mistakes_are_named(config):
    result = tickbridge("check", "--config", config(GOOD), TICKBRIDGE_NAMESPACE="other", TICKBRIDGE_LOOP="asyncio")
    assert "namespace   other" in result.stdout
    result = tickbridge("check", TICKBRIDGE_CONFIG=str(config(GOOD)), TICKBRIDGE_NAMESPCE="x")
    assert result.returncode == 1
    assert "TICKBRIDGE_NAMESPCE: unknown variable (did you mean TICKBRIDGE_NAMESPACE?)" in result.stderr


def test_a_missing_file(tmp_path):
    result = tickbridge("check", "--config", tmp_path / "none.yaml")
    assert result.returncode == 1
    assert f"no such file: {tmp_path}/none.yaml" in result.stderr


def test_run_needs_connectors_that_are_there(config):
    result = tickbridge("run", "--config", config(GOOD), "--connector", "cbb", "other")
    assert result.returncode == 1
    assert "--connector: no connector 'cbb' (did you mean 'cb'?)" in result.stderr
    assert "--connector: no connector 'other' (known: cb)" in result.stderr


def test_a_config_for_readers_needs_no_connectors_and_is_told_so(config):
    result = tickbridge("check", "--config", config("redis: {url: 'redis://127.0.0.1:1'}"))
    assert (result.returncode, result.stderr) == (0, "")
    assert "connectors  none: 'tickbridge run' needs one, 'tickbridge tail' and the consumers do not\n" in result.stdout


NO_CONNECTORS = ["", "# nothing\n", "loop: auto", "connectors: []", "connectors:\n", "redis:\nconnectors:\n"]


@pytest.mark.parametrize("text", NO_CONNECTORS)
def test_check_and_run_come_to_the_same_verdict(config, text):
    env = {"TICKBRIDGE_REDIS__URL": "redis://127.0.0.1:1"}
    check, run = (tickbridge(command, "--config", config(text), **env) for command in ("check", "run"))
    assert (check.returncode, check.stdout) == (run.returncode, run.stdout) == (1, "")
    assert check.stderr == run.stderr
    assert "connectors: the config has none, so there is nothing to do (add one under 'connectors:'" in check.stderr


def test_connect_finds_redis(config, redis_server):
    result = tickbridge("check", "--connect", "--config", config(f"redis: {{url: '{redis_server.url}'}}"))
    assert (result.returncode, result.stderr) == (0, "")
    assert "answers\n              Valkey 9" in result.stdout
    assert result.stdout.endswith("\nok\n")


def test_connect_without_a_server_is_the_environments_fault(config):
    port = free_port()
    result = tickbridge("check", "--connect", "--config", config(f"redis: {{url: 'redis://:pw1234@127.0.0.1:{port}'}}"))
    assert result.returncode == 2
    assert f"Redis at redis://127.0.0.1:{port}: the connection was refused; is the server running" in result.stderr
    assert "ok" not in result.stdout.splitlines()


def test_connect_shows_every_failure_not_only_the_first(config):
    port = free_port()
    text = f"""
        redis: {{url: "redis://127.0.0.1:{port}"}}
        connectors:
          - {{name: cb, exchange: coinbase, pairs: [BTC-USD], url: "ws://127.0.0.1:{port}",
             rest_url: "http://127.0.0.1:{port}"}}
    """
    result = tickbridge("check", "--connect", "--config", config(text))
    assert result.returncode == 2
    assert result.stderr.startswith("Redis at redis://")
    assert "connector cb: " in result.stderr
    assert "coinbase: " not in result.stderr


async def test_what_a_server_of_each_kind_says(any_server):
    [product] = await probe_redis(RedisSettings(url=any_server.url))
    assert product.partition(" ")[0] in ("Redis", "Valkey")


async def test_a_wrong_password_a_right_one_and_a_user_without_rights(own_server):
    with own_server.client() as client:
        client.config_set("requirepass", "hunter22")
        client.execute_command("ACL", "SETUSER", "poor", "on", ">poor-password", "+ping", "+client|setinfo", "+select")
    port = own_server.url.rpartition(":")[2].partition("/")[0]
    for url, message in [
        (f"redis://127.0.0.1:{port}", "wrong user or password, or a password is required"),
        (f"redis://:wrong-password@127.0.0.1:{port}", "wrong user or password"),
    ]:
        with pytest.raises(RedisUnavailableError, match=message) as caught:
            await probe_redis(RedisSettings(url=url))
        assert "wrong-password" not in str(caught.value)
    assert await probe_redis(RedisSettings(url=f"redis://:hunter22@127.0.0.1:{port}"))
    [finding] = await probe_redis(RedisSettings(url=f"redis://poor:poor-password@127.0.0.1:{port}"))
    assert "may not run INFO" in finding


async def test_tls_to_a_server_without(redis_server):
    with pytest.raises(RedisUnavailableError, match="does the server use TLS on this port"):
        await probe_redis(RedisSettings(url=redis_server.url.replace("redis://", "rediss://"), connect_timeout=0.5))


async def test_an_eviction_policy_that_drops_streams_is_pointed_out(own_server):
    with own_server.client() as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
    _, warning = await probe_redis(RedisSettings(url=own_server.url))
    assert "whole streams may be deleted" in warning


def test_a_full_memory_is_pointed_out(own_server, config):
    """As `run` does, for which it is an error."""
    with own_server.client() as client:
        client.config_set("maxmemory", "1kb")
    row = "{name: a, exchange: coinbase, pairs: [BTC-USD], url: 'ws://127.0.0.1:1', rest_url: 'http://127.0.0.1:1'}"
    path = config(f"redis: {{url: '{own_server.url}'}}\nconnectors: [{row}]")
    result = tickbridge("check", "--connect", "--config", path)
    assert result.returncode == 2
    assert "its memory is full, and it takes no entries: " in result.stdout + result.stderr
    assert "maxmemory is 1,024; raise maxmemory" in result.stdout + result.stderr


async def test_a_default_user_without_rights_would_cost_batches_at_a_restart(own_server):
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "admin", "on", ">admins-password", "~*", "&*", "+@all")
        client.config_set("appendonly", "yes")
    url = own_server.url.replace("redis://", "redis://admin:admins-password@")
    assert len(await probe_redis(RedisSettings(url=url))) == 1, "the default user may do everything"
    with redis.Redis.from_url(url) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "off", "resetpass", "nocommands", "+ping")
        _, warning = await probe_redis(RedisSettings(url=url))
        assert "may drop batches" in warning
        [advice] = re.findall("ACL SETUSER default .*", warning)
        admin.execute_command(*advice.split())
        assert len(await probe_redis(RedisSettings(url=url))) == 1, "the advice helps"
        admin.execute_command("ACL", "SETUSER", "default", "off", "nocommands")
        admin.config_set("appendonly", "no")
        assert len(await probe_redis(RedisSettings(url=url))) == 1, "nothing is loaded at a restart"


def test_servers_that_will_not_do():
    settings = RedisSettings()
    with pytest.raises(RedisUnavailableError, match=r"version 6\.0\.16 is too old"):
        _findings(settings, {"redis_version": "6.0.16"})
    with pytest.raises(RedisUnavailableError, match="read-only replica; use its master h:1"):
        _findings(settings, {"redis_version": "7.2.0", "role": "slave", "master_host": "h", "master_port": 1})
    assert _findings(settings, {"redis_version": "6.2.0", "role": "master"}) == ["Redis 6.2.0"]


def test_a_socket_that_is_not_there_and_a_server_that_hangs_up():
    assert "no such socket" in explain(FileNotFoundError(2, "x"), "unix:///x")
    assert "does it want rediss://?" in explain(ConnectionResetError("gone"), "redis://x")
    assert explain(ValueError("other"), "redis://x") == "other"


def test_what_each_shard_gets_is_shown(config):
    rows = [f"{{name: s{n}, exchange: coinbase, pairs: [BTC-USD], shard: {n}/3}}" for n in (1, 2, 3)]
    result = tickbridge("check", "--config", config(f"connectors: [{', '.join(rows)}]"))
    assert result.returncode == 0
    lines = [line for line in result.stdout.splitlines() if line.startswith("connector ")]
    assert sum(line.endswith("of 1 pairs: BTC-USD") for line in lines) == 1
    assert sum(line.endswith("of 1 pairs: no pair: nothing to do") for line in lines) == 2


def test_what_patterns_may_come_to_is_estimated(config):
    one = (
        "{name: a, exchange: bybit, pairs: [ADA-EUR, '*-USDT', 'BTC-*'], max_pairs: 50, channels: [trades], shard: 1/2}"
    )
    result = tickbridge("check", "--config", config(f"connectors: [{one}]"))
    assert result.returncode == 0
    assert "a: bybit, shard 1/2 of 1 pairs and what matches: " in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("streams     a: ")]
    assert lines == ["streams     a: up to 50 streams of pairs that match *-USDT, BTC-*, at most about 4.5 GB"]
