"""``python -m consumers`` lists the services of this package."""

from __future__ import annotations

import sys
from importlib import import_module

__all__ = ["main"]

SERVICES = ("books", "wallets", "candles", "parquet", "nautilus", "web")


def main() -> int:
    """Print the list of services; returns the exit code."""
    print("Services that read the streams:\n")
    for name in SERVICES:
        print(f"  python -m consumers.{name:10} {import_module(f'consumers.{name}').DESCRIPTION}")
    print("\nEach has --help. They are also commands of tickbridge, if that is installed: tickbridge books, …")
    return 0


if __name__ == "__main__":
    sys.exit(main())
