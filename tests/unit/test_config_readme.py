from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import BaseModel

from bridge.config import Settings, load_settings

README = Path(__file__).parents[2] / "README.md"


def _example():
    return re.search(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL).group(1)


def test_the_readme_example_is_a_good_config(tmp_path):
    path = tmp_path / "tickbridge.yaml"
    path.write_text(_example(), encoding="utf-8")
    settings = load_settings(path, {"TICKBRIDGE_ACCOUNTS__MAIN__API_SECRET": "its file is not on this machine"})
    [connector] = settings.connectors
    assert (connector.exchange, connector.account) == ("limitlex", "main")


def test_the_readme_example_has_every_section_and_shows_the_defaults(tmp_path):
    shown = yaml.safe_load(_example())
    assert set(shown) == set(Settings.model_fields)
    path = tmp_path / "tickbridge.yaml"
    path.write_text(yaml.safe_dump({key: shown[key] for key in set(shown) - {"connectors", "accounts", "redis"}}))
    assert load_settings(path, {}) == Settings()
    for name, value in Settings():
        if isinstance(value, BaseModel) and name not in {"redis", "http"}:
            assert set(shown[name]) == set(type(value).model_fields), name
