"""What to connect to, as words of the command line: ``EXCHANGE PAIR PAIR EXCHANGE PAIR``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bridge.check.exchange import list_pairs
from bridge.config.values import is_pair, is_pattern, likely_pair, pair_or_pattern
from bridge.demo.recorded import RECORDED, recorded_pairs
from bridge.errors import ConfigError, Problem
from bridge.exchange_errors import RestError
from bridge.exchanges import all_names, exchange_type, names
from bridge.exchanges.toolkit.pairs.listing import nearest_pairs
from bridge.model import CONNECTOR_CHANNELS, PUBLIC_CHANNELS
from bridge.recordings.recording import HeaderRow, read_recording
from bridge.suggestions import did_you_mean, nearest

__all__ = ["Markets", "check_channels", "check_listed", "parse_markets", "recordings_of"]

Markets = dict[str, tuple[str, ...]]
"""Exchange → its pairs, or patterns of pairs."""

_SOURCE = "up"
_LISTING = 15.0
"""Seconds that an exchange may take to list its pairs."""


def parse_markets(words: Sequence[str]) -> Markets:
    """The exchanges with their pairs; an exchange without any gets its usual example pairs.

    Raises:
        ConfigError: a word is neither; it lists all of them, with what may be meant.
    """
    known = frozenset(all_names())
    found: dict[str, list[str]] = {}
    problems: list[Problem] = []
    exchange = ""
    for word in words:
        if word.lower() in known:
            exchange = word.lower()
            found.setdefault(exchange, [])
        elif not exchange:
            hint = did_you_mean(word, names()) or "'tickbridge exchanges' lists them"
            if is_pair(word.upper()):
                hint = f"the exchange comes first: EXCHANGE {word.upper()}"
            problems.append(Problem(word, "is not an exchange", hint))
            break
        elif is_pair(pair := word.upper()) or is_pattern(pair := pair_or_pattern(pair)):
            found[exchange].append(pair)
        else:
            problems.append(Problem(word, f"is neither a pair of {exchange} nor another exchange", _hint(word)))
    if problems:
        raise ConfigError(problems, _SOURCE)
    return {name: tuple(dict.fromkeys(pairs)) or exchange_type(name).example_pairs for name, pairs in found.items()}


def _hint(word: str) -> str:
    meant = likely_pair(word) or nearest(word, names())
    return (
        f"did you mean {meant!r}?" if meant else "write a pair as BASE-QUOTE, as 'tickbridge pairs EXCHANGE' lists them"
    )


def check_channels(markets: Mapping[str, object], channels: Sequence[str]) -> None:
    """Make sure that there are such channels, and that each exchange has one of them.

    Raises:
        ConfigError: not so.
    """
    known = [str(channel) for channel in CONNECTOR_CHANNELS if channel in PUBLIC_CHANNELS]
    problems = [
        Problem("--channels", f"no channel {name!r}", did_you_mean(name, known) or f"known: {', '.join(known)}")
        for name in channels
        if name not in known
    ]
    if not problems and channels:
        for exchange in markets:
            offered = [name for name in known if name in {str(each) for each in exchange_type(exchange).channels}]
            if not set(offered) & set(channels):
                problems.append(Problem("--channels", f"{exchange} has none of these", f"it has {', '.join(offered)}"))
    if problems:
        raise ConfigError(problems, _SOURCE)


def recordings_of(markets: Markets, replay: bool | Path) -> dict[str, Path]:
    """The recording to play for each exchange (``replay``: a file, or those that Tickbridge brings along); none: empty.

    Raises:
        ConfigError: there is no recording, or not of these pairs.
        RecordingError: the file is not a recording.
    """
    if not replay:
        return {}
    if isinstance(replay, Path):
        return {_only(markets, replay): replay.resolve()}
    problems = [
        Problem("--replay", f"there is no recording of {name}", f"there are of {', '.join(RECORDED)}; or name a file")
        for name in markets
        if name not in RECORDED
    ]
    for name, pairs in markets.items() if not problems else ():
        there = recorded_pairs(name)
        missing = [pair for pair in pairs if not is_pattern(pair) and pair not in there]
        problems += [
            Problem(name, f"the recording does not have {pair}", f"it has {', '.join(there)}") for pair in missing
        ]
    if problems:
        raise ConfigError(problems, _SOURCE)
    return {name: RECORDED[name] for name in markets}


def _only(markets: Markets, file: Path) -> str:
    """The exchange of which this file is a recording."""
    (exchange, *others) = markets
    if others:
        raise ConfigError([Problem("--replay", "one file is of one exchange", "name only that exchange")], _SOURCE)
    if not file.exists() and str(file).lower() in all_names():
        hint = "put --replay behind the pairs"
        raise ConfigError([Problem("--replay", f"{file} is an exchange, not a file", hint)], _SOURCE)
    header = next(read_recording(file), None)
    said = header.exchange if isinstance(header, HeaderRow) else ""
    if said and said != exchange:
        raise ConfigError([Problem("--replay", f"{file} is a recording of {said}, not of {exchange}")], _SOURCE)
    return exchange


async def check_listed(markets: Markets, say: Callable[[str], None]) -> None:
    """Make sure that the exchanges list these pairs. One that does not answer is left to its connector.

    Raises:
        ConfigError: a pair is not listed; it says which ones are like it.
    """
    problems: list[Problem] = []
    for exchange, pairs in markets.items():
        try:
            async with asyncio.timeout(_LISTING):
                listed = {pair.pair for pair in await list_pairs(exchange, None, None)}
        except (RestError, TimeoutError) as error:
            words = str(error) or f"no answer within {_LISTING:g} s"
            say(
                f"the pairs of {exchange} cannot be listed ({words}); its connector tries again; --replay needs no network"
            )
            continue
        for pair in pairs:
            if listed and pair not in listed and not is_pattern(pair):
                near = nearest_pairs(pair, sorted(listed))
                hint = f"the closest are {', '.join(near)}" if near else f"'tickbridge pairs {exchange}' lists them"
                problems.append(Problem(pair, f"is not a pair of {exchange}", hint))
    if problems:
        raise ConfigError(problems, _SOURCE)
