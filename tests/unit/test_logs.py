from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import re
import warnings
import weakref
from datetime import UTC, datetime
from functools import partial

import pytest
import structlog

from bridge.process.logs import FrequentWarning, configure_logging, handle_loop_errors, left_out_lines
from bridge.process.repeats import WHOLE
from bridge.redaction import register_secret

pytestmark = pytest.mark.usefixtures("own_logs")

SECRET = "hunter2-very-secret"


class Terminal(io.StringIO):
    def isatty(self):
        return True


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


# --- text from outside -----------------------------------------------------------------------------------------------

EVIL = "\x1b]0;OWNED\x07\x1b[2J\u009b31m\u202e\ud800\nforged line"


@pytest.mark.parametrize("kind", ["json", "console"])
@pytest.mark.parametrize("terminal", [False, True])
def test_text_from_outside_acts_on_nothing(kind, terminal):
    stream = Terminal() if terminal else io.StringIO()
    configure_logging("info", kind, stream)
    log = structlog.get_logger()
    log.warning("exchange_error", message=EVIL, nested={EVIL: [EVIL]}, raw=EVIL.encode("utf-8", "surrogatepass"))
    logging.getLogger("library").warning(EVIL.replace("\ud800", ""))  # pytest, which listens too, can't take that one
    log.error("failed", exc_info=ValueError(EVIL))
    text = stream.getvalue()
    text.encode()
    plain = re.sub(r"\x1b\[\d*m", "", text) if terminal else text  # the renderer's own colours
    assert not [character for character in plain if character != "\n" and not character.isprintable()]
    assert text.count("OWNED") >= 6
    assert not [line for line in plain.splitlines() if line.startswith("forged line")]
    if kind == "json":
        assert json.loads(text.splitlines()[0])["message"] == EVIL.encode("unicode_escape").decode()


def test_a_line_is_bounded(lines):
    log = structlog.get_logger()
    log.warning(
        "a", error="x" * 5_000_000, more=["y" * 5_000_000] * 1000, **{f"key{n}": "z" * 1000 for n in range(100)}
    )
    assert len(lines.stream.getvalue()) < 64_000
    assert re.fullmatch(r"x{16000,}… \(\d+ more\)", lines()[0]["error"])


def test_a_traceback_is_bounded_and_keeps_both_ends(lines):
    def fall(depth):
        if depth:
            fall(depth - 1)
        raise ValueError("start " + "x" * 5_000_000)

    for number in range(400):
        exec(f"def step{number}(f):\n    f()", globals())  # names of their own: Python folds what recurs

    call = partial(fall, 0)
    for number in range(400):
        call = partial(globals()[f"step{number}"], call)
    try:
        call()
    except ValueError:
        structlog.get_logger().exception("failed")
    trace = lines()[0]["exception"]
    assert len(trace) < 20_000
    assert trace.startswith("Traceback")
    assert re.search(r"\n  … \d+ lines …\n", trace)
    assert "\nValueError: start xxx" in trace


def test_what_json_does_not_know_is_text(lines):
    structlog.get_logger().info("a", nan=float("nan"), big=1 << 100_000, what=object)
    [line] = lines()
    assert line["nan"] == "nan"
    assert line["big"].startswith("0x1000")


# --- repeats -------------------------------------------------------------------------------------------------------------


def test_lines_that_repeat_are_summed_up(lines):
    logs = [structlog.get_logger().bind(connector="c", connection=f"m{number}") for number in range(4)]
    for number in range(1000):
        logs[number % 4].warning("frame_rejected", error=f"bad {number}")
    logging.getLogger("other").warning("once")
    configure_logging("info", "json", lines.stream)  # says what it has left out
    *first, other, summary = lines()
    assert [line["error"] for line in first] == [f"bad {number}" for number in range(4)], "one of each connection"
    assert other["event"] == "once"
    assert (summary["event"], summary["level"], summary["repeated"]) == ("frame_rejected", "warning", 996)
    assert summary["connections"] == ["m0", "m1", "m2", "m3"]
    assert (summary["error"], summary["connector"]) == ("bad 999", "c")


def test_each_setting_that_takes_a_restart_has_its_line(lines):
    log = structlog.get_logger().bind(connector="c")
    for number in range(2 * WHOLE):
        log.warning("restart_needed", setting=f"connectors.c.{number}")
    assert [line["setting"] for line in lines()] == [f"connectors.c.{number}" for number in range(2 * WHOLE)]


class Words:
    """Text that counts how often it is made."""

    made = 0

    def __str__(self):
        self.made += 1
        return "bad"


def test_a_frequent_warning_is_written_and_summed_up_as_any_other_and_makes_no_text_that_nobody_reads(lines):
    log = structlog.get_logger().bind(connector="c", exchange="x")
    often = FrequentWarning(log, "frame_rejected")
    words = Words()
    for number in range(1000):
        often(connection=f"m{number % 2}", error=words)
    log.warning("frame_rejected", connection="m0", error="one by the usual way")
    assert words.made <= WHOLE
    configure_logging("info", "json", lines.stream)
    *first, summary = lines()
    assert [(line["event"], line["error"], line["exchange"]) for line in first] == [
        ("frame_rejected", "bad", "x")
    ] * WHOLE
    assert (summary["repeated"], summary["connections"], summary["level"]) == (1001 - WHOLE, ["m0", "m1"], "warning")
    assert "_admitted" not in summary


def test_a_frequent_warning_obeys_the_level():
    stream = io.StringIO()
    configure_logging("error", "json", stream)
    before = left_out_lines()
    FrequentWarning(structlog.get_logger(), "frame_rejected")(connection="m")
    assert not stream.getvalue()
    assert left_out_lines() == before


def test_kinds_and_levels_are_told_apart(lines):
    log = structlog.get_logger()
    for _ in range(100):
        log.warning("exchange_error", kind="blocked")
    log.warning("exchange_error", kind="login_refused")
    log.error("events_failed")
    assert [line["event"] for line in lines()[WHOLE:]] == ["exchange_error", "events_failed"]


def test_who_asks_for_debug_lines_gets_them_all():
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    for _ in range(100):
        structlog.get_logger().debug("heartbeat_failed")
    assert stream.getvalue().count("heartbeat_failed") == 100


def test_errors_that_repeat_hold_on_to_no_frame(lines):
    class Frame:
        pass

    gone = []

    def fail():
        frame = Frame()
        gone.append(weakref.ref(frame))
        raise ValueError("one")

    for _ in range(10):
        try:
            fail()
        except ValueError:
            structlog.get_logger().exception("session_failed")
    gc.collect()
    assert not any(frame() for frame in gone[WHOLE:])  # pytest keeps what is written
    configure_logging("info", "json", lines.stream)
    assert lines()[-1]["error"] == "ValueError: one"
    assert lines()[-1]["repeated"] == 10 - WHOLE


def test_a_library_that_repeats_itself(lines):
    for number in range(100):
        logging.getLogger("library").warning("try %s", number)
    configure_logging("info", "json", lines.stream)
    assert [line["event"] for line in lines()] == [*(f"try {number}" for number in range(WHOLE)), "try 99"]
    assert (lines()[-1]["repeated"], lines()[-1]["logger"]) == (100 - WHOLE, "library")
