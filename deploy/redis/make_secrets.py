"""Makes the passwords of docker-compose.yml on its first start: one per Redis user, Grafana's, and the gateway's token.

    python make_secrets.py                  what is missing
    python make_secrets.py rotate USER      another password for this user; the old one stays valid
    python make_secrets.py retire USER      the old one is valid no more
    python make_secrets.py next USER        the one or the other: in turn, for users without a service
    python make_secrets.py next token       the same for the gateway's token
    python make_secrets.py rotate grafana   another password of Grafana's; the old one is replaced

Redis gets their SHA-256 alone, in an ACL file with the rules of ``tickbridge acl``; each service the URL of its own
user. Passwords that are there stay (delete a volume, and its own are made anew); the rules are written anew each time.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from bridge import acl
from bridge.config import load_settings
from bridge.config.accounts import credentials_of
from bridge.exchanges import names

__all__ = ["main"]

ADDRESS = "redis:6379/0"
SERVICES = (*names(), "books", "wallets", "candles", "parquet", "web")
"""Redis users, each with a volume of its own."""
PRIVATE = ("limitlex", "lmex")
"""Their account is ``main``, in the demo and in deploy/compose.accounts.yml."""
DEFAULT = "user default off resetpass allkeys allchannels +@all"
"""Nobody can log in as a user that is off. It keeps its rights because Redis loads its append-only file as this user, and
many versions leave out every transaction that the user has no right to: batches of entries are transactions."""
HEALTH = "user health on nopass resetchannels -@all +ping"
TOKEN, GRAFANA = "token", "grafana"
"""What is no user of Redis, and can be changed all the same."""
RELOAD = ["+acl|load"]
"""The only right of the user ``users``: to have Redis read these users again."""


def main(root: Path, version: str, arguments: Sequence[str] = ()) -> int:
    """Fill the volumes below ``root``; ``version`` is that of ``tickbridge acl --redis-version``. Returns the exit code."""
    rules = {name: _connector(name) for name in names()}
    rules |= {"books": acl.books(""), "wallets": acl.wallets(""), "candles": acl.candles(""), "web": acl.web("")}
    rules |= {"parquet": acl.public_reader(""), "public": acl.public_reader(""), "operator": acl.operator("")}
    match arguments:
        case ["rotate" | "retire" | "next" as action, user] if user in rules:
            _change(root, action, user)
        case ["next", "token" as name] | ["rotate", "grafana" as name]:
            _change(root, arguments[0], name)
        case []:
            pass
        case _:
            usage = "make_secrets.py [rotate|retire|next USER | next token | rotate grafana]"
            print(f"usage: {usage}; users: {', '.join(rules)}", file=sys.stderr)
            return 1
    rules["users"] = RELOAD  # not to be rotated: Redis would have to know the new password before it is told to read it
    lines = [DEFAULT, HEALTH]
    for user, each in rules.items():
        file = _file(root, user)
        password = _password(file)
        if user in SERVICES:
            _write(file.with_name("redis.url"), f"redis://{user}:{password}@{ADDRESS}")
        lines.append(acl.user(user, each, " ".join(_hashes(root, user, password)), aclfile=True, old=version == "7.0"))
    _write(root / "redis" / "users.acl", "".join(f"{line}\n" for line in lines))
    _password(_file(root, GRAFANA))
    tokens = {"compose": _password(_file(root, TOKEN))}
    if (former := _former(root, TOKEN)).exists():
        tokens["compose-former"] = former.read_text(encoding="utf-8")
    tables = (f'[[token]]\nname = "{name}"\ntoken = "{token}"\naccounts = ["*"]\n' for name, token in tokens.items())
    _write(root / "web" / "tokens.toml", "".join(tables))
    print(f"users of Redis: {', '.join(rules)}")
    return 0


def _file(root: Path, user: str) -> Path:
    """The file of a user's password, of the gateway's token, or of Grafana's password."""
    if user == GRAFANA:
        return root / "grafana" / "admin.password"
    return root / ("web" if user == TOKEN else user if user in SERVICES else "redis") / f"{user}.password"


def _former(root: Path, user: str) -> Path:
    """The hash of the password before, beside the ACL file: no service needs it. The gateway needs its former token."""
    return root / ("web" if user == TOKEN else "redis") / f"{user}.former"


def _hashes(root: Path, user: str, password: str) -> list[str]:
    """What the user may log in with, as an ACL file has it."""
    former = _former(root, user)
    found = [f"#{_hash(password)}"]
    return [*found, f"#{former.read_text(encoding='utf-8')}"] if former.exists() else found


def _change(root: Path, action: str, user: str) -> None:
    file, former = _file(root, user), _former(root, user)
    if action == "next":
        action = "retire" if former.exists() else "rotate"
        print(f"{user}: " + ("the old one stays valid" if action == "rotate" else "the old one is valid no more"))
    if action == "retire":
        former.unlink(missing_ok=True)
    elif file.exists() and not former.exists():  # tried again, the first one is what the service still has
        old = file.read_text(encoding="utf-8")
        if user != GRAFANA:  # which has one password
            _write(former, old if user == TOKEN else _hash(old))
        file.unlink()


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _connector(exchange: str) -> acl.Rules:
    """For whatever pairs the config of this exchange's connector names, and its account."""
    connector = f"name: {exchange}, exchange: {exchange}, pairs: [BTC-USD]"
    env = {"TICKBRIDGE_CONNECTORS__0": f"{{{connector}}}"}
    if exchange in PRIVATE:
        env["TICKBRIDGE_CONNECTORS__0"] = f"{{{connector}, account: main}}"
        unused = "".join(f", {credential.name}: unused" for credential in credentials_of(exchange))
        env["TICKBRIDGE_ACCOUNTS__MAIN"] = f"{{exchange: {exchange}{unused}}}"
    settings = load_settings(None, env)
    return acl.connector(settings, settings.connectors[0], broad=True)


def _password(file: Path) -> str:
    if not file.exists():
        _write(file, secrets.token_hex(24))
    return file.read_text(encoding="utf-8")


def _write(file: Path, text: str) -> None:
    """Readable for all: nobody but the services that mount this volume gets here, and they run as other users."""
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.write_text(text, encoding="utf-8")
    part.chmod(0o444)
    part.replace(file)


if __name__ == "__main__":
    sys.exit(
        main(
            Path(os.environ.get("TICKBRIDGE_SECRETS", "/var/lib/tickbridge")),
            os.environ.get("REDIS_ACL_VERSION", "7.2"),
            sys.argv[1:],
        )
    )
