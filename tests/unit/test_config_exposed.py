from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config.exposed import exposed_files, exposure
from bridge.config.load import load_with_origins

CONFIG = """
redis: {{url: redis://127.0.0.1/0}}
connectors:
  - {{name: lm, exchange: lmex, pairs: [BTC-USD], channels: [trades], account: main}}
accounts:
  main: {{exchange: lmex, api_key: key-of-mine, {secret}}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that others may enter, as a home directory may be."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == tmp_path.stat().st_uid and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o111)
    return tmp_path


def written(path: Path, text: str, mode: int) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("mode", "seen"), [(0o644, "0644"), (0o604, "0604"), (0o640, ""), (0o600, ""), (0o400, "")])
def test_only_what_others_can_read_is_exposed(place: Path, mode: int, seen: str) -> None:
    assert exposure(written(place / "s", "x", mode)) == seen


def test_a_directory_that_nobody_else_enters_protects_its_files(place: Path) -> None:
    inner = place / "inner"
    inner.mkdir(mode=0o700)
    secret = written(inner / "s", "x", 0o644)
    assert exposure(secret) == ""
    (place / "link").symlink_to(secret)
    assert exposure(place / "link") == ""
    inner.chmod(0o711)
    assert exposure(place / "link") == "0644"


def test_what_is_not_there_or_no_file_or_of_a_container(place: Path) -> None:
    assert exposure(place / "none") == ""
    assert exposure(place) == ""
    assert exposure(Path("/run/secrets/tickbridge")) == ""
    secret = written(place / "s", "x", 0o644)
    assert exposed_files([secret, secret]) == [(secret, "0644")]


def test_secret_files_of_the_config_and_the_config_itself(place: Path) -> None:
    secret = written(place / "secret.txt", "very-secret", 0o644)
    path = written(place / "c.yaml", CONFIG.format(secret=f"api_secret_file: {secret}"), 0o644)
    env: dict[str, str] = {}
    assert load_with_origins(path, env).exposed() == [(path, "0644"), (secret, "0644")], "the config has the key"
    path.chmod(0o640)
    secret.chmod(0o600)
    assert load_with_origins(path, env).exposed() == []
    plain = written(place / "plain.yaml", "redis: {url: redis://127.0.0.1/0}\n", 0o644)
    assert load_with_origins(plain, env).exposed() == []
    plain.write_text("redis: {url: 'redis://me:pass-word@127.0.0.1/0'}\n")
    assert load_with_origins(plain, env).exposed() == [(plain, "0644")]
