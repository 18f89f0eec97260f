"""A config that is read again while connectors run: what changes at once, what takes a restart, and when it is due."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from bridge.cli.common import load, load_again
from bridge.config import ConnectorSettings, Settings, load_settings
from bridge.connector.reload import Reloader, WatchedFile


def settings(pairs: str, **more: str) -> Settings:
    one = f"{{name: a, exchange: coinbase, pairs: {pairs}}}"
    other = "{name: b, exchange: coinbase, pairs: [SOL-USD]}"
    return load_settings(None, {"TICKBRIDGE_CONNECTORS": f"[{one}, {other}]", **more})


async def reloaded(
    before: Settings, after: Settings, running: tuple[str, ...] = ("a", "b")
) -> tuple[dict[str, ConnectorSettings], list[tuple[str, object]]]:
    """What the connector ``a`` is told, and what is logged: the event, with the setting or the connectors."""
    told: dict[str, ConnectorSettings] = {}
    structlog.reset_defaults()
    with capture_logs() as logs:
        reloader = Reloader(before, running, lambda: after)
        reloader.serve(before.connectors[0], lambda connector: told.update(a=connector))
        assert not told
        reloader.reload()
    return told, [(entry["event"], entry.get("setting", entry.get("connectors"))) for entry in logs]


async def test_changed_pairs_are_handed_on() -> None:
    told, logs = await reloaded(settings("[BTC-USD]"), settings("[BTC-USD, ETH-USD]"))
    assert told["a"].pairs == ("BTC-USD", "ETH-USD")
    assert logs == [("reloaded", ["a"])]


async def test_without_a_change_the_list_is_looked_at_all_the_same() -> None:
    told, logs = await reloaded(settings("[BTC-USD]"), settings("[BTC-USD]"))
    assert told["a"].pairs == ("BTC-USD",)
    assert logs == [("reloaded", [])]


async def test_what_takes_a_restart_is_named() -> None:
    after = settings("[ETH-USD]", TICKBRIDGE_LOG__LEVEL="debug", TICKBRIDGE_CONNECTORS__0__DEAD_AFTER="45s")
    told, logs = await reloaded(settings("[BTC-USD]"), after)
    assert (told["a"].pairs, told["a"].dead_after) == (("ETH-USD",), None)
    assert logs == [
        ("restart_needed", "connectors.a.dead_after"),
        ("restart_needed", "log"),
        ("reloaded", ["a"]),
    ]


async def test_a_connector_that_is_new_takes_a_restart() -> None:
    after = load_settings(None, {"TICKBRIDGE_CONNECTORS": "[{name: c, exchange: coinbase, pairs: [BTC-USD]}]"})
    told, logs = await reloaded(settings("[BTC-USD]"), after)
    assert not told
    assert ("restart_needed", "connectors.a") in logs
    assert ("restart_needed", "connectors.c") in logs


async def test_of_connectors_that_another_process_runs_nothing_is_said() -> None:
    one = "{name: a, exchange: coinbase, pairs: [BTC-USD]}"
    after = load_settings(
        None,
        {"TICKBRIDGE_CONNECTORS": f"[{one}, {{name: b, exchange: coinbase, pairs: [ETH-USD], dead_after: 45s}}, "
        "{name: c, exchange: bybit, pairs: [BTC-USDT]}]"},
    )  # fmt: skip
    _, logs = await reloaded(settings("[BTC-USD]"), after, ("a",))
    assert logs == [("reloaded", [])]


async def test_a_connector_that_begins_after_a_reload_has_the_settings_of_then() -> None:
    before, after = settings("[BTC-USD]"), settings("[ETH-USD]")
    told: list[ConnectorSettings] = []
    reloader = Reloader(before, ("a", "b"), lambda: after)
    reloader.reload()
    assert reloader.current("a").pairs == ("ETH-USD",)
    reloader.serve(before.connectors[0], told.append)  # it began before
    assert [one.pairs for one in told] == [("ETH-USD",)]
    reloader.serve(reloader.current("a"), told.append)
    assert len(told) == 1


async def test_a_connector_that_is_gone_from_the_config_keeps_its_settings() -> None:
    after = load_settings(None, {"TICKBRIDGE_CONNECTORS": "[{name: b, exchange: coinbase, pairs: [SOL-USD]}]"})
    told, logs = await reloaded(settings("[BTC-USD]"), after)
    assert not told
    assert logs == [("restart_needed", "connectors.a"), ("reloaded", [])]


async def test_a_config_without_connectors_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tickbridge.yaml"
    path.write_text("")
    structlog.reset_defaults()
    with capture_logs() as logs:
        Reloader(settings("[BTC-USD]"), ("a", "b"), lambda: load_again(path)).reload()
    [entry] = logs
    assert entry["event"] == "reload_failed"
    assert "connectors: the config has none, so there is nothing to do" in entry["errors"][0]


# --- the file that is watched ----------------------------------------------------------------------------------------


def test_a_file_is_read_when_its_new_content_is_the_same_twice(tmp_path: Path) -> None:
    path = tmp_path / "tickbridge.yaml"
    path.write_text("one")
    watched = WatchedFile(path)
    assert not watched.changed()
    path.write_text("")  # as an editor does before it writes
    assert not watched.changed()
    path.write_text("two")
    assert not watched.changed()
    assert watched.changed()
    watched.read()
    assert not watched.changed()
    path.write_text("three")
    assert not watched.changed()
    path.write_text("two")
    assert [watched.changed() for _ in range(3)] == [False, False, False]


def test_a_file_that_is_gone_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "tickbridge.yaml"
    path.write_text("one")
    watched = WatchedFile(path)
    path.unlink()
    assert [watched.changed() for _ in range(3)] == [False, False, False]
    path.write_text("one")
    assert [watched.changed() for _ in range(3)] == [False, False, False]


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    """So the content of a ConfigMap is replaced: the link in its folder is renamed over the old one."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tickbridge.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "tickbridge.yaml").symlink_to("..data/tickbridge.yaml")
    watched = WatchedFile(tmp_path / "tickbridge.yaml")
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert [watched.changed() for _ in range(2)] == [False, True]


@pytest.mark.usefixtures("own_logs")
def test_a_config_that_is_read_again_leaves_the_logs_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tickbridge.yaml"
    path.write_text("log: {level: error, format: json}")
    load(path)
    row = "{name: a, exchange: coinbase, pairs: [BTC-USD]}"
    path.write_text(f"log: {{level: debug, format: console}}\nconnectors: [{row}]")
    assert load_again(path).log.level == "debug"
    structlog.get_logger().info("passed_over")
    structlog.get_logger().error("shown")
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "shown"
