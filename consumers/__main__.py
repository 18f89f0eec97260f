"""``python -m consumers`` lists the services of this package."""

from __future__ import annotations

import sys
from importlib import import_module

__all__ = ["main"]

SERVICES = ("books", "wallets")


def main() -> int:
    """Print them; returns the exit code."""
    print("Services that read the streams:\n")
    for name in SERVICES:
        print(f"  python -m consumers.{name:10} {import_module(f'consumers.{name}').DESCRIPTION}")
    print("\nEach has --help. Where tickbridge is installed, they are also its commands: tickbridge books, …")
    return 0


if __name__ == "__main__":
    sys.exit(main())
