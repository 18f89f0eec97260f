"""What the clients know of the streams is what the model says."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from types import ModuleType

import pytest

from bridge import __version__
from bridge.model import DATA_EVENTS, Channel, Control, ControlEvent
from tests.clients.building import CLIENTS
from tests.environment import clean_environment
from tests.unit.doc_pages import ROOT, text


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", CLIENTS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_files_are_those_of_the_model(generate):
    for path, content in generate.FILES.items():
        assert path.read_text(encoding="utf-8") == content(), f"run: python clients/generate.py ({path.name})"


@pytest.mark.parametrize("name", ["typescript/src/generated.ts", "go/generated.go"])
def test_everything_of_the_model_is_in_them(name):
    """Not by the generator's own eyes: every channel, event, type and field is there."""
    words = set(re.findall(r'"([\w]+)"', text(CLIENTS / name)))
    assert words >= {str(channel) for channel in Channel}
    assert words >= {str(event) for event in ControlEvent}
    for kind in (*DATA_EVENTS, Control):
        assert words >= {str(kind.__struct_config__.tag), "ts", "recv", *kind.WIRE}


def test_it_runs_as_a_script(tmp_path):
    """In a clone without installation: the files are written where it is."""
    copy = tmp_path / "clients"
    for folder in ("typescript/src", "go"):
        (copy / folder).mkdir(parents=True)
    (copy / "generate.py").write_bytes((CLIENTS / "generate.py").read_bytes())
    env = clean_environment(PYTHONPATH=str(ROOT))
    subprocess.run([sys.executable, str(copy / "generate.py")], check=True, env=env, stdout=subprocess.DEVNULL)
    for name in ("typescript/src/generated.ts", "go/generated.go"):
        assert (copy / name).read_bytes() == (CLIENTS / name).read_bytes()


def test_the_package_has_the_version_of_the_product():
    """One release is all of it; the lock file says it twice."""
    for name in ("package.json", "package-lock.json"):
        package = json.loads(text(CLIENTS / "typescript" / name))
        assert package["version"] == __version__, name
    assert package["packages"][""]["version"] == __version__
    assert not [name for name, one in package["packages"].items() if "resolved" in one]
