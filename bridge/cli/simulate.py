"""``tickbridge simulate``: runs a simulated exchange, WebSocket and REST on one port."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.cli import values
from bridge.files import naming

if TYPE_CHECKING:
    from bridge.simulator import AccountSpec, Simulator, SimulatorConfig, Urls
    from bridge.simulator.options import Option

__all__ = ["add_parser", "run"]

_MOST_AHEAD = 10 * 365 * 86_400.0
_OWN = "own."
"""Prefix, in the namespace, of options that not all exchanges have."""
_EPILOG = """\
faults (--fault, or POST /sim/faults as JSON):
  {faults}
for example
  --fault cut:every=20                        cut all sockets every 20 s
  --fault drop:every=30,type=order_book       leave out one book message of each socket every 30 s
  --fault freeze:after=10,duration=60,pair=BTC-EUR
  --fault maintenance:after=60,duration=30,mode=refuse

control (http://HOST:PORT/sim/...): GET state, book?pair=, account?account=, trades?pair=;
POST pause, resume, rate {{"rate": N}}, step {{"steps": N}}, faults {{"fault": NAME, ...}},
order {{"account": A, "pair": P, "side": "buy", "size": "1", "price": "2"}}, cancel {{"account": A, "order_id": ID}}
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    from bridge.simulator import EXCHANGES

    parser = subparsers.add_parser(
        "simulate",
        help="run a simulated exchange, WebSocket and REST",
        description="Serves a simulated exchange until SIGTERM or SIGINT.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.narrow = _narrow
    parser.add_argument(
        "exchange",
        choices=tuple(EXCHANGES),
        metavar="EXCHANGE",
        help=f"exchange to simulate: {', '.join(EXCHANGES)}; 'simulate EXCHANGE --help' shows its options",
    )
    parser.add_argument(
        "--port", type=values.port, required=True, metavar="N", help="port to listen on; 0: any free port"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    _add_market_options(parser.add_argument_group("market"))
    _add_own_options(parser)
    _add_setup_options(parser.add_argument_group("setting up"))
    parser.set_defaults(func=run, long_running=True)


def _narrow(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Hide the options and faults of other exchanges from the help, if an exchange is given."""
    from bridge.simulator import EXCHANGES
    from bridge.simulator.faults import FAULTS

    named = next((word for word in words if word in EXCHANGES), None)
    faults = [" ".join(FAULTS)]
    for name, exchange in EXCHANGES.items():
        if exchange.faults and named in (None, name):
            faults.append(f"of {name}: {' '.join(sorted(exchange.faults))}")
    parser.epilog = _EPILOG.format(faults="\n  ".join(faults))
    for action in parser._actions:  # noqa: SLF001  (argparse has no other way to them)
        if action.dest.startswith(_OWN) and named not in (None, *_owners(action.dest.removeprefix(_OWN))):
            action.help = argparse.SUPPRESS


def _add_market_options(group: Any) -> None:
    group.add_argument("--pairs", type=values.names, metavar="A-B,C-D", help="pairs to simulate (default: a few)")
    group.add_argument(
        "--seed", type=int, default=1, metavar="N", help="the same seed gives the same market (default: 1)"
    )
    group.add_argument(
        "--rate", type=values.at_least_zero, default=50.0, metavar="N", help="public messages per second (default: 50)"
    )
    group.add_argument(
        "--clock-offset",
        type=_offset,
        default=0.0,
        metavar="S",
        help="seconds by which its clock is ahead (default: 0)",
    )
    group.add_argument("--paused", action="store_true", help="start with the market paused")
    group.add_argument(
        "--account",
        dest="accounts",
        action="append",
        type=_account,
        metavar="NAME[:SUB,SUB]",
        help="an account and its sub-accounts; may be repeated (default: main, or main:savings,bot if the exchange has sub-accounts)",
    )
    group.add_argument(
        "--activity",
        type=values.share,
        default=0.02,
        metavar="X",
        help="fraction of steps in which an account trades on its own (default: 0.02)",
    )
    group.add_argument(
        "--fault",
        dest="faults",
        action="append",
        default=[],
        metavar="FAULT",
        help="fault to inject, see below; may be repeated",
    )


def _add_own_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of each exchange's protocol; options that are not given are absent from the namespace.

    Exchanges may share an option; the help is that of the first one.
    """
    from bridge.simulator import EXCHANGES
    from bridge.simulator.options import options_of

    known: set[str] = set()
    groups: dict[tuple[str, ...], Any] = {}
    for exchange in EXCHANGES.values():
        for option in options_of(exchange.options):
            if option.name in known:
                continue
            known.add(option.name)
            owners = _owners(option.name)
            if owners not in groups:
                groups[owners] = parser.add_argument_group(f"{' and '.join(owners)} only")
            _add_own_option(groups[owners], option)


def _add_own_option(group: Any, option: Option) -> None:
    takes: dict[str, Any] = {
        "flag": {"action": "store_true"},
        "count": {"type": values.count, "metavar": "N"},
        "number": {"type": values.at_least_zero, "metavar": "S"},
        "words": {"type": values.words, "metavar": "A,B"},
        "choice": {"choices": option.choices},
    }
    name, settings = f"--{option.name.replace('_', '-')}", takes[option.kind]
    group.add_argument(name, dest=_OWN + option.name, default=argparse.SUPPRESS, help=option.help, **settings)


def _owners(option: str) -> tuple[str, ...]:
    """The exchanges that have an option."""
    from bridge.simulator import EXCHANGES

    return tuple(name for name, exchange in EXCHANGES.items() if option in exchange.options.__struct_fields__)


def _add_setup_options(group: Any) -> None:
    group.add_argument("--write-config", type=Path, metavar="FILE", help="write a connector config for this simulator")
    group.add_argument(
        "--redis-url",
        default="redis://127.0.0.1:6379/0",
        metavar="URL",
        help="Redis URL for --write-config (default: %(default)s)",
    )
    group.add_argument(
        "--key-dir", type=Path, metavar="DIR", help="directory of the accounts' keys; missing keys are created"
    )
    group.add_argument("--journal", type=Path, metavar="FILE", help="write the true events as JSON lines")
    group.add_argument("--tls", action="store_true", help="serve TLS with a new certificate")
    group.add_argument(
        "--tls-dir", type=Path, metavar="DIR", help="directory for the certificates (default: a temporary one)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal; returns 2 if the port is not available, or a file cannot be written.

    Raises:
        ConfigError: an unknown exchange, pair or fault.
    """
    from bridge.printable import printable
    from bridge.process.lifecycle import run_loop
    from bridge.simulator.simulator import ListenError

    try:
        return run_loop(_serve(_config(args), args))
    except OSError as error:
        if error.filename is None and not isinstance(error, ListenError):
            raise
        print(f"tickbridge: {printable(_explained(error, args))}", file=sys.stderr)
        return 2


def _config(args: argparse.Namespace) -> SimulatorConfig:
    import time

    from bridge.simulator import SimulatorConfig, exchange_named
    from bridge.simulator.faults import fault_from_text
    from bridge.simulator.registry import OWN_FAULTS

    exchange = exchange_named(args.exchange)
    settings: dict[str, Any] = {"seed": args.seed, "activity": args.activity}
    if args.accounts:
        settings["accounts"] = tuple(args.accounts)
    if exchange.dialect.trade_ids:
        # A restarted simulator must not reuse ids: a connector would take them for repeats.
        settings["trade_ids_after"] = int(time.time() * 1000) * 10
    return SimulatorConfig(
        exchange=args.exchange,
        market=exchange.market_of(args.pairs, **settings),
        rate=args.rate,
        paused=args.paused,
        clock_offset=args.clock_offset,
        faults=tuple(fault_from_text(text, OWN_FAULTS) for text in args.faults),
        tls=args.tls or args.tls_dir is not None,
        tls_dir=args.tls_dir,
        journal=args.journal,
        options=exchange.options(**_own(args)),
        key_dir=args.key_dir,
    )


def _own(args: argparse.Namespace) -> dict[str, Any]:
    """The given options of the exchange's protocol.

    Raises:
        ConfigError: one belongs to another exchange.
    """
    from bridge.errors import ConfigError, Problem

    given = {name.removeprefix(_OWN): value for name, value in vars(args).items() if name.startswith(_OWN)}
    problems = [
        Problem(f"--{name.replace('_', '-')}", f"is an option of {' and '.join(_owners(name))} only")
        for name in given
        if args.exchange not in _owners(name)
    ]
    if problems:
        raise ConfigError(problems, "simulate")
    return given


async def _serve(config: SimulatorConfig, args: argparse.Namespace) -> int:
    import asyncio

    from bridge.process.lifecycle import end_on_signals, unless_stopped
    from bridge.simulator import Simulator

    stop = asyncio.Event()
    end_on_signals(lambda _: stop.set())
    simulator = Simulator(config)
    async with simulator.serve(args.host, args.port) as urls:
        secrets = _write_keys(simulator, args)
        if args.write_config is not None:
            _write_config(simulator, urls, args, secrets)
        for line in _lines(simulator, urls, args, secrets):
            print(line, flush=True)
        await unless_stopped(stop, simulator.failure())
    print("stopped", flush=True)
    return 0


def _explained(error: OSError, args: argparse.Namespace) -> str:
    import errno

    if error.filename is not None:
        doing = "write" if error.filename == str(args.journal) else "use"
        return f"cannot {doing} {error.filename}: {error.strerror}; choose another place"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {args.port} on {args.host} is in use; stop what uses it, or choose another (--port 0: any free one)"
        )
    return f"cannot listen on {args.host}:{args.port}: {error.strerror or error}; choose another --host or --port"


def _lines(simulator: Simulator, urls: Urls, args: argparse.Namespace, secrets: dict[str, Path]) -> list[str]:
    """The lines printed at the start."""
    lines = [
        f"simulated {args.exchange}: seed {args.seed}, {args.rate:g} messages/s",
        f"websocket  {urls.ws}",
        f"rest       {urls.rest}",
        f"control    {urls.control}",
    ]
    lines += [f"pair       {name:<9}  {pair_id}" for name, pair_id in simulator.dialect.pair_ids().items()]
    for access in simulator.dialect.accesses():
        secret = secrets.get(access.account)
        where = f"key file {secret}" if secret else "key file: with --key-dir or --write-config"
        lines.append(f"account    {access.account:<9}  api key {access.api_key}, {where}")
        for sub in simulator.market.subaccounts(access.account):
            lines.append(f"           {sub.name.partition('/')[2]:<9}  sub-account {sub.uuid}")
    if urls.ca_file is not None:
        lines.append(f"tls        CA {urls.ca_file}  (a client trusts it with SSL_CERT_FILE={urls.ca_file})")
    if args.write_config is not None:
        lines.append(f"config     {args.write_config}  (tickbridge run --config {args.write_config})")
    lines.append("ready; Ctrl-C ends")
    return lines


def _write_keys(simulator: Simulator, args: argparse.Namespace) -> dict[str, Path]:
    """Write the accounts' secrets, if there is a place for them; returns account → file."""
    files: dict[str, Path] = {}
    suffix = simulator.dialect.key_suffix
    for access in simulator.dialect.accesses():
        if args.key_dir is not None:
            file = args.key_dir / f"{access.account}{suffix}"
        elif args.write_config is not None:
            file = args.write_config.with_name(f"{args.write_config.stem}.{access.account}{suffix}")
        else:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        # Permissions are set before the secret is written.
        file.touch(mode=0o600)
        file.chmod(0o600)
        with naming(file):
            file.write_bytes(access.secret)
        files[access.account] = file.absolute()
    return files


def _write_config(simulator: Simulator, urls: Urls, args: argparse.Namespace, secrets: dict[str, Path]) -> None:
    import yaml

    access = simulator.dialect.accesses()[0]
    config = {
        "redis": {"url": args.redis_url},
        "connectors": [
            {
                "name": args.exchange,
                "exchange": args.exchange,
                "pairs": list(simulator.market.pairs),
                "channels": ["trades", "book", "quotes", "ticker"],
                "account": access.account,
                "url": urls.ws,
                "rest_url": urls.rest,
            }
        ],
        "accounts": {
            access.account: {
                "exchange": args.exchange,
                "api_key": access.api_key,
                "api_secret_file": str(secrets[access.account]),
            }
            | ({"subaccounts": True} if simulator.dialect.subaccounts else {})
        },
    }
    args.write_config.touch(mode=0o600)  # it has an account's key
    with naming(args.write_config):
        args.write_config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def _offset(text: str) -> float:
    seconds = values.number(text)
    if abs(seconds) > _MOST_AHEAD:
        raise argparse.ArgumentTypeError(f"{text} is out of range: clocks may differ by {_MOST_AHEAD:.0f} s")
    return seconds


def _account(text: str) -> AccountSpec:
    from bridge.simulator import AccountSpec

    name, _, subs = text.partition(":")
    names = (name, *filter(None, subs.split(",")))
    if not all(each.replace("-", "").replace("_", "").isalnum() for each in names):
        raise argparse.ArgumentTypeError(f"{text!r}: letters, digits, - and _ only, as in main:savings,bot")
    return AccountSpec(name, names[1:])


if __name__ == "__main__":
    from bridge.cli.main import main

    sys.exit(main(["simulate", *sys.argv[1:]]))
