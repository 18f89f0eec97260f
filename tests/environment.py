"""The environment in which processes under test run: that of a user's shell, not that of the test run."""

from __future__ import annotations

import os

__all__ = ["clean_environment"]

_KEPT = ("HOME", "PATH", "TMPDIR")
_COVERAGE = "COVERAGE_"
_NO_AUTHORITIES = os.devnull
"""In place of the system's file of trusted authorities. No test connects to the internet, and every process that imports
aiohttp reads that file, which takes a tenth of a connector's start."""


def clean_environment(**extra: str) -> dict[str, str]:
    """Environment variables for a process under test, ``extra`` among them; an empty value leaves a name out.

    Nothing else is inherited: no ``PYTHON*`` (``PYTHONUNBUFFERED`` hides output that is never flushed), no
    ``TICKBRIDGE_*``, no proxy. Only what measures coverage is passed on.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_COVERAGE)}
    usual = {
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "SSL_CERT_FILE": _NO_AUTHORITIES,
    }
    return {name: value for name, value in {**kept, **usual, **extra}.items() if value}
