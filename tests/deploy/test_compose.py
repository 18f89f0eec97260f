"""The Compose file read as it stands: nothing is left open, and its config files are config files."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config import load_settings
from bridge.exchanges import names
from bridge.simulator import Simulator, SimulatorConfig, exchange_named
from consumers.web.tokens import Tokens
from tests.deploy.tools import ROOT, needs, tool

STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
EACH = pytest.mark.parametrize("name", SERVICES)


@needs("docker")
@pytest.mark.parametrize("profile", ["live", "demo", "web"])
def test_compose_takes_it(profile):
    if compose("version").returncode:
        pytest.skip("this docker has no Compose plugin")
    ran = compose("--profile", profile, "config", "-q")
    assert (ran.returncode, ran.stderr) == (0, "")


def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [tool("docker"), "compose", *arguments]
    env = {"DOCKER_CONFIG": str(ROOT / ".venvs" / "tools" / "docker"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)


@EACH
def test_every_service_is_hardened(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not re.match(r"0|root", service["user"].removeprefix("${REDIS_USER:-"))
    limits = service["deploy"]["resources"]["limits"]
    assert {"memory", "cpus", "pids"} <= limits.keys()
    assert service["restart"] == ("no" if name == "secrets" else "unless-stopped")
    assert service["healthcheck"] == {"disable": True} if name == "secrets" else "test" in service["healthcheck"]
    assert service["image"].startswith("${")


def test_the_gateway_is_off_unless_it_is_asked_for():
    assert SERVICES["web"]["profiles"] == ["web"]
    assert all("web" not in service.get("depends_on", {}) for service in SERVICES.values())


@EACH
def test_only_connectors_reach_the_outside(name):
    service = SERVICES[name]
    reached = set(service.get("networks", []))
    internal = {net for net, settings in STACK["networks"].items() if (settings or {}).get("internal")}
    assert reached or service["network_mode"] == "none"
    open_to = reached - internal
    if name in names():
        assert open_to == {"internet"}
    elif name in ("prometheus", "grafana", "web"):
        assert open_to == {"watching"}
    else:
        assert not open_to
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@EACH
def test_no_secret_stands_in_the_environment(name):
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|KEY|TOKEN|URL", variable):
            assert variable.endswith("_FILE"), variable
            assert str(value).startswith("/run/"), variable


@EACH
def test_a_service_mounts_its_own_secrets_only(name):
    mounted = {
        volume.partition(":")[0] for volume in SERVICES[name].get("volumes", []) if volume.startswith("secrets-")
    }
    if name == "secrets":
        assert mounted == {volume for volume in STACK["volumes"] if volume.startswith("secrets-")}
    elif name.startswith(("sim-", "prometheus")):
        assert not mounted
    else:
        assert mounted == {f"secrets-{name.removesuffix('-demo')}"}
        assert all(volume.endswith(":ro") for volume in SERVICES[name]["volumes"] if volume.startswith("secrets-"))


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_connectors_configs_are_good(path):
    settings = load_settings(path, {})
    assert [one.name for one in settings.connectors] == [path.stem]
    assert path.stem in SERVICES


def test_there_is_a_connector_for_each_exchange():
    assert {path.stem for path in (ROOT / "deploy" / "config").glob("*.yaml")} == set(names())


def test_the_image_has_a_folder_for_each_volume_of_secrets():
    """A new volume takes its owner from the folder that it covers; without one it is root's, and nothing can be written."""
    [names_there] = re.findall(r"for name in ([^;]+); do", (ROOT / "Dockerfile").read_text())
    volumes = [volume.split(":")[1] for volume in SERVICES["secrets"]["volumes"] if "/var/lib/tickbridge/" in volume]
    assert len(volumes) > 8
    assert {Path(volume).name for volume in volumes} <= set(names_there.split())


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "demo").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_demos_configs_are_those_of_the_simulators(path, tmp_path):
    text = path.read_text()
    for file in sorted(set(re.findall(r"/run/tickbridge/simulator/\S+", text))):
        here = tmp_path / Path(file).name
        here.write_text("x")
        text = text.replace(file, str(here))
    config = tmp_path / "config.yaml"
    config.write_text(text)
    settings = load_settings(config, {})
    market = exchange_named(path.stem).market_of(None, seed=1)
    simulator = Simulator(SimulatorConfig(exchange=path.stem, market=market))
    [access] = simulator.dialect.accesses()
    assert settings.accounts["main"].api_key.get_secret_value() == access.api_key
    assert settings.connectors[0].pairs == tuple(simulator.market.pairs)


def test_secrets_are_made_once_and_rules_each_time(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("make_secrets", ROOT / "deploy" / "redis" / "make_secrets.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    for folder in (*names(), "books", "wallets", "web", "redis", "grafana"):
        (tmp_path / folder).mkdir()
    assert made.main(tmp_path, "7.2") == 0
    passwords = {path: path.read_text() for path in tmp_path.rglob("*.password")}
    assert len(set(passwords.values())) == len(passwords) == len(names()) + 7
    [access] = [access for _, access in Tokens.load(str(tmp_path / "web" / "tokens.toml"), None)._known]
    assert access.everything
    assert (
        Tokens.load(str(tmp_path / "web" / "tokens.toml"), None).access(passwords[tmp_path / "web" / "token.password"])
        == access
    )
    rules = (tmp_path / "redis" / "users.acl").read_text()
    assert not any(password in rules for password in passwords.values())
    assert made.main(tmp_path, "7.2") == 0
    assert {path: path.read_text() for path in passwords} == passwords
    assert (tmp_path / "redis" / "users.acl").read_text() == rules
    assert not any(password in capsys.readouterr().out for password in passwords.values())
