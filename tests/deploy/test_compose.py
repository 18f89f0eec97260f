"""The Compose file read as it stands: nothing is left open, and its config files are config files."""

from __future__ import annotations

import hashlib
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
from consumers.web.tokens import TokenError, Tokens
from tests.certificates import pem_for
from tests.deploy.tools import ROOT, needs, tool

STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
EACH = pytest.mark.parametrize("name", SERVICES)


@needs("docker")
@pytest.mark.parametrize("profile", ["live", "demo", "web", "candles", "parquet", "alerts", *names()])
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


@pytest.mark.parametrize(
    ("name", "profile"), [*((name, name) for name in ("web", "candles", "parquet")), ("alertmanager", "alerts")]
)
def test_it_is_off_unless_it_is_asked_for(name, profile):
    assert SERVICES[name]["profiles"] == [profile]
    assert all(name not in service.get("depends_on", {}) for service in SERVICES.values())


@pytest.mark.parametrize("name", names())
def test_an_exchange_has_a_profile_and_pairs_of_its_own(name):
    """And what isn't set is as in its config file."""
    service = SERVICES[name]
    assert service["profiles"] == ["live", name]
    variable = name.upper().replace("-", "_")
    [default] = re.findall(
        rf"^\$\{{{variable}_PAIRS:-(.+)\}}$", service["environment"][f"TICKBRIDGE_CONNECTORS__{variable}__PAIRS"]
    )
    path = ROOT / "deploy" / "config" / f"{name}.yaml"
    assert load_settings(path, {}).connectors[0].pairs == tuple(default.split(","))
    own = load_settings(path, {f"TICKBRIDGE_CONNECTORS__{variable}__PAIRS": "ADA-EUR,SOL-EUR"})
    assert own.connectors[0].pairs == ("ADA-EUR", "SOL-EUR")


@pytest.mark.parametrize("name", names())
def test_an_exchange_out_of_reach_fails_nothing(name):
    """``up --wait`` waits for health, and a connector is as healthy as its process, whatever its exchange does."""
    assert SERVICES[name]["healthcheck"]["test"][-1] == "livez"
    assert set(SERVICES[name]["depends_on"]) == {"redis"}


def test_no_environment_of_ones_own_is_tracked():
    tracked = subprocess.run(["git", "ls-files", "--error-unmatch", ".env"], cwd=ROOT, capture_output=True, check=False)
    if tracked.returncode not in (0, 1):
        pytest.skip("no clone of git")
    assert tracked.returncode == 1
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_example_of_an_environment_names_variables_that_there_are():
    written = re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    text = (ROOT / "docker-compose.yml").read_text()
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    assert dict(written)["COMPOSE_PROFILES"] in profiles
    for name, _ in written:
        assert name == "COMPOSE_PROFILES" or f"${{{name}:-" in text, name


@EACH
def test_only_connectors_reach_the_outside(name):
    service = SERVICES[name]
    reached = set(service.get("networks", []))
    internal = {net for net, settings in STACK["networks"].items() if (settings or {}).get("internal")}
    assert reached or service["network_mode"] == "none"
    open_to = reached - internal
    if name in names():
        assert open_to == {"internet"}
    elif name == "alertmanager":
        assert open_to == {"internet", "watching"}
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
    elif name.startswith(("sim-", "prometheus", "alertmanager")):
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
        here.write_bytes(pem_for(here.name))
        text = text.replace(file, str(here))
    config = tmp_path / "config.yaml"
    config.write_text(text)
    settings = load_settings(config, {})
    market = exchange_named(path.stem).market_of(None, seed=1)
    simulator = Simulator(SimulatorConfig(exchange=path.stem, market=market))
    [access] = simulator.dialect.accesses()
    assert settings.accounts["main"].api_key.get_secret_value() == access.api_key
    assert settings.connectors[0].pairs == tuple(simulator.market.pairs)


