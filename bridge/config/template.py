"""A first config: short, with comments, and with every default to be seen and changed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from bridge.config import catalogue
from bridge.config.forms import descriptions, duration_text, form_of, value_text
from bridge.config.models import Settings

__all__ = ["config_template"]

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
#    api_key: your-key
#    api_secret_file: {exchange}.secret
#    subaccounts: false    # also the messages of its sub-accounts
"""
_SECTIONS = ("retention", "buffer", "heartbeat", "http", "log")
_COLUMN = 44
_WIDTH = 100
"""Columns that a line has; a comment that doesn't fit behind its setting stands above it."""


def config_template(exchange: str, pairs: Sequence[str], schema: str | None = None) -> str:
    """The text of a config with one connector; ``schema`` is where editors find its JSON Schema."""
    parts = [_HEAD, _REDIS, _connector(exchange, pairs)]
    if catalogue.private_channels(exchange):
        parts.append(_ACCOUNT.format(exchange=exchange))
    parts += [_section(name) for name in _SECTIONS]
    parts.append(
        _line("", "namespace", '""', "put before every key, with a ':'", hidden=True)
        + _line("", "shutdown_timeout", "10s", "for an orderly end", hidden=True)
        + _line("", "loop", "auto", "asyncio, uvloop; auto takes uvloop if it is installed", hidden=True)
    )
    head = f"# yaml-language-server: $schema={schema}\n" if schema else ""
    return head + "\n".join(parts)


def _connector(exchange: str, pairs: Sequence[str]) -> str:
    known = catalogue.registry().exchange_type(exchange)
    channels = ", ".join(catalogue.public_channels(exchange))
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
    options = catalogue.options_model(exchange)
    if options.model_fields:
        lines.append(f"{indent}options:    # of {exchange} alone\n")
        lines += _defaults(options, f"{indent}  ")
    return "".join(lines)


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
            parts = (f"{key}: {value_text(getattr(value, key), form_of(inner))}" for key, inner in inside)
            yield _line(indent, name, f"{{{', '.join(parts)}}}", hidden=True)
        else:
            yield _line(indent, name, value_text(value, form_of(field)), words.get(name, ""), hidden=True)


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
