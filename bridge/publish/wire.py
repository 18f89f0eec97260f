"""Events as the text of an ``XADD``, in the Redis protocol (RESP), ready to send.

This is the hot path: one f-string per event, no list of arguments and no second pass. The functions that do it are
generated at import from the structs of the model, as `dataclasses` generates its methods. A rendered body is a ``str``
in which every character stands for one byte (Latin-1), so that ``len`` gives the protocol's byte counts; text beyond
ASCII is carried as the Latin-1 reading of its UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_type_hints

from bridge.model import (
    BOOKS,
    DATA_EVENTS,
    Channel,
    Control,
    ControlEvent,
    Event,
    Levels,
)

__all__ = ["LENGTHS", "RENDERERS", "command", "head", "render"]

LENGTHS = [str(length) for length in range(1024)]
"""Looking a short text's length up takes half the time of formatting it, and an entry has a dozen."""
_BEFORE_FIELDS = 3
"""``XADD``, the key and the ID."""

_DATA: tuple[type[Any], ...] = DATA_EVENTS
_WIRE = {kind.channel: kind.WIRE for kind in _DATA}
_WIRE.update(dict.fromkeys(BOOKS, _WIRE[Channel.BOOK]))


def head(key: str, channel: Channel | None, *, more: int = 0) -> str:
    """What stands before the ID of an entry: of a data entry of ``channel``, or (``None``) of a control entry.

    ``more`` is the number of further fields (`MORE`) that the entry has.
    """
    fields = 3 + more + len(Control.WIRE if channel is None else _WIRE[channel])
    key = _bytes(key)
    return f"*{_BEFORE_FIELDS + 2 * fields}\r\n$4\r\nXADD\r\n${len(key)}\r\n{key}\r\n"


def command(*words: str | int) -> str:
    """Any command, off the hot path."""
    texts = [_bytes(str(word)) for word in words]
    return f"*{len(texts)}\r\n" + "".join(f"${len(text)}\r\n{text}\r\n" for text in texts)


def render(event: Event) -> str:
    """The field-value pairs of an entry, in the contract's order."""
    body = RENDERERS[event.__class__](event)
    return body if body.isascii() else _generic(event)


def _bytes(text: str) -> str:
    return text if text.isascii() else text.encode().decode("latin-1")


def _levels(levels: Levels) -> str:
    return " ".join(map(":".join, levels))


_TEXT_OF: dict[Any, str] = {
    str: "{value}",
    int: "str({value})",
    int | None: "'' if {value} is None else str({value})",
    Levels: "spaced(map(coloned, {value}))",
    ControlEvent: "str({value})",
}
"""The Python expression for an attribute's text, by the attribute's type."""


def _renderer(kind: type[Any]) -> Callable[..., str]:
    """The renderer of a kind of event, generated: one f-string, which holds all that is the same in every entry.

    Texts of 1024 characters or more are left to `_generic`; the sides of a book may be of any length.
    """
    hints = get_type_hints(kind)
    tag = str(kind.__struct_config__.tag)
    texts = []
    parts = [_field("type", str(len(tag)), tag)]
    for name in ("ts", "recv", *kind.WIRE):
        texts.append(f"{name} = " + _TEXT_OF[hints[name]].format(value=f"e.{name}"))
        length = f"{{len({name})}}" if hints[name] == Levels else f"{{n[len({name})]}}"
        parts.append(_field(name, length, f"{{{name}}}"))
    lines = ["def render(e):", *(f"    {text}" for text in texts), "    try:", f"        body = f'{''.join(parts)}'"]
    for name in getattr(kind, "MORE", ()):
        part = _field(name, f"{{n[len(e.{name})]}}", f"{{e.{name}}}")
        lines += [f"        if e.{name} is not None:", f"            body += f'{part}'"]
    lines += ["        return body", "    except IndexError:", "        return generic(e)"]
    names: dict[str, Any] = {"n": LENGTHS, "generic": _generic, "spaced": " ".join, "coloned": ":".join}
    exec("\n".join(lines), names)  # noqa: S102 - made of nothing but the model's names
    render: Callable[..., str] = names["render"]
    return render


def _field(name: str, length: str, text: str) -> str:
    """A field with its value, as the source of an f-string."""
    return rf"${len(name)}\r\n{name}\r\n${length}\r\n{text}\r\n"


def _generic(event: Event) -> str:
    values: dict[str, Any] = {"type": event.__struct_config__.tag, "ts": event.ts, "recv": event.recv}
    values.update((name, getattr(event, name)) for name in event.WIRE)  # type: ignore[attr-defined]
    for name in getattr(event, "MORE", ()):
        if (value := getattr(event, name)) is not None:
            values[name] = value
    parts = []
    for name, value in values.items():
        text = _levels(value) if isinstance(value, list) else "" if value is None else str(value)
        text = _bytes(text)
        parts.append(f"${len(name)}\r\n{name}\r\n${len(text)}\r\n{text}\r\n")
    return "".join(parts)


_KINDS: tuple[type[Event], ...] = (*DATA_EVENTS, Control)

RENDERERS: dict[type[Event], Callable[..., str]] = {kind: _renderer(kind) for kind in _KINDS}
"""How each kind of event is rendered; what isn't ASCII then goes through `render`."""