@pytest.fixture
def made(tmp_path):
    """`make_secrets.py`, and the folders of its volumes."""
    spec = importlib.util.spec_from_file_location("make_secrets", ROOT / "deploy" / "redis" / "make_secrets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for folder in (*module.SERVICES, "redis", "grafana"):
        (tmp_path / folder).mkdir()
    return module


def test_secrets_are_made_once_and_rules_each_time(made, tmp_path, capsys):
    assert made.main(tmp_path, "7.2") == 0
    passwords = {path: path.read_text() for path in tmp_path.rglob("*.password")}
    assert len(set(passwords.values())) == len(passwords) == len(names()) + 10
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


def test_one_password_is_rotated_and_no_other(made, tmp_path):
    def hashes() -> dict[str, list[str]]:
        lines = (tmp_path / "redis" / "users.acl").read_text().splitlines()
        return {line.split()[1]: re.findall(r"#([0-9a-f]{64})", line) for line in lines}

    def password() -> str:
        return (tmp_path / "lmex" / "lmex.password").read_text()

    made.main(tmp_path, "7.2")
    first, before = password(), hashes()
    made.main(tmp_path, "7.2", ["rotate", "lmex"])
    second, between = password(), hashes()
    assert second != first
    assert second in (tmp_path / "lmex" / "redis.url").read_text()
    assert between["lmex"] == [hashlib.sha256(each.encode()).hexdigest() for each in (second, first)]
    made.main(tmp_path, "7.2", ["rotate", "lmex"])
    assert (password(), hashes()) == (second, between), "tried again, the service's own password stays valid"
    made.main(tmp_path, "7.2", ["retire", "lmex"])
    assert hashes() == before | {"lmex": between["lmex"][:1]}
    made.main(tmp_path, "7.2", ["rotate", "operator"])
    assert len(hashes()["operator"]) == 2


def test_the_password_of_a_user_without_a_service_is_rotated_in_two_runs(made, tmp_path):
    """As deploy/rotate.sh runs it: in between, readers are given the new one."""

    def hashes() -> list[str]:
        [line] = re.findall(r"^user public .*$", (tmp_path / "redis" / "users.acl").read_text(), re.MULTILINE)
        return re.findall(r"#([0-9a-f]{64})", line)

    made.main(tmp_path, "7.2")
    [first] = hashes()
    made.main(tmp_path, "7.2", ["next", "public"])
    second, former = hashes()
    assert (former, second) == (
        first,
        hashlib.sha256((tmp_path / "redis" / "public.password").read_bytes()).hexdigest(),
    )
    made.main(tmp_path, "7.2", ["next", "public"])
    assert hashes() == [second]


def test_the_gateways_token_is_rotated_in_two_runs(made, tmp_path):
    """In between, its users are given the new one."""

    def token() -> str:
        return (tmp_path / "web" / "token.password").read_text()

    def known() -> Tokens:
        return Tokens.load(str(tmp_path / "web" / "tokens.toml"), None)

    made.main(tmp_path, "7.2")
    first, rules = token(), (tmp_path / "redis" / "users.acl").read_text()
    made.main(tmp_path, "7.2", ["next", "token"])
    second = token()
    assert second != first
    assert all(known().access(each).everything for each in (first, second))
    made.main(tmp_path, "7.2")
    assert all(known().access(each).everything for each in (first, second)), "the next start changes nothing"
    made.main(tmp_path, "7.2", ["next", "token"])
    assert token() == second
    assert known().access(second).everything
    with pytest.raises(TokenError):
        known().access(first)
    assert (tmp_path / "redis" / "users.acl").read_text() == rules


def test_grafana_has_another_password_each_time(made, tmp_path):
    found = []
    for arguments in ([], ["rotate", "grafana"], ["rotate", "grafana"]):
        made.main(tmp_path, "7.2", arguments)
        found.append((tmp_path / "grafana" / "admin.password").read_text())
    assert len(set(found)) == 3
    assert not list(tmp_path.rglob("*.former"))


def script(tmp_path: Path, name: str, text: str) -> dict[str, str]:
    """An environment in which a command is this shell script; it keeps its words in the file ``said``."""
    (tmp_path / name).write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/said\n{text}\n')
    (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["public"], ["next"]),
        (["lmex"], ["rotate", "up", "retire"]),
        (["lmex", "x"], ["rotate", "up", "retire"]),
        (["token", "web"], ["next", "up"]),
        (["grafana"], ["rotate", "reset-admin-password"]),
    ],
)
def test_the_script_that_rotates_waits_for_the_service_if_there_is_one(tmp_path, words, steps):
    env = script(tmp_path, "stack", "") | {"DOCKER_COMPOSE": "stack"}
    subprocess.run(["sh", ROOT / "deploy" / "rotate.sh", *words], check=True, env=env)
    said = (tmp_path / "said").read_text()
    assert re.findall(r"\b(?:rotate|retire|next|up|reset-admin-password)\b", said) == steps
    assert re.findall(r"up .* (\S+)$", said, re.MULTILINE) == words[-1:] * steps.count("up")


@pytest.mark.parametrize(("answer", "code"), [("OK", 0), ("NOAUTH Authentication required.", 1), ("", 1)])
def test_it_ends_if_redis_does_not_take_the_users(tmp_path, answer, code):
    """redis-cli ends with 0 when Redis refuses a command."""
    text = (ROOT / "deploy" / "redis" / "reload_users.sh").read_text()
    password = tmp_path / "users.password"
    password.write_text("x")
    reload = text.replace("/run/tickbridge/secrets/users.password", str(password))
    ran = subprocess.run(["sh", "-c", reload], check=False, env=script(tmp_path, "redis-cli", f'echo "{answer}"'))
    assert ran.returncode == code


@pytest.mark.parametrize(
    "words",
    [
        ["rotate"],
        ["rotate", "nobody"],
        ["turn", "lmex"],
        ["rotate", "lmex", "okx"],
        ["rotate", "users"],
        ["rotate", "token"],
        ["next", "grafana"],
    ],
)
def test_what_cannot_be_rotated_is_refused(made, tmp_path, capsys, words):
    assert made.main(tmp_path, "7.2", words) == 1
    assert "users: binance, binance-usdm" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.password"))


def test_the_script_that_rotates_says_how_it_is_used():
    ran = subprocess.run(["sh", ROOT / "deploy" / "rotate.sh"], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "sh deploy/rotate.sh USER [SERVICE]" in ran.stderr
