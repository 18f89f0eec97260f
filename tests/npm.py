"""How tests install packages of npm: from the registry that the user has configured."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.environment import clean_environment
from tests.patience import PATIENCE

__all__ = ["install", "npm_environment"]

_OF_NPM = re.compile(r"npm_config_.*|NODE_EXTRA_CA_CERTS|https?_proxy|no_proxy", re.IGNORECASE).fullmatch
_NO_REGISTRY = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|\bE(?:401|403|407|429|5\d\d)\b"
)


def npm_environment(**extra: str) -> dict[str, str]:
    """A clean one, with what says how npm reaches its registry."""
    kept = {name: value for name, value in os.environ.items() if _OF_NPM(name)}
    return clean_environment(**{"SSL_CERT_FILE": os.environ.get("SSL_CERT_FILE", ""), **kept, **extra})


def install(folder: Path) -> str:
    """Install what the folder's lock file names; returns why the registry cannot be reached, else the empty string.

    Raises:
        AssertionError: npm fails for any other reason: that is a mistake of ours, and no reason to skip a test.
    """
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=folder,
        env=npm_environment(),
        text=True,
        capture_output=True,
        check=False,
        timeout=PATIENCE * 2,
    )
    if not done.returncode:
        return ""
    if found := _NO_REGISTRY.search(done.stderr):
        return f"npm cannot install the packages: {found[0]}"
    raise AssertionError(f"npm ci ended with {done.returncode}:\n{done.stderr}")
