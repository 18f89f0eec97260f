"""Makes the passwords of docker-compose.yml on its first start: one for each Redis user, one for Grafana's admin.

Redis gets their SHA-256 alone (``users.acl``), each service the URL of its own user. What is there already stays:
delete a volume, and its passwords are made anew.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sys
from pathlib import Path

__all__ = ["main"]

RULES = Path(__file__).with_name("users.acl")
"""A password is written ``@user`` in there."""
SERVICES = ("limitlex", "lmex", "coinbase", "consumers")
"""Redis users, each with a volume of its own."""
ADDRESS = "redis:6379/0"


def main(root: Path) -> int:
    """Fill the volumes below ``root``; returns the exit code."""
    rules = RULES.read_text(encoding="utf-8")
    passwords: dict[str, str] = {}
    for user in re.findall(r"^user (\w+) on @\1 ", rules, re.MULTILINE):
        file = root / (user if user in SERVICES else "redis") / f"{user}.password"
        passwords[user] = _password(file)
        if user in SERVICES:
            _write(file.with_name("redis.url"), f"redis://{user}:{passwords[user]}@{ADDRESS}")
    for user, password in passwords.items():
        rules = rules.replace(f" @{user} ", f" #{hashlib.sha256(password.encode()).hexdigest()} ")
    _write(root / "redis" / "users.acl", rules)
    _password(root / "grafana" / "admin.password")
    print(f"passwords of {', '.join(passwords)} and of Grafana's admin are there")
    return 0


def _password(file: Path) -> str:
    if not file.exists():
        _write(file, secrets.token_hex(24))
    return file.read_text(encoding="utf-8")


def _write(file: Path, text: str) -> None:
    """Readable for all: nobody but the services that mount this volume gets here, and they run as other users."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.chmod(0o444)
    part.replace(file)


if __name__ == "__main__":
    sys.exit(main(Path(os.environ.get("TICKBRIDGE_SECRETS", "/var/lib/tickbridge"))))
