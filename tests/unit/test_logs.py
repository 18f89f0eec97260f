from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import warnings
from datetime import UTC, datetime

import pytest
import structlog

from bridge.logs import configure_logging, handle_loop_errors
from bridge.redaction import forget_secrets, register_secret

SECRET = "hunter2-very-secret"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    forget_secrets()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines():
    """Configures JSON logs at the level given and returns what has been logged since."""
    stream = io.StringIO()

    def read():
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    read.stream = stream
    configure_logging("info", "auto", stream)
    return read


def test_a_line_is_one_json_object(lines):
    log = structlog.get_logger().bind(pair="BTC-EUR", connector="c", exchange="limitlex")
    log.info("connected", attempt=3, text="ü")
    log.debug("not heard")
    [line] = lines()
    assert list(line) == ["timestamp", "level", "event", "exchange", "connector", "pair", "attempt", "text"]
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo == UTC
    assert line == {
        "level": "info",
        "event": "connected",
        "exchange": "limitlex",
        "connector": "c",
        "pair": "BTC-EUR",
        "attempt": 3,
        "text": "ü",
    }


def test_context_variables_are_part_of_every_line(lines):
    structlog.contextvars.bind_contextvars(exchange="coinbase")
    structlog.get_logger().info("a")
    logging.getLogger("some.library").warning("b %s", 1)
    assert [(line["event"], line["exchange"]) for line in lines()] == [("a", "coinbase"), ("b 1", "coinbase")]
    assert lines()[1]["logger"] == "some.library"


def test_a_terminal_gets_readable_lines():
    stream = Terminal()
    configure_logging("info", "auto", stream)
    structlog.get_logger().warning("reconnecting", exchange="limitlex", wait=1.5)
    text = stream.getvalue()
    assert "reconnecting" in text
    assert "limitlex" in text
    assert "\x1b[" in text
    assert not text.startswith("{")


def test_the_format_can_be_chosen():
    stream, terminal = io.StringIO(), Terminal()
    configure_logging("info", "console", stream)
    structlog.get_logger().info("plain")
    configure_logging("info", "json", terminal)
    structlog.get_logger().info("machine")
    assert "plain" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()
    assert "machine" not in stream.getvalue()
    assert json.loads(terminal.getvalue())["event"] == "machine"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_levels(level):
    stream = io.StringIO()
    configure_logging(level, "json", stream)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger(), name)(name)
    heard = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    order = ["debug", "info", "warning", "error"]
    assert heard == order[order.index(level) :]


def test_libraries_never_log_frames():
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    logging.getLogger("websockets.client").debug("> TEXT secret frame")
    logging.getLogger("websockets.client").info("connection open")
    logging.getLogger("aiohttp.client").debug("request")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["connection open"]


@pytest.mark.parametrize("terminal", [False, True])
def test_no_secret_gets_out(terminal):
    register_secret(SECRET)
    stream = Terminal() if terminal else io.StringIO()
    configure_logging("info", "auto", stream)
    log = structlog.get_logger()
    log.info(SECRET, url=f"redis://:{SECRET}@h", nested={"a": [SECRET]}, obj=ValueError(SECRET))
    logging.getLogger("library").warning("said %s", SECRET, extra={"x": SECRET})

    def fail():
        try:
            {}[SECRET]
        except KeyError as error:
            raise RuntimeError(f"outer {SECRET}") from error

    try:
        fail()
    except RuntimeError:
        log.exception("failed", frame="wss://x?t=another-token")
        logging.getLogger("library").exception("failed %r", SECRET)
    text = stream.getvalue()
    assert SECRET not in text
    assert "another-token" not in text
    assert text.count("RuntimeError: outer ***") == 2
    assert text.count("Traceback") >= 2


def test_warnings_are_logged(lines):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    [line] = lines()
    assert "old thing" in line["event"]
    assert line["level"] == "warning"


def test_configuring_again_leaves_one_handler(lines):
    configure_logging("info", "json", lines.stream)
    structlog.get_logger().info("once")
    assert len(lines()) == 1


def test_what_no_task_handled_is_logged(lines):
    register_secret(SECRET)

    async def scenario():
        loop = asyncio.get_running_loop()
        handle_loop_errors(loop)

        async def fail():
            raise RuntimeError(f"lost {SECRET}")

        task = asyncio.create_task(fail(), name="lost-task")
        await asyncio.wait([task])
        del task
        gc.collect()
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    first, second = lines()
    assert first["level"] == second["level"] == "error"
    assert "never retrieved" in first["event"]
    assert "RuntimeError: lost ***" in first["exception"]
    assert "ZeroDivisionError" in second["exception"]
    assert SECRET not in lines.stream.getvalue()
