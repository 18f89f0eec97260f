"""``tickbridge size``: estimates what Redis memory, CPU and network a config needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bridge.cli.common import add_config_option, load

if TYPE_CHECKING:
    from bridge.check.load import Load, Measured
    from bridge.config import Settings
    from bridge.model import Channel

__all__ = ["add_parser"]

_WINDOW = "10m"
_TIMEOUT = 10.0


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "size",
        help="estimate what Redis memory, CPU and network a config needs",
        description="Estimates what Redis memory, CPU and network a config needs, from its retention and the rates of "
        "its streams. Channels without a rate count as full, and not in CPU and network.",
    )
    add_config_option(parser)
    parser.add_argument(
        "--rate",
        metavar="CHANNEL=N",
        action="append",
        default=[],
        help="entries per second of one stream of this channel, such as trades=5; may be repeated",
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="measure rates and bytes per entry in the config's Redis; they count first",
    )
    parser.add_argument(
        "--window", metavar="TIME", default=_WINDOW, help=f"how far back to measure (default: {_WINDOW})"
    )
    parser.add_argument("--readers", metavar="N", type=int, default=1, help="readers of every stream (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with numbers as text")
    parser.set_defaults(func=size)


def size(options: argparse.Namespace) -> int:
    """Print the estimate.

    Raises:
        ConfigError: a mistake in the config or the arguments.
        RedisUnavailableError: Redis was to be measured, and does not answer.
    """
    from bridge.check.load import load_of, pattern_streams
    from bridge.check.sizes import stream_sizes
    from bridge.cli.common import select_connectors
    from bridge.connector.wiring import checked_exchange

    rates, window = _arguments(options)
    settings = load(options.config)
    exchanges = [(one, checked_exchange(settings, one)) for one in select_connectors(settings, [])]
    streams = stream_sizes(settings, exchanges)
    measured = _measured(settings, [stream.key for stream in streams], window) if options.measure else {}
    found = load_of(settings, [*streams, *pattern_streams(settings)], rates, measured)
    if options.json:
        _print_json(found, options.readers, len(measured))
    else:
        print("\n".join(_lines(found, options.readers, len(measured) if options.measure else None)))
    return 0


def _arguments(options: argparse.Namespace) -> tuple[dict[Channel, float], float]:
    import math

    from bridge.config.units import parse_duration
    from bridge.errors import ConfigError, Problem
    from bridge.model import Channel
    from bridge.suggestions import did_you_mean

    rates: dict[Channel, float] = {}
    problems = []
    for given in options.rate:
        name, _, text = given.partition("=")
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if name not in set(Channel):
            problems.append(Problem("--rate", f"no channel {name!r}", did_you_mean(name, list(map(str, Channel)))))
        elif not (math.isfinite(rate) and rate >= 0):
            problems.append(Problem("--rate", f"{given!r} should be CHANNEL=N", "entries per second, such as trades=5"))
        else:
            rates[Channel(name)] = rate
    window = 0.0
    try:
        window = parse_duration(options.window)
    except ValueError as error:
        problems.append(Problem("--window", str(error)))
    else:
        if window <= 0:
            problems.append(Problem("--window", "should be more than 0"))
    if options.readers < 0:
        problems.append(Problem("--readers", "should be 0 or more"))
    if problems:
        raise ConfigError(problems, "arguments")
    return rates, window


def _measured(settings: Settings, keys: Sequence[str], window: float) -> Mapping[str, Measured]:
    from bridge.check.measuring import measure_streams
    from bridge.process.loops import run_async
    from bridge.redis.errors import explained
    from consumers.connection import make_client

    async def main() -> tuple[Mapping[str, Measured], list[str]]:
        client = make_client(settings.redis.topology, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT / 2)
        try:
            with explained(settings.redis.address, settings.redis.plain_url):
                return await measure_streams(client, keys, window)
        finally:
            await client.aclose()

    found, notes = run_async(main())
    for note in notes:
        print(f"tickbridge: {note}", file=sys.stderr)
    return found


def _lines(found: Load, readers: int, measured: int | None) -> Iterator[str]:
    from bridge.check.sizes import bytes_text

    total = sum(channel.streams for channel in found.channels)
    yield f"{total} streams of {found.connectors} connectors" + (
        "" if measured is None else f"; {measured} of them were measured"
    )
    yield f"{'channel':14}{'streams':>8}{'entries/s':>12}{'bytes each':>12}{'kept':>14}{'memory':>10}"
    for channel in found.channels:
        rate = "unknown" if channel.rate is None else f"{channel.rate:,.1f}"
        figures = f"{channel.streams:>8}{rate:>12}{channel.bytes_per_entry:>12,.0f}{channel.kept:>14,.0f}"
        yield f"{channel.channel:14}{figures}{bytes_text(channel.memory):>10}"
    yield f"memory of Redis  {bytes_text(found.memory)}; give it a maxmemory of {bytes_text(found.maxmemory)} or more"
    cpu = found.cpu_writing + readers * found.cpu_per_reader
    yield f"CPU of Redis     {cpu:.1%} of a core: {found.cpu_writing:.1%} to write, {found.cpu_per_reader:.1%} for each reader"
    yield f"network          {_bits(found.bytes_in)} to Redis, {_bits(found.bytes_per_reader)} to each reader"
    yield f"connectors       up to {bytes_text(found.connector_memory)} of memory each, with a full buffer"
    if found.unknown:
        names = ", ".join(found.unknown)
        yield f"rates of {names} are unknown: they count as full, and not in CPU and network; see --rate and --measure"


def _print_json(found: Load, readers: int, measured: int) -> None:
    import msgspec

    from bridge.entries import textual

    channels = [
        {
            "channel": str(channel.channel),
            "streams": channel.streams,
            "rate": channel.rate,
            "bytes_per_entry": round(channel.bytes_per_entry, 1),
            "kept": round(channel.kept),
            "memory_bytes": round(channel.memory),
        }
        for channel in found.channels
    ]
    whole = {
        "channels": channels,
        "measured_streams": measured,
        "memory_bytes": round(found.memory),
        "maxmemory_bytes": round(found.maxmemory),
        "cpu": round(found.cpu_writing + readers * found.cpu_per_reader, 6),
        "cpu_writing": round(found.cpu_writing, 6),
        "cpu_per_reader": round(found.cpu_per_reader, 6),
        "bytes_in_per_second": round(found.bytes_in),
        "bytes_per_reader_per_second": round(found.bytes_per_reader),
        "connector_memory_bytes": round(found.connector_memory),
        "unknown_rates": list(map(str, found.unknown)),
    }
    print(msgspec.json.format(msgspec.json.encode(textual(whole)), indent=2).decode())


def _bits(count: float) -> str:
    return f"{count * 8 / 1e6:.2f} Mbit/s"
