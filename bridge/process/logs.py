"""Logging: one pipeline for this package and for every library, on stderr, without secrets.

Lines are readable text on a terminal, otherwise JSON. Every line has ``timestamp`` (ISO 8601, UTC), ``level`` and
``event``, followed by ``exchange``, ``connector`` and ``pair`` if they are bound. Repeated lines are summarised, and text
from outside is escaped and limited in length.
"""

from __future__ import annotations

import asyncio
import atexit
import io
import json
import logging
import sys
import textwrap
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from bridge.printable import LONGEST_CODE, LONGEST_ERROR, LONGEST_TEXT
from bridge.process.output import before_end
from bridge.process.repeats import Repeats, Source, Summary
from bridge.redaction import presentable, redact, redact_value

__all__ = [
    "FrequentWarning",
    "configure_logging",
    "flush_repeats",
    "handle_loop_errors",
    "left_out_lines",
    "presentable_traceback",
    "report_dropped",
]

_FIRST = ("timestamp", "level", "event", "exchange", "connector", "pair")
# At low levels, these print whole frames and requests, including tokens.
_CHATTY = ("websockets", "picows", "aiohttp", "asyncio", "urllib3")

_KIND = ("event", "exchange", "connector", "kind")
"""The fields that say what a line reports."""
_SOURCE = ("connection", "pair", "channel", "type", "key", "setting")
"""The fields that say what it is about."""
_ADMITTED = "_admitted"
"""Marks a line that has been checked for repeats, or is a summary."""
_LEVEL = "_level"
_TRACES = ("exception", "stack")
_FIRST_LINES, _LAST_LINES = 4_096, 12_288
"""Bytes of a traceback that are kept at its beginning and its end."""
_MAX_ITEMS = 100
_MAX_NAMED = 10
_LEAST = 64
"""Minimum of bytes for each value, however long the values before it are."""

_repeats: list[Repeats] = []


def configure_logging(level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:  # noqa: A002
    """Send all logs from ``level`` upwards to ``stream`` (default: stderr), as ``auto``, ``json`` or ``console``.

    May be called again; the last call counts. Libraries log from ``warning`` upwards, or from ``info`` at ``debug``.
    """
    stream = stream or sys.stderr or _Nowhere()  # a process may have been started without a stderr
    terminal = stream.isatty()
    as_json = format == "json" or (format == "auto" and not terminal)
    repeats = _new_repeats()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _without_repeats(repeats),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _make_presentable,
        _in_order,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_of_library, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(as_json, terminal)],
        )
    )
    handler.addFilter(_foreign_filter(repeats))
    logging.raiseExceptions = False  # a line that cannot be written must not cause twenty lines about that
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(threshold)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.INFO if threshold < logging.INFO else logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


class _Nowhere(io.StringIO):
    def write(self, text: str) -> int:
        return len(text)


