"""``tickbridge simulate``: a simulated exchange, WebSocket and REST on one port."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.simulator import AccountSpec, Simulator, SimulatorConfig, Urls

__all__ = ["add_parser", "run"]

_EPILOG = """\
faults (--fault, or POST /sim/faults as JSON): cut close freeze mute drop duplicate reorder corrupt unknown
refuse rest_errors expire_tokens clear; for example
  --fault cut:every=20                        cut all sockets every 20 s
  --fault drop:every=30,type=order_book       leave out one book message of each socket every 30 s
  --fault freeze:after=10,duration=60,pair=BTC-EUR

control (http://HOST:PORT/sim/...): GET state, book?pair=, account?account=, trades?pair=;
POST pause, resume, rate {"rate": N}, step {"steps": N}, faults {"fault": NAME, ...}
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "simulate",
        help="a simulated exchange, WebSocket and REST",
        description="Serves a simulated exchange until SIGTERM or SIGINT.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("exchange", metavar="EXCHANGE", help="which exchange's protocol: limitlex")
    parser.add_argument("--port", type=_port, required=True, metavar="N", help="0: any free port")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    _add_market_options(parser.add_argument_group("market"))
    _add_protocol_options(parser.add_argument_group("protocol"))
    _add_setup_options(parser.add_argument_group("setting up"))
    parser.set_defaults(func=run)


def _add_market_options(group: Any) -> None:
    group.add_argument("--pairs", type=_names, metavar="A-B,C-D", help="default: BTC-EUR,ETH-EUR,LTC-EUR")
    group.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed, the same market (default: 1)")
    group.add_argument(
        "--rate", type=_amount, default=50.0, metavar="N", help="public messages per second (default: 50)"
    )
    group.add_argument("--paused", action="store_true", help="begin with the market held still")
    group.add_argument(
        "--account",
        dest="accounts",
        action="append",
        type=_account,
        metavar="NAME[:SUB,SUB]",
        help="an account and its sub-accounts; may be repeated (default: main:savings,bot)",
    )
    group.add_argument(
        "--activity", type=_share, default=0.02, metavar="X", help="share of steps in which an account trades by itself"
    )
    group.add_argument("--fault", dest="faults", action="append", default=[], metavar="FAULT", help="see below")


def _add_protocol_options(group: Any) -> None:
    group.add_argument(
        "--amounts",
        choices=("absolute", "change"),
        default="absolute",
        help="what order_book.amount is: a level's new size, or the signed change (default: absolute)",
    )
    group.add_argument("--replay-trades", type=_count, default=0, metavar="N", help="send the last N trades at connect")
    group.add_argument("--hello-wallets", action="store_true", help="send the wallets at connect")
    group.add_argument("--token-lifetime", type=_amount, default=900.0, metavar="S", help="seconds (default: 900)")
    group.add_argument("--cut-expired", action="store_true", help="close a socket when its token expires")
    group.add_argument("--nonce-unit", choices=("ms", "s"), default="ms", help="of private calls (default: ms)")
    group.add_argument("--tls", action="store_true", help="serve TLS with a certificate made on the spot")
    group.add_argument(
        "--tls-dir", type=Path, metavar="DIR", help="where the certificates go (default: a temporary one)"
    )


def _add_setup_options(group: Any) -> None:
    group.add_argument(
        "--write-config", type=Path, metavar="FILE", help="write a connector's config for this simulator"
    )
    group.add_argument("--redis-url", default="redis://127.0.0.1:6379/0", metavar="URL", help="for --write-config")
    group.add_argument("--key-dir", type=Path, metavar="DIR", help="where the accounts' keys are, or are written")


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; 2 where the port cannot be had.

    Raises:
        ConfigError: an unknown exchange, pair or fault.
    """
    import asyncio

    try:
        return asyncio.run(_serve(_config(args), args))
    except OSError as error:
        print(f"tickbridge: {_explained(error, args)}", file=sys.stderr)
        return 2


def _config(args: argparse.Namespace) -> SimulatorConfig:
    from bridge.simulator import DEFAULT_PAIRS, LimitlexConfig, SimulatorConfig, market_config
    from bridge.simulator.faults import fault_from_text

    settings: dict[str, Any] = {"seed": args.seed, "activity": args.activity}
    if args.accounts:
        settings["accounts"] = tuple(args.accounts)
    return SimulatorConfig(
        exchange=args.exchange,
        market=market_config(args.pairs or DEFAULT_PAIRS, **settings),
        rate=args.rate,
        paused=args.paused,
        faults=tuple(fault_from_text(text) for text in args.faults),
        tls=args.tls or args.tls_dir is not None,
        tls_dir=args.tls_dir,
        limitlex=LimitlexConfig(
            amounts=args.amounts,
            replay_trades=args.replay_trades,
            hello_wallets=args.hello_wallets,
            token_lifetime=args.token_lifetime,
            cut_expired=args.cut_expired,
            nonce_unit=args.nonce_unit,
            key_dir=args.key_dir,
        ),
    )


async def _serve(config: SimulatorConfig, args: argparse.Namespace) -> int:
    import asyncio
    import signal

    from bridge.simulator import Simulator

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    simulator = Simulator(config)
    async with simulator.serve(args.host, args.port) as urls:
        secrets = _write_keys(simulator, args)
        if args.write_config is not None:
            _write_config(simulator, urls, args, secrets)
        for line in _lines(simulator, urls, args, secrets):
            print(line, flush=True)
        await stop.wait()
    print("stopped", flush=True)
    return 0


def _explained(error: OSError, args: argparse.Namespace) -> str:
    import errno

    if error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror}; choose another place"
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {args.port} on {args.host} is in use; stop what uses it, or choose another (--port 0: any free one)"
        )
    return f"cannot listen on {args.host}:{args.port}: {error.strerror or error}; choose another --host or --port"


def _lines(simulator: Simulator, urls: Urls, args: argparse.Namespace, secrets: dict[str, Path]) -> list[str]:
    """What a user needs to know at the start."""
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
    """Account → file of its private key, where there is a place for it."""
    files: dict[str, Path] = {}
    for access in simulator.dialect.accesses():
        if args.key_dir is not None:
            file = args.key_dir / f"{access.account}.pem"
        elif args.write_config is not None:
            file = args.write_config.with_name(f"{args.write_config.stem}.{access.account}.pem")
        else:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        # Closed to others before the secret is in it.
        file.touch(mode=0o600)
        file.chmod(0o600)
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
                "subaccounts": True,
            }
        },
    }
    args.write_config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return number


def _amount(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must not be negative")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: 0 to 1")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} must not be negative")
    return number


def _names(text: str) -> list[str]:
    return [name.strip().upper() for name in text.split(",") if name.strip()]


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
