"""The configuration written out: a first file with every default, and the settings in effect with their origins."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from pydantic import BaseModel

from bridge.config.accounts import credentials_of
from bridge.config.connectors import ConnectorSettings, exchange_type, options_model, private_channels, public_channels
from bridge.config.document import Location, dotted
from bridge.config.load import Loaded
from bridge.config.schema import descriptions, form_of
from bridge.config.settings import Settings
from bridge.config.units import Form, duration_text

__all__ = ["EffectiveSetting", "config_template", "effective_settings"]

_MASK = "***"
_HEAD = """\
# A config for Tickbridge. A setting right after a '#' shows its default;
# remove the '#' to change it.
#
#   tickbridge check --connect    reports all mistakes, and tries Redis and the exchange
#   tickbridge run                runs the connectors, until Ctrl-C
#   tickbridge tail               shows entries as they arrive (in another terminal)
#
# Every value can come from the environment too: TICKBRIDGE_REDIS__URL=… overrides redis.url.
"""
_REDIS = """\
redis:
  # Also rediss:// (TLS), unix://, redis+sentinel:// and redis+cluster://.
  url: redis://127.0.0.1:6379/0
  #url_file: /run/secrets/redis-url    # in place of url, where it holds a password
"""
_ACCOUNT = """\
# For the account's private channels, give the connector 'account: main' and remove the '#' here.
# Secrets are best kept in files that only this user may read.
#accounts:
#  main:
#    exchange: {exchange}
{credentials}
#    subaccounts: false    # also the messages of its sub-accounts
"""
_SECTIONS = ("retention", "buffer", "heartbeat", "http", "log")
_COLUMN = 44
_WIDTH = 100
"""Columns that a line has; a comment that doesn't fit behind its setting stands above it."""


class EffectiveSetting(Struct, frozen=True):
    """One setting: its path, its value as the file would have it (a secret is ``***``), and where that comes from.

    ``origin`` is ``FILE:LINE``, a variable's name, ``secret file FILE``, ``default`` or ``default of EXCHANGE``.
    """

    path: str
    value: str
    origin: str


def effective_settings(loaded: Loaded) -> list[EffectiveSetting]:
    """Every setting of a configuration, in the order of its schema."""
    return list(_settings_of(loaded, loaded.settings, ()))


def _settings_of(loaded: Loaded, model: BaseModel, place: Location) -> Iterator[EffectiveSetting]:
    connector = model if isinstance(model, ConnectorSettings) else None
    for name, field in type(model).model_fields.items():
        here = (*place, name)
        value = getattr(model, name)
        if parts := _parts(value):
            for key, part in parts:
                yield from _settings_of(loaded, part, (*here, *key))
            continue
        origin = loaded.origin(here)
        if connector is not None and (known := _of_exchange(connector, name)) is not None:
            text, given = known
            yield EffectiveSetting(dotted(here), text, origin if given else f"default of {connector.exchange}")
        elif here == ("redis", "url"):
            yield _redis_url(loaded, origin)
        else:
            yield EffectiveSetting(dotted(here), _value_text(value, form_of(field)), origin or "default")


def _parts(value: Any) -> list[tuple[Location, BaseModel]]:
    """The sections in a value, each with what leads to it; none if it is a value of its own."""
    if isinstance(value, BaseModel):
        return [((), value)]
    if isinstance(value, tuple):
        return [((index,), item) for index, item in enumerate(value) if isinstance(item, BaseModel)]
    if isinstance(value, Mapping):
        return [((key,), item) for key, item in value.items() if isinstance(item, BaseModel)]
    return []


def _of_exchange(connector: ConnectorSettings, name: str) -> tuple[str, bool] | None:
    """Text of a setting whose default is the exchange's, and whether the config gives it; ``None`` for any other."""
    exchange = exchange_type(connector.exchange)
    given = getattr(connector, name)
    match name:
        case "url" | "rest_url":
            return given or getattr(exchange, name), given is not None
        case "ping_interval" | "dead_after":
            default = exchange.ping if name == "ping_interval" else exchange.dead
            return duration_text(given or default), given is not None
        case "silence":
            limits = {**exchange.silence, **given}
            return _value_text({str(channel): duration_text(limit) for channel, limit in limits.items()}), bool(given)
        case "channels":
            return _value_text(given), name in connector.model_fields_set
        case _:
            return None


def _redis_url(loaded: Loaded, origin: str) -> EffectiveSetting:
    redis = loaded.settings.redis
    scheme, separator, rest = redis.address.partition("://")
    known = redis.plain_url.partition("?")[0]
    masked = f"{scheme}://{_MASK}@{rest}" if separator and "@" in known else redis.address
    return EffectiveSetting("redis.url", masked, origin or "default")


