"""Faults on request: what can go wrong, how it is asked for, and whom it strikes.

======================================== ================================================================
fault                                    what happens
======================================== ================================================================
``cut``                                  the TCP connection is aborted
``close``                                the WebSocket is closed cleanly (``code``)
``freeze``                               the socket stays open; nothing is sent, no pong either (``duration``)
``mute``                                 messages stop, pongs go on (``duration``)
``drop``                                 the next ``count`` messages are left out
``duplicate``                            the next ``count`` messages are sent twice
``reorder``                              the next ``count`` messages each change places with the one after
``corrupt``                              the next ``count`` messages are cut in half: no valid JSON;
                                         with ``inject`` the whole message follows
``unknown``                              before the next ``count`` messages stands one of an unknown type
``refuse``                               handshakes are answered ``status`` (503), for ``duration``
``block``                                handshakes are answered 400, for ``duration`` (600)
``delay``                                messages come ``seconds`` later, in their order; with ``ramp`` that grows from
                                         nothing within so many seconds (``duration``)
``maintenance``                          for ``duration``, by ``mode``: ``silent``, all sockets stay open and new ones
                                         are let in, and nothing is said any more; ``refuse``, all sockets are
                                         closed (``code``), and handshakes and REST calls are answered 503
``rest_errors``                          REST calls whose path has ``path`` in it are answered ``status`` (500)
``expire_tokens``                        all tokens given out so far are void; with ``cut`` their sockets go
``clear``                                all of the above end
======================================== ================================================================

An exchange may have faults of its own (``OwnFault``).

Socket and message faults strike the sockets that are open at the time, ``pair`` those of one pair only, ``sockets`` the
``public`` or ``private`` ones only, ``type`` one type of message only: a new connection is served normally. A
frozen or muted socket loses for good what it was not sent. Times are seconds; a ``duration`` of 0 means until the
socket is closed, or until ``clear``. ``after`` delays a fault, ``every`` repeats it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from bridge.errors import ConfigError, Problem

__all__ = [
    "FAULTS",
    "GATE_FAULTS",
    "TARGET",
    "TIMING",
    "Fault",
    "OwnFault",
    "fault_from_fields",
    "fault_from_text",
]

TIMING = frozenset({"after", "every"})
"""The settings that every fault takes."""
TARGET = frozenset({"pair", "sockets"}) | TIMING
"""Those of a fault that strikes some sockets."""
_MESSAGE = TARGET | {"type", "count"}

FAULTS: Mapping[str, frozenset[str]] = {
    "cut": TARGET,
    "close": TARGET | {"code"},
    "freeze": TARGET | {"duration"},
    "mute": TARGET | {"type", "duration"},
    "delay": TARGET | {"type", "duration", "seconds", "ramp"},
    "drop": _MESSAGE,
    "duplicate": _MESSAGE,
    "reorder": _MESSAGE,
    "corrupt": _MESSAGE | {"inject"},
    "unknown": _MESSAGE,
    "refuse": TIMING | {"status", "retry_after", "duration"},
    "block": TIMING | {"duration"},
    "maintenance": TIMING | {"duration", "mode", "code"},
    "rest_errors": TIMING | {"status", "retry_after", "duration", "path"},
    "expire_tokens": TIMING | {"cut"},
    "clear": TIMING,
}
"""Every fault that all exchanges have, and the settings it takes."""

GATE_FAULTS = frozenset({"refuse", "block", "maintenance", "rest_errors"})
"""Faults of the exchange's door (see ``Gate``)."""


class OwnFault(Struct, frozen=True):
    """A fault that not every exchange has: the settings it takes, and what an exchange ``needs`` to have it."""

    settings: frozenset[str]
    needs: str


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """One fault as asked for; see the module's table. ``status`` 0 means the fault's usual one.

    ``deltas`` is for faults of an exchange's own.
    """

    fault: str
    pair: str = ""
    type: str = ""
    sockets: str = ""
    count: int = 1
    duration: float = 0.0
    after: float = 0.0
    every: float = 0.0
    code: int = 1001
    status: int = 0
    retry_after: float = 1.0
    path: str = ""
    inject: bool = False
    cut: bool = False
    mode: str = "silent"
    deltas: bool = False
    seconds: float = 1.0
    ramp: float = 0.0

    @property
    def timed(self) -> bool:
        """Whether it strikes later, not at once."""
        return self.after > 0 or self.every > 0

    def strikes(self, message_type: str, pair: str) -> bool:
        """Whether a message is one that this fault concerns."""
        return (not self.type or self.type == message_type) and (not self.pair or self.pair == pair)


_NONE: Mapping[str, OwnFault] = {}


def fault_from_text(text: str, own: Mapping[str, OwnFault] = _NONE) -> Fault:
    """``drop:every=30,type=order_book`` as on the command line; ``own`` are known besides those of all exchanges.

    Raises:
        ConfigError: with every mistake in it.
    """
    name, _, rest = text.partition(":")
    fields: dict[str, object] = {"fault": name}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        fields[key.strip()] = value.strip() if equals else "true"
    return fault_from_fields(fields, own, where=f"--fault {text}")


def fault_from_fields(
    fields: Mapping[str, object], own: Mapping[str, OwnFault] = _NONE, *, where: str = "fault"
) -> Fault:
    """The fault of a JSON object, ``{"fault":"drop","count":3,"pair":"BTC-EUR"}``; numbers may be text.

    ``own`` are known besides those of all exchanges.

    Raises:
        ConfigError: with every mistake in it.
    """
    name = str(fields.get("fault", ""))
    faults = {**FAULTS, **{each: fault.settings for each, fault in own.items()}}
    if name not in faults:
        raise ConfigError([Problem("fault", f"{name!r} is not a fault", _nearest(name, faults))], where)
    known = faults[name]
    problems = [
        Problem(key, f"{name} has no setting {key!r}", _nearest(key, known))
        for key in fields
        if key != "fault" and key not in known
    ]
    if problems:
        raise ConfigError(problems, where)
    try:
        fault = msgspec.convert(dict(fields), Fault, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError([Problem(name, str(error))], where) from None
    problems = list(_checked(fault))
    if problems:
        raise ConfigError(problems, where)
    return fault


def _checked(fault: Fault) -> list[Problem]:
    problems = []
    if fault.sockets not in ("", "public", "private"):
        problems.append(Problem("sockets", f"{fault.sockets!r}", "public or private"))
    if fault.count < 1:
        problems.append(Problem("count", f"{fault.count}", "at least 1"))
    if fault.mode not in ("silent", "refuse"):
        problems.append(Problem("mode", f"{fault.mode!r}", "silent or refuse"))
    for name in ("duration", "after", "every", "retry_after", "seconds", "ramp"):
        value = getattr(fault, name)
        # NaN is neither; it would never become due.
        if not 0 <= value < float("inf"):
            problems.append(Problem(name, f"{value}", "seconds, not negative"))
    if fault.status and not 400 <= fault.status <= 599:
        problems.append(Problem("status", f"{fault.status}", "an HTTP error status, 400 to 599"))
    if fault.code not in (1000, 1001, 1008, 1011, 1012, 1013) and not 3000 <= fault.code <= 4999:
        problems.append(Problem("code", f"{fault.code}", "a close code that may be sent, such as 1001 or 1012"))
    return problems


def _nearest(word: str, known: Mapping[str, object] | frozenset[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
