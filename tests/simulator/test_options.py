"""The options of an exchange's protocol, as the command offers them."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from bridge.cli import simulate
from bridge.cli.parser import Parser
from bridge.simulator import EXCHANGES
from bridge.simulator.faults import FAULTS, Fault, fault_from_fields
from bridge.simulator.options import Option, options_of


class Venue(Struct, frozen=True):
    """One option of each kind."""

    strict: Annotated[bool, Meta(description="refuse more")] = False
    batch: Annotated[int, Meta(description="rows at once")] = 5
    lifetime: Annotated[float, Meta(description="seconds that a log-in lasts")] = 86_400.0
    ops: Annotated[tuple[str, ...], Meta(description="those that are known")] = ("a", "b")
    form: Annotated[Literal["list", "object"], Meta(description="of data (default: as the day is)")] = "list"


def test_what_a_struct_says_of_its_fields() -> None:
    assert options_of(Venue) == [
        Option("strict", "flag", "refuse more"),
        Option("batch", "count", "rows at once (default: 5)"),
        Option("lifetime", "number", "seconds that a log-in lasts (default: 86400)"),
        Option("ops", "words", "those that are known (default: a,b)"),
        Option("form", "choice", "of data (default: as the day is)", ("list", "object")),
    ]


def parsed(*words: str) -> argparse.Namespace:
    commands = Parser(prog="tickbridge").add_subparsers()
    simulate.add_parser(commands)
    options: argparse.Namespace = commands.choices["simulate"].parse_args([*words, "--port", "0"])
    return options


@pytest.mark.parametrize("name", EXCHANGES)
def test_every_option_of_an_exchange_can_be_given(name: str) -> None:
    """What is given arrives, of the field's own type; what isn't keeps its default."""
    exchange = EXCHANGES[name]
    options = options_of(exchange.options)
    assert options
    for option in options:
        given: Any = {"flag": True, "count": 7, "number": 2.5, "words": ("x", "y"), "choice": option.choices[-1:]}
        value = given[option.kind][0] if option.kind == "choice" else given[option.kind]
        text = {"flag": (), "words": ("x,y",)}.get(option.kind, (str(value),))
        words = (f"--{option.name.replace('_', '-')}", *text)
        config = simulate._config(parsed(name, *words))
        assert config.options == exchange.options(**{option.name: value})


def test_two_exchanges_may_share_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(iter(EXCHANGES.values()))
    others = {"north": Venue, "south": Venue, first.name: first.options}
    exchanges = {
        name: type(first)(name, first.dialect, options, first.pairs, first.market, first.scenario)
        for name, options in others.items()
    }
    monkeypatch.setattr("bridge.simulator.EXCHANGES", exchanges)
    assert vars(parsed("south", "--batch", "9"))["own.batch"] == 9
    parser = Parser(prog="tickbridge").add_subparsers()
    simulate.add_parser(parser)
    assert "north and south only:" in parser.choices["simulate"].format_help()


@pytest.mark.parametrize("name", EXCHANGES)
def test_every_fault_of_its_own_is_described(name: str) -> None:
    own = EXCHANGES[name].faults
    assert not own.keys() & FAULTS.keys()
    described = str(import_module(f"bridge.simulator.{name}.faults").__doc__) if own else ""
    for fault in own:
        assert f"``{fault}``" in described
        assert fault_from_fields({"fault": fault}, own) == Fault(fault)


def test_faults_of_one_name_are_the_same() -> None:
    for one in EXCHANGES.values():
        for other in EXCHANGES.values():
            for name in one.faults.keys() & other.faults.keys():
                assert one.faults[name] == other.faults[name], name
