"""Logging: one pipeline for this package and for every library, on stderr, without secrets.

JSON lines when stderr is no terminal, readable lines on one. Every line has ``timestamp`` (ISO 8601, UTC), ``level`` and
``event``; ``exchange``, ``connector`` and ``pair`` follow where they are bound.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bridge.redaction import redact, redact_value

__all__ = ["configure_logging", "handle_loop_errors"]

_FIRST = ("timestamp", "level", "event", "exchange", "connector", "pair")
# At their lowest levels these print whole frames and requests, with tokens in them.
_CHATTY = ("websockets", "picows", "aiohttp", "asyncio", "urllib3")


def configure_logging(level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:  # noqa: A002
    """Send all logs to ``stream`` (stderr), from ``level`` upwards, as ``auto``, ``json`` or ``console``.

    May be called again; the last call counts. Libraries are heard from ``warning`` upwards, at ``debug`` from ``info``.
    """
    stream = stream if stream is not None else sys.stderr
    terminal = stream.isatty()
    as_json = format == "json" or (format == "auto" and not terminal)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redact,
        _in_order,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), _name_of_library, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(as_json, terminal)],
        )
    )
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


def handle_loop_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log what no task handled (an exception never retrieved, a failing callback) like everything else."""

    def log(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        details = {key: value for key, value in context.items() if key not in ("message", "exception")}
        structlog.get_logger().error(context.get("message", "unhandled error"), exc_info=error, **details)

    loop.set_exception_handler(log)


def _redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {
        key: value if key.startswith("_") else redact_value(value) for key, value in event.items() if key != "exc_info"
    }


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """When, how bad, what and whose come first in every line."""
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
        return redact(str(console(logger, name, event)))

    return render


def _dumps(event: Any, **options: Any) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"), **options)
