"""``python -m consumers.web``."""

from __future__ import annotations

import sys

from consumers.service import run_as_command
from consumers.web import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(run_as_command("web", main))