def _value_text(value: Any, form: Form | None = None) -> str:
    """A setting's value as the file would have it: ``24h``, ``[BTC-EUR, ETH-EUR]``, ``true``, ``none``."""
    if form is not None and form.text is not None:
        return form.text(value)
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_value_text(key)}: {_value_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def config_template(exchange: str, pairs: Sequence[str], schema: str | None = None) -> str:
    """The text of a config with one connector; ``schema`` is where editors find its JSON Schema."""
    parts = [_HEAD, _REDIS, _connector(exchange, pairs)]
    if private_channels(exchange):
        parts.append(_ACCOUNT.format(exchange=exchange, credentials="\n".join(_credentials(exchange))))
    parts += [_section(name) for name in _SECTIONS]
    parts.append(
        _line("", "namespace", '""', "put before every key, with a ':'", hidden=True)
        + _line("", "shutdown_timeout", "10s", "for an orderly end", hidden=True)
        + _line(
            "", "share_limits", "true", "an exchange's limits are kept together with others on this Redis", hidden=True
        )
        + _line("", "loop", "auto", "asyncio, uvloop; auto takes uvloop if it is installed", hidden=True)
    )
    head = f"# yaml-language-server: $schema={schema}\n" if schema else ""
    return head + "\n".join(parts)


def _connector(exchange: str, pairs: Sequence[str]) -> str:
    known = exchange_type(exchange)
    channels = ", ".join(public_channels(exchange))
    indent = "    "
    lines = [
        "connectors:\n",
        _line("  - ", "name", exchange, "unique; one process may run one connector or many"),
        _line(indent, "exchange", exchange),
        *_list(indent, "pairs", pairs, f"'tickbridge pairs {exchange}' lists them"),
        _line(indent, "channels", f"[{channels}]", "all that the exchange offers"),
        _line(indent, "url", known.url, "the WebSocket's base; ws:// only on loopback", hidden=True),
        _line(indent, "rest_url", known.rest_url, "the REST base; http:// only on loopback", hidden=True),
        _line(indent, "ping_interval", duration_text(known.ping), hidden=True),
        _line(indent, "dead_after", duration_text(known.dead), "without any frame, pongs included", hidden=True),
    ]
    options = options_model(exchange)
    if options.model_fields:
        lines.append(f"{indent}options:    # of {exchange} alone\n")
        lines += _defaults(options, f"{indent}  ")
    return "".join(lines)


def _credentials(exchange: str) -> Iterator[str]:
    """Each that an account has; all in files, but for the API key."""
    for credential in credentials_of(exchange):
        name = credential.name
        words = credential.meaning if credential.required else f"{credential.meaning}, if there is one"
        place = "api_key: your-key" if name == "api_key" else f"{name}_file: {exchange}.{name.removeprefix('api_')}"
        yield f"#    {place}    # {words}"


def _list(indent: str, name: str, items: Sequence[str], words: str) -> Iterator[str]:
    """A list in one line, or in as many as it takes."""
    wrapped = textwrap.wrap(", ".join(items), _WIDTH - len(indent) - 2)
    if len(wrapped) == 1:
        yield _line(indent, name, f"[{wrapped[0]}]", words)
        return
    yield f"{indent}{name}: [    # {words}\n"
    yield from (f"{indent}  {line}\n" for line in wrapped)
    yield f"{indent}]\n"


def _section(name: str) -> str:
    model = Settings.model_fields[name].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    words = descriptions(Settings)[name]
    return f"# {words}\n{name}:\n" + "".join(_defaults(model, "  "))


def _defaults(model: type[BaseModel], indent: str) -> Iterator[str]:
    """All settings of a section with their defaults, hidden; a section in it is a line of its own."""
    words = descriptions(model)
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(value, BaseModel):
            inside = type(value).model_fields.items()
            parts = (f"{key}: {_value_text(getattr(value, key), form_of(inner))}" for key, inner in inside)
            yield _line(indent, name, f"{{{', '.join(parts)}}}", hidden=True)
        else:
            yield _line(indent, name, _value_text(value, form_of(field)), words.get(name, ""), hidden=True)


def _line(indent: str, name: str, value: str, words: str = "", *, hidden: bool = False) -> str:
    # The '#' stands before the indentation's end, so that removing it leaves the setting in its column.
    text = f"{indent}{'#' if hidden else ''}{name}: {value}"
    if not words:
        return f"{text}\n"
    line = f"{text:{_COLUMN}}  # {words}\n"
    if len(line.rstrip()) <= _WIDTH or indent.endswith("- "):
        return line
    above = textwrap.wrap(words, _WIDTH - len(indent) - 2)
    return "".join(f"{indent}# {part}\n" for part in above) + f"{text}\n"