def handle_loop_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log errors that no task handled (an exception never retrieved, a failing callback) in the usual form."""

    def log(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        details = {key: value for key, value in context.items() if key not in ("message", "exception")}
        structlog.get_logger().error(context.get("message", "unhandled error"), exc_info=error, **details)

    loop.set_exception_handler(log)


def presentable_traceback(text: str) -> str:
    """A traceback without secrets and control characters; a long one is shortened in the middle."""
    lines = text.split("\n")
    first: list[str] = []
    last: list[str] = []
    room = _FIRST_LINES
    while lines and len(first) < len(lines) and room > 0:
        first.append(presentable(lines[len(first)], LONGEST_ERROR))
        room -= len(first[-1]) + 1
    room = _LAST_LINES
    while len(first) + len(last) < len(lines) and room > 0:
        last.append(presentable(lines[-1 - len(last)], LONGEST_ERROR))
        room -= len(last[-1]) + 1
    left_out = len(lines) - len(first) - len(last)
    between = [f"  … {left_out} lines …"] if left_out else []
    return "\n".join([*first, *between, *reversed(last)])


def report_dropped(stream: str, count: int) -> None:
    """Report that lines of a standard stream were dropped because nothing read them."""
    if structlog.is_configured():
        structlog.get_logger().warning("output_dropped", stream=stream, lines=count)
    elif sys.stderr is not None:
        sys.stderr.write(f"{count} lines of {stream} were dropped because nothing read them\n")


def left_out_lines() -> int:
    """The number of repeated log lines that were or will be summarised."""
    return sum(repeats.left_out for repeats in _repeats)


class FrequentWarning:
    """A warning that may occur thousands of times a second, and is cheap if it is only counted.

    It is written and summarised like any other line. Values may be objects that build their text only when needed.
    """

    def __init__(self, log: FilteringBoundLogger, event: str) -> None:
        self._log = log
        self._event = event
        self._context = {**structlog.get_context(log), "event": event, _LEVEL: "warning"}
        self._kind = _kind_of(self._context)

    def __call__(self, **fields: object) -> None:
        """Write the line with these fields (other than ``kind``), or count it."""
        if not _repeats or not logging.getLogger().isEnabledFor(logging.WARNING):
            self._log.warning(self._event, **fields)
            return
        line = {**self._context, **fields}
        if _repeats[0].admit(self._kind, _source_of(line), line):
            self._log.warning(self._event, **fields, **{_ADMITTED: True})


# --- repeats ---------------------------------------------------------------------------------------------------------


def _new_repeats() -> Repeats:
    """A new `Repeats`. What the previous one left out is summarised now, what the new one leaves out at exit."""
    if _repeats:
        _repeats.pop().close()
    else:
        atexit.register(flush_repeats)
        before_end("log summaries", flush_repeats)
    _repeats.append(Repeats(_say_summary))
    return _repeats[0]


def flush_repeats() -> None:
    """Write the pending summaries now, so that they precede the last lines of a process."""
    for repeats in _repeats:
        repeats.flush()


def _without_repeats(repeats: Repeats) -> Processor:
    def process(_: WrappedLogger, level: str, event: EventDict) -> EventDict:
        # Debug lines are never left out. Lines of libraries are filtered below.
        if event.pop(_ADMITTED, False) or level == "debug" or "_record" in event:
            return event
        if not repeats.admit(_kind_of(event), _source_of(event), _kept(level, event)):
            raise structlog.DropEvent
        return event

    return process


def _kind_of(line: Mapping[str, Any]) -> Source:
    return tuple([str(line.get(name, "")) for name in _KIND])


def _source_of(line: Mapping[str, Any]) -> Source:
    return tuple([str(line[name]) if name in line else "" for name in _SOURCE])


def _foreign_filter(repeats: Repeats) -> Callable[[logging.LogRecord], bool]:
    """Filter lines of libraries: their kind is library and level, their source the pattern of the text."""

    def admit(record: logging.LogRecord) -> bool:
        if hasattr(record, "_logger") or record.levelno <= logging.DEBUG:
            return True
        line = {"event": record.getMessage(), "logger": record.name, _LEVEL: record.levelname.lower()}
        return repeats.admit((record.name, record.levelno), (str(record.msg)[:LONGEST_CODE],), line)

    return admit


def _kept(level: str, event: EventDict) -> dict[str, Any]:
    """A line as it is kept for a summary; of an exception only the message, since it keeps stack frames alive."""
    kept = {key: value for key, value in event.items() if key not in ("exc_info", "stack_info")}
    if event.get("exc_info"):
        given = event["exc_info"]
        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        kept.setdefault("error", presentable(f"{type(error).__name__}: {error}", LONGEST_ERROR))
    return {**kept, _LEVEL: level}


def _say_summary(summary: Summary) -> None:
    """Write a summary: the newest line, the number of lines, and the connections or pairs that they were about."""
    line = dict(summary.newest)
    level = logging.getLevelNamesMapping().get(str(line.pop(_LEVEL)).upper(), logging.ERROR)
    event = line.pop("event", "")
    for position, name in enumerate(_SOURCE):
        found = sorted({str(source[position]) for source in summary.sources if len(source) == len(_SOURCE)} - {""})
        if len(found) > 1:
            line.pop(name, None)
            line[f"{name}s"] = found[:_MAX_NAMED] + ["…"] * (len(found) > _MAX_NAMED)
    fields = {**line, "repeated": summary.count, "seconds": summary.seconds, _ADMITTED: True}
    structlog.get_logger().log(level, event, **fields)


# --- text ------------------------------------------------------------------------------------------------------------


def _make_presentable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Remove secrets and control characters, and limit the length of the whole line."""
    left = LONGEST_TEXT

    def text(piece: str) -> str:
        nonlocal left
        shown = presentable(piece, max(_LEAST, left))
        left -= len(shown)
        return shown

    clean: EventDict = {}
    for key, value in event.items():
        if key.startswith("_"):
            clean[key] = value
        elif key in _TRACES:
            clean[key] = presentable_traceback(str(value))
        elif key != "exc_info":
            clean[text(key)] = redact_value(value, text, _MAX_ITEMS)
    return clean


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put time, level, event and origin first in every line."""
    head = {key: event[key] for key in _FIRST if key in event}
    return {**head, **{key: value for key, value in event.items() if key not in head}}


def _name_of_library(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    record: logging.LogRecord | None = event.get("_record")
    if record is not None:
        event["logger"] = record.name
    return event


def _renderer(as_json: bool, terminal: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(serializer=_dumps)
    console = structlog.dev.ConsoleRenderer(
        colors=terminal, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )

    def render(logger: WrappedLogger, name: str, event: MutableMapping[str, Any]) -> str:
        for key in _TRACES:
            if key in event:  # indented, so that no line of a message looks like a line of the log
                event[key] = textwrap.indent(event[key], "  ")
        return redact(str(console(logger, name, event)))

    return render


def _dumps(event: Any, **options: Any) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"), **options)
