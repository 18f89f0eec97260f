"""The settings as they count, each with where it comes from: for people who wonder which of three places has won."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from pydantic import BaseModel

from bridge.config import catalogue
from bridge.config.document import Location, dotted
from bridge.config.forms import duration_text, form_of, value_text
from bridge.config.load import Loaded
from bridge.config.models import ConnectorSettings
from bridge.config.values import SecretFile

__all__ = ["EffectiveSetting", "effective_settings"]

_MASK = "***"


class EffectiveSetting(Struct, frozen=True):
    """One setting: its path, its value as the file would have it (a secret is ``***``), and where that comes from.

    ``origin`` is ``FILE:LINE``, a variable's name, ``secret file FILE``, ``default`` or ``default of EXCHANGE``.
    """

    path: str
    value: str
    origin: str


def effective_settings(loaded: Loaded) -> list[EffectiveSetting]:
    """Every setting of a configuration, in the order of its schema."""
    return list(_model(loaded, loaded.settings, ()))


def _model(loaded: Loaded, model: BaseModel, place: Location) -> Iterator[EffectiveSetting]:
    connector = model if isinstance(model, ConnectorSettings) else None
    for name, field in type(model).model_fields.items():
        here = (*place, name)
        value = getattr(model, name)
        if value is None and isinstance(getattr(model, f"{name}_file", None), SecretFile) and name != "url":
            continue  # it comes with its file
        if parts := _parts(value):
            for key, part in parts:
                yield from _model(loaded, part, (*here, *key))
            continue
        origin = loaded.origin(here)
        if connector is not None and (known := _of_exchange(connector, name)) is not None:
            text, given = known
            yield EffectiveSetting(dotted(here), text, origin if given else f"default of {connector.exchange}")
        elif here == ("redis", "url"):
            yield _redis_url(loaded, origin)
        else:
            yield EffectiveSetting(dotted(here), value_text(value, form_of(field)), origin or "default")
        if isinstance(value, SecretFile) and name != "url_file":
            path = dotted((*place, name.removesuffix("_file")))
            yield EffectiveSetting(path, _MASK, f"secret file {value.path}")


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
    exchange = catalogue.registry().exchange_type(connector.exchange)
    given = getattr(connector, name)
    match name:
        case "url" | "rest_url":
            return given or getattr(exchange, name), given is not None
        case "ping_interval" | "dead_after":
            default = exchange.ping if name == "ping_interval" else exchange.dead
            return duration_text(given or default), given is not None
        case "silence":
            limits = {**exchange.silence, **given}
            return value_text({str(channel): duration_text(limit) for channel, limit in limits.items()}), bool(given)
        case "channels":
            return value_text(given), name in connector.model_fields_set
        case _:
            return None


def _redis_url(loaded: Loaded, origin: str) -> EffectiveSetting:
    redis = loaded.settings.redis
    if redis.url_file is not None:
        origin = f"secret file {redis.url_file.path}"
    scheme, separator, rest = redis.address.partition("://")
    known = redis.plain_url.partition("?")[0]
    masked = f"{scheme}://{_MASK}@{rest}" if separator and "@" in known else redis.address
    return EffectiveSetting("redis.url", masked, origin or "default")
