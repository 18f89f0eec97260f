"""Environments of their own for peers: made once, in a folder of the clone that git ignores."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from msgspec import Struct

from benchmarks.trial import ROOT

__all__ = ["Found", "cryptofeed"]

_PACKAGES = ("cryptofeed==3.0.1", "redis", "hiredis")
_FOLDER = ROOT / ".venvs" / "cryptofeed-3.0.1"
_PYTHON = (3, 13)
_PATIENCE = 600.0


class Found(Struct, frozen=True):
    """The Python of an environment, or (``python`` is empty) why there is none."""

    python: str = ""
    reason: str = ""


def cryptofeed() -> Found:
    """The environment with cryptofeed, made if it isn't there."""
    python = _FOLDER / "bin" / "python"
    if _imports(python):
        return Found(str(python))
    base = _python_3_13()
    if base is None:
        return Found(reason="it needs Python 3.13, and none was found")
    shutil.rmtree(_FOLDER, ignore_errors=True)
    try:
        for command in ([base, "-m", "venv", str(_FOLDER)], [str(python), "-m", "pip", "install", "-q", *_PACKAGES]):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError) as error:
        last = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        shutil.rmtree(_FOLDER, ignore_errors=True)
        return Found(reason=f"it can't be installed: {last}")
    return Found(str(python)) if _imports(python) else Found(reason="it was installed, and can't be imported")


def _imports(python: Path) -> bool:
    if not python.exists():
        return False
    check = "import cryptofeed, redis; from importlib.metadata import version; assert version('cryptofeed') == '3.0.1'"
    return subprocess.run([str(python), "-c", check], capture_output=True, check=False).returncode == 0


def _python_3_13() -> str | None:
    """On the path, or in pyenv's folder; a name on the path may be a shim with nothing behind it."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [shutil.which("python3.13"), *map(str, sorted(pyenv.glob("3.13.*/bin/python3.13"), reverse=True))]
    check = f"import sys, venv; sys.exit(sys.version_info[:2] != {_PYTHON})"
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    return None
