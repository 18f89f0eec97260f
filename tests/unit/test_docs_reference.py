"""The documentation held against the code: what it lists exists, and nothing is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
import yaml
from pydantic import BaseModel

import bridge.errors
from bridge.book import Book
from bridge.config import ConnectorSettings, Settings, load_settings
from bridge.config.accounts import account_model
from bridge.connector.router import Router
from bridge.connector.store import Store
from bridge.connector.wiring import build_exchange
from bridge.entries import decode, parse_levels
from bridge.exchanges import all_names, exchange_type, families, names
from bridge.keys import Keys
from bridge.model import (
    BOOKS,
    CONNECTOR_CHANNELS,
    DATA_EVENTS,
    PRIVATE_CHANNELS,
    PUBLIC_CHANNELS,
    Candle,
    Control,
    ControlEvent,
)
from bridge.simulator.faults import FAULTS
from bridge.simulator.registry import OWN_FAULTS
from tests.servers import RedisServer
from tests.unit.doc_pages import (
    CANDLES,
    CONFIGURATION,
    CONTROL,
    EXCHANGE_PAGES,
    EXCHANGES,
    FAULT_TABLE,
    LOG_EVENTS,
    OTHER_KEYS,
    ROOT,
    SOURCES,
    STREAMS,
    WALKTHROUGH,
    blocks,
    rows,
    tables,
    text,
    ticked,
)

FAMILIES = {f"{prefix}<id>": name for prefix, name in families().items()}
"""Exchanges that share a page: as it is named there → one of them."""
NO_LITERAL = ("none", "needed", "empty", "all of the exchange's", "the exchange's", "the environment's")


# --- streams, control entries, other keys ----------------------------------------------------------------------------


def test_every_type_with_its_fields():
    shown = {cells[1].strip("`"): ticked(cells[2]) for cells in entry_rows()}
    expected = {str(kind.__struct_config__.tag): list(kind.WIRE) for kind in (*DATA_EVENTS, Control)}
    assert shown == expected


def test_every_type_stands_in_its_stream():
    shown = {cells[1].strip("`"): cells[0] for cells in entry_rows()}
    channels = {kind: BOOKS if kind.channel in BOOKS else {kind.channel} for kind in DATA_EVENTS}
    written = {str(kind.__struct_config__.tag): ", ".join(sorted(of)) for kind, of in channels.items()}
    assert shown == written | {"control": "all"}


def entry_rows() -> list[list[str]]:
    table = text(STREAMS).split("| stream | `type` |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in table.splitlines()[2:]]


def test_example_entries_are_entries():
    seen = set()
    for line in "".join(blocks(STREAMS, "jsonl")).splitlines():
        row = json.loads(line)
        stream = Keys().parse(row.pop("key"))
        assert re.fullmatch(r"\d{13}-\d+", row.pop("entry_id"))
        event = decode(stream, [part for pair in row.items() for part in pair])
        assert list(row) == ["type", "ts", "recv", *event.WIRE]
        if "bids" in row:
            Book().replace(parse_levels(row["bids"]), parse_levels(row["asks"]))
        seen.add(type(event))
    assert seen >= {kind for kind in DATA_EVENTS if kind.__struct_config__.tag != "position"} | {Control}


def test_every_control_event():
    shown = [ticked(cells[0])[0] for cells in rows(CONTROL, "## Events")]
    assert shown == [str(event) for event in ControlEvent]


def test_every_reason_is_in_the_code_and_every_lost_is_documented():
    code = "".join(text(path) for path in SOURCES)
    reasons = [ticked(cells[1])[0] for cells in rows(CONTROL, "## Reasons")]
    assert len(reasons) > 10
    for reason in reasons:
        for part in reason.split("…"):
            assert part.strip() in code, reason
    calls = r"\b(?:declare_lost|drop_first|_drop|gaps?|control)\((?:[^()]|\([^()]*\))*?f?\"([a-zA-Z{][^\"\n]+)"
    for written in re.findall(calls, code):
        parts = [part for part in re.split(r"\{.*?\}", written) if part.strip()]
        assert any(all(part.strip() in reason for part in parts) for reason in reasons), written


def test_every_key():
    keys = Keys()
    shown = {ticked(cells[0])[0] for cells in rows(STREAMS, "## Keys")}
    made = {keys.stream("<exchange>", "<pair>" if c in PUBLIC_CHANNELS else "<account>", c) for c in CONNECTOR_CHANNELS}
    made |= {keys.snapshot("<exchange>", "<pair>"), keys.wallet("<exchange>", "<account>"), keys.catalog()}
    made |= {keys.accounts_catalog(), keys.instrument("<exchange>", "<pair>")}
    made.add(keys.candles("<exchange>", "<pair>", "<interval>"))
    made |= {keys.service("<instance>")}
    made |= {keys.connector("<name>"), keys.cursor("<name>"), keys.rejects("<exchange>")}
    made |= {keys.fence("<name>"), keys.limits_held("<host>"), keys.limits_used("<host>")}
    assert shown == made | {"acct:{<exchange>:<account>/<subaccount>}:…", "nautilus:{<exchange>:<pair>}:…"}


async def test_heartbeat_and_catalog_have_the_fields_that_are_documented(redis_server: RedisServer, tmp_path):
    path = tmp_path / "config.yaml"
    connector = {"name": "one", "exchange": "limitlex", "pairs": ["BTC-EUR"], "account": "main"}
    account = {"exchange": "limitlex", "api_key": "k", "api_secret": "s"}
    path.write_text(
        yaml.safe_dump({"redis": {"url": redis_server.url}, "connectors": [connector], "accounts": {"main": account}})
    )
    settings = load_settings(path, {})
    exchange = build_exchange(settings, settings.connectors[0])
    log = structlog.get_logger()
    async with Store(settings, "one", "limitlex", log) as store:
        router = Router(exchange, settings.connectors[0], store, settings, log)
        await router.open()
        await store.presence.beat(router.report.heartbeat())
        router.failed.cancel()
    with redis_server.client() as client:
        beat = client.hgetall("bridge:connector:one")
        public, private = (
            {tuple(json.loads(value)) for value in client.hvals(name)}
            for name in ("bridge:catalog", "bridge:catalog:accounts")
        )
    documented = [name for cells in rows(OTHER_KEYS, "## Heartbeat") for name in ticked(cells[0])]
    assert sorted(documented) == sorted(beat)
    examples = [
        {tuple(json.loads(line)) for line in blocks(OTHER_KEYS, "json")[number].splitlines()} for number in (0, 1)
    ]
    assert [public, private] == examples


def test_the_wallet_hash_is_as_its_module_says():
    import consumers.wallets

    shown = {name for cells in rows(OTHER_KEYS, "## Wallet") for name in ticked(cells[0])}
    said = re.findall(r"^    (\w+(?::<[\w ]+>)+|fills, fill:last)  ", str(consumers.wallets.__doc__), re.MULTILINE)
    assert shown == {name for names in said for name in names.split(", ")}


# --- configuration, log events, faults -------------------------------------------------------------------------------


def documented_settings() -> list[SimpleNamespace]:
    """All settings, then the options of every exchange; `exchange` is whose they are."""
    owned = [("limitlex", cells) for cells in tables(CONFIGURATION)]
    for page in sorted(EXCHANGE_PAGES.glob("*.md")):
        owned += [(FAMILIES.get(name, name), cells) for name in page_names(page) for cells in rows(page, "## Options")]
    return [
        SimpleNamespace(
            exchange=exchange,
            name=cells[0].strip("`"),
            variable=f"TICKBRIDGE_{cells[1].strip('`')}",
            default=cells[2].strip("`"),
            literal=cells[2].startswith("`"),
        )
        for exchange, cells in owned
    ]


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting's path; list items and mappings are shown by one example."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and name != "options":
            yield from leaves(inner, f"{prefix}{name}.")
            continue
        yield prefix + name
        if name in ("connectors", "accounts") and not prefix:
            example = {
                "connectors": ("connectors.0.", ConnectorSettings),
                "accounts": ("accounts.main.", account_model()),
            }
            yield from leaves(example[name][1], example[name][0])


def test_every_setting_is_documented_and_no_other():
    one_each = [*names(), *FAMILIES.values()]
    options = [name for exchange in one_each for name in exchange_type(exchange).Options.model_fields]
    assert sorted(row.name for row in documented_settings()) == sorted([*leaves(Settings), *options])


def test_the_variables_are_the_settings():
    for row in documented_settings():
        known = "." in row.name or row.name in Settings.model_fields
        path = row.name if known else f"connectors.0.options.{row.name}"
        assert row.variable == "TICKBRIDGE_" + path.replace(".", "__").upper()


def test_the_defaults_are_the_defaults():
    """Each documented default, given by its variable, changes nothing."""
    base = {
        "TICKBRIDGE_CONNECTORS__0": "{name: a, exchange: limitlex, pairs: [BTC-EUR]}",
        "TICKBRIDGE_ACCOUNTS__MAIN": "{exchange: limitlex, api_key: k, api_secret: s}",
    }
    exchange = exchange_type("limitlex")
    compared = 0
    for row in documented_settings():
        name = row.name
        if not row.literal:
            assert row.default in NO_LITERAL, name
            continue
        connector = {"TICKBRIDGE_CONNECTORS__0": f"{{name: a, exchange: {row.exchange}, pairs: [BTC-EUR]}}"}
        plain = load_settings(None, {**base, **connector})
        given = load_settings(None, {**base, **connector, row.variable: row.default})
        if name == "redis.url":
            assert given.redis.plain_url == plain.redis.plain_url
        elif name == "connectors.0.ping_interval":
            assert given.connectors[0].ping_interval == exchange.ping
        elif name == "connectors.0.dead_after":
            assert given.connectors[0].dead_after == exchange.dead
        else:
            assert given == plain, name
        compared += 1
    assert compared > 25


def test_every_log_event_is_documented_with_its_level():
    logged: dict[str, str] = {}
    for path in SOURCES:
        if path.is_relative_to(ROOT / "bridge" / "demo"):
            continue
        for level, event in re.findall(r"log(?:ger\(\))?\.(\w+)\(\s*\"(\w+)\"", text(path)):
            logged[event] = {"exception": "error"}.get(level, level)
    shown = {ticked(cells[0])[0]: cells[1] for cells in rows(LOG_EVENTS, "## Events of connectors")}
    assert shown == logged


def test_every_fault_is_documented_with_its_settings():
    shown = {ticked(cells[0])[0]: set(ticked(cells[2])) for cells in rows(FAULT_TABLE, "### Faults")}
    faults = {**FAULTS, **{name: fault.settings for name, fault in OWN_FAULTS.items()}}
    assert shown == {name: set(settings) - {"after", "every"} for name, settings in faults.items()}


# --- exchanges, architecture, errors ---------------------------------------------------------------------------------


def test_quotes_from_the_code_are_the_code():
    quotes = re.findall(r"<!-- (\S+\.py) -->\n *```python\n(.*?)\n *```", text(WALKTHROUGH), re.DOTALL)
    assert len(quotes) > 8
    for path, quote in quotes:
        assert quote in text(ROOT / path), quote


def test_every_exchange_is_in_the_list():
    shown = re.findall(r"^\| \[`([^`]+)`\]\(exchanges/[a-z-]+\.md\)", text(EXCHANGES), re.MULTILINE)
    assert shown == sorted([*names(), *FAMILIES])


def test_every_exchange_has_a_page_with_its_options():
    """A page may describe several exchanges, which then share their options."""
    named = {name: page for page in sorted(EXCHANGE_PAGES.glob("*.md")) for name in page_names(page)}
    assert sorted(named) == sorted([*names(), *FAMILIES])
    for name, page in named.items():
        options = [cells[0].strip("`") for cells in rows(page, "## Options")]
        assert options == list(exchange_type(FAMILIES.get(name, name)).Options.model_fields), name


@pytest.mark.parametrize("name", names())
def test_the_page_of_an_exchange_has_its_channels(name):
    """In the table at its top, which has a column for each exchange of the page."""
    [page] = [page for page in sorted(EXCHANGE_PAGES.glob("*.md")) if name in page_names(page)]
    column = page_names(page).index(name) + 2
    for row, has in (("public", exchange_type(name).channels), ("private", exchange_type(name).private_channels)):
        [line] = re.findall(rf"^\| {row} channels \|.+", text(page), re.MULTILINE)
        words = re.findall(r"\w+", line.split("|")[column])
        assert {channel for channel in CONNECTOR_CHANNELS if channel in words} == has, row


def test_every_exchange_of_a_family_is_on_its_page():
    page = EXCHANGE_PAGES / "ccxt.md"
    shown = {f"ccxt.{ticked(cells[0])[0]}": (cells[1], cells[2]) for cells in rows(page, "## Ids")}
    assert list(shown) == [name for name in all_names() if name.startswith("ccxt.")]
    for name, (promise, channels) in shown.items():
        kind = exchange_type(name)
        private = [f"({channel})" for channel in PRIVATE_CHANNELS if channel in kind.private_channels]
        public = [str(channel) for channel in PUBLIC_CHANNELS if channel in kind.channels]
        assert (promise, channels) == (kind.promise, ", ".join(public + private)), name


def page_names(page: Path) -> list[str]:
    return ticked(
        next(line for line in text(page).splitlines() if line.startswith("| `exchange: ")).replace("exchange: ", "")
    )


def test_the_tree_of_errors_is_whole():
    for path in SOURCES:
        if "BridgeError)" in text(path):
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    known, waiting = set(), [bridge.errors.BridgeError]
    while waiting:
        kind = waiting.pop()
        known.add(kind)
        waiting += kind.__subclasses__()
    known = {kind for kind in known if kind.__module__.split(".")[0] == "bridge"}
    shown = re.findall(r"─ (\w+Error) +(.+)", str(bridge.errors.__doc__))
    assert {name for name, _ in shown} == {kind.__name__ for kind in known} - {"BridgeError"}
    kinds = {kind.__name__: kind for kind in known}
    for name, words in shown:
        package = re.search(r"\[([\w.]+)\]", words)
        above = kinds[name].__base__.__module__
        assert kinds[name].__module__.startswith(package[1] if package else above), name
        if "exit" in words:
            assert f"(exit {kinds[name].exit_code})" in words


def test_every_field_of_a_candle_is_documented():
    shown = [name for cells in rows(CANDLES, "## Entry") for name in ticked(cells[0])]
    assert shown == ["type", "ts", "recv", *Candle.WIRE, *Candle.MORE]
    [example] = blocks(CANDLES, "json")
    assert list(json.loads(example)) == ["type", "ts", "recv", *Candle.WIRE]


def test_every_reason_of_a_candle_is_documented():
    shown = {name for cells in rows(CANDLES, "## Incomplete candles") for name in ticked(cells[0])}
    code = text(ROOT / "consumers" / "bars.py")
    said = set(re.findall(r'_interrupt\("(\w+)"', code)) | {"start", "hole", "trimmed"}
    events = {str(event) for event in ControlEvent} - {"live"}
    assert shown == said | events
