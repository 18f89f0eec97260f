from __future__ import annotations

import contextlib
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bridge import __version__
from bridge.cli import main as cli
from bridge.cli.main import COMMANDS, command_parser, main, parse
from bridge.errors import ConfigError, Problem, RedisUnavailableError
from bridge.redaction import forget_secrets, register_secret
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.preloaded import run


def tickbridge(*arguments, **env):
    """Run the command in a process of its own."""
    return run("bridge", *map(str, arguments), env=clean_environment(**env))


@pytest.mark.parametrize(("arguments", "code"), [((), 1), (("--help",), 0), (("help",), 0)])
def test_help_names_every_command(arguments, code):
    """Without a command the help comes too, and 1, as with git: a script whose variable is empty should notice."""
    result = tickbridge(*arguments)
    assert (result.returncode, result.stderr) == (code, "")
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout
    assert "Exit codes: 0 done" in result.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom bridge.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('redis', 'pydantic', 'aiohttp', 'structlog', 'rich', 'websockets') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env=clean_environment(),
    )
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_a_function(name):
    parser = command_parser(name)
    assert callable(parser.get_default("func"))
    for result in (tickbridge(name, "--help"), tickbridge("help", name)):
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith(f"usage: tickbridge {name} ")
        assert len(result.stdout.partition("\n\n")[0].splitlines()) <= 3


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_misspelt_option_gets_the_usage_of_its_own_command(name):
    result = tickbridge(name, "--hlep")
    assert result.returncode == 1
    first, usage, *_ = result.stderr.splitlines()
    assert first == f"tickbridge {name}: no option '--hlep'; did you mean '--help'?"
    assert usage.startswith(f"usage: tickbridge {name}")
    assert len(result.stderr.splitlines()) <= 4


def test_version():
    result = tickbridge("--version")
    assert (result.returncode, result.stdout) == (0, f"tickbridge {__version__}\n")


def test_the_console_script_is_this_function():
    found = [entry for entry in entry_points(group="console_scripts") if entry.name == "tickbridge"]
    if not found:
        pytest.skip("the package is not installed here, only on the path")
    assert found[0].load() is main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "tickbridge: no command 'fly'; 'tickbridge --help' lists them\nusage: tickbridge [--help]"),
        (["chekc"], "tickbridge: no command 'chekc'; did you mean 'check'?\nusage: tickbridge [--help]"),
        (["--config", "x"], "tickbridge: no option '--config'"),
        (
            ["check", "my.yaml"],
            "tickbridge check: unexpected argument 'my.yaml'; did you mean --config my.yaml?\nusage: ",
        ),
        (
            ["check"],
            "tickbridge check: no config: there is no ./tickbridge.yaml; use --config FILE, or ",
        ),
        (["check", "--confg", "x"], "tickbridge check: no option '--confg'; did you mean '--config'?"),
        (["run", "--conn", "x"], "tickbridge run: no option '--conn'; did you mean '--connector'?"),
        (
            ["check", "--conect"],
            "tickbridge check: no option '--conect'; did you mean '--connect'?\nusage: tickbridge check",
        ),
    ],
)
def test_usage_errors_exit_with_1(arguments, message, tmp_path):
    project = str(Path.cwd())
    with contextlib.chdir(tmp_path):
        result = tickbridge(*arguments, PYTHONPATH=project)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["record", "--out", "x", "--config", "x", "--duration", "soon"], "argument --duration: "),
        (
            ["acl", "--format", "aclfil"],
            "argument --format: no such choice: 'aclfil' (known: setuser, aclfile; did you mean 'aclfile'?)",
        ),
        (
            ["init", "--exchange", "coinbse"],
            "argument --exchange: no such choice: 'coinbse' (did you mean 'coinbase'?)",
        ),
        (["demo", "--seed", "x"], "argument --seed: 'x' is not a whole number"),
    ],
)
def test_a_wrong_value_is_one_line(arguments, line):
    result = tickbridge(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    [said] = result.stderr.splitlines()
    assert said.startswith(f"tickbridge {arguments[0]}: {line}")


@pytest.mark.parametrize(
    "name", ["acl", "tail", "export", "streams", "status", "top", "up", "books", "wallets", "candles", "parquet", "web"]
)
def test_a_namespace_that_keys_cannot_have_is_a_mistake(name):
    positions = {"tail": ["x"], "export": ["x"], "up": ["coinbase", "BTC-USD"], "parquet": ["-o", "x"]}
    result = tickbridge(name, *positions.get(name, ()), "--namespace", "a b")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"tickbridge {name}: argument --namespace: 'a b' should be letters, digits, '_', '.' and '-' only\n"
    )


@pytest.mark.parametrize(
    ("words", "name", "positions"),
    [
        (["pairs", "limitlex", "--json", "btc"], "patterns", ["btc"]),
        (["pairs", "limitlex", "btc", "--rest-url", "x", "eur"], "patterns", ["btc", "eur"]),
        (["tail", "A", "--from", "5s", "B"], "keys", ["A", "B"]),
        (["export", "A", "--format", "csv", "--", "B"], "keys", ["A", "B"]),
        (["up", "lmex", "--plain", "BTC-USD"], "markets", ["lmex", "BTC-USD"]),
    ],
)
def test_options_may_stand_between_positions(words, name, positions):
    assert getattr(parse(words), name) == positions


@pytest.fixture
def outcome(monkeypatch, capsys):
    """Run ``main`` with a command that does what it is told to; returns exit code and stderr."""

    def run(act):
        class Module:
            @staticmethod
            def add_parser(subparsers):
                subparsers.add_parser("check").set_defaults(func=lambda _: act())

        monkeypatch.setattr(cli, "import_module", lambda _: Module)
        code = main(["check"])
        return code, capsys.readouterr().err

    yield run
    forget_secrets()


def _raise(error):
    raise error


def test_outcomes_become_exit_codes(outcome):
    assert outcome(lambda: None) == (0, "")
    assert outcome(lambda: 2) == (2, "")
    assert outcome(lambda: _raise(ConfigError([Problem("a.b", "is wrong")]))) == (
        1,
        "tickbridge: config: 1 mistake\n  a.b: is wrong\n",
    )
    code, text = outcome(lambda: _raise(RedisUnavailableError("redis://h", "refused")))
    assert (code, text) == (2, "tickbridge: Redis at redis://h: refused\n")
    assert outcome(lambda: _raise(KeyboardInterrupt())) == (130, "")


def test_errors_show_no_secret(outcome):
    register_secret("hunter22")
    code, text = outcome(lambda: _raise(ConfigError([Problem("a", "says hunter22")])))
    assert (code, "hunter22" in text) == (1, False)
    code, text = outcome(lambda: _raise(RuntimeError("bug with hunter22 in redis://:other@h")))
    assert code == 2
    assert "RuntimeError: bug with *** in redis://:***@h" in text
    assert "this is a bug in tickbridge" in text


CHATTY = """
import sys
from bridge.cli import main as cli

class Chatty:
    @staticmethod
    def add_parser(subparsers):
        subparsers.add_parser("check").set_defaults(func=lambda _: [print("x" * 1000) for _ in range(10000)])

cli.import_module = lambda _: Chatty
sys.exit(cli.main(["check"]))
"""


def test_a_reader_that_goes_away_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-c", CHATTY],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    assert process.stdout.readline().startswith("xxx")
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["help", "run"], ["check", "--help"]])
def test_help_on_a_full_disk_is_no_crash(arguments):
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "bridge", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
            env=clean_environment(),
        )
    assert (result.returncode, result.stderr) == (2, b"tickbridge: cannot write: No space left on device\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "arguments", [["schema", "config"], ["completion", "zsh"], ["init", "--output", "-"], ["init", "--help"]]
)
def test_what_an_encoding_lacks_is_escaped(arguments, encoding):
    plain, result = tickbridge(*arguments), tickbridge(*arguments, PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.encode("latin-1") == plain.stdout.encode(encoding, "backslashreplace")


def test_a_file_that_cannot_be_used_is_a_message(outcome):
    denied = PermissionError(13, "Permission denied", "/a/file\n")
    assert outcome(lambda: _raise(denied)) == (
        1,
        "tickbridge: cannot use /a/file\\n: Permission denied; choose another place\n",
    )
    assert outcome(lambda: Path("/nonexistent/x").touch())[0] == 1
    full = OSError(28, "No space left on device", "/a/file")
    assert outcome(lambda: _raise(full)) == (
        2,
        "tickbridge: cannot write /a/file: No space left on device; choose another place\n",
    )
    code, said = outcome(lambda: _raise(OSError(22, "Invalid argument")))
    assert (code, "this is a bug" in said) == (2, True)


@pytest.mark.parametrize(("streams", "code"), [({"stdout": "/dev/full"}, 2), ({"stderr": "/dev/full"}, 1)])
def test_a_full_disk_is_no_crash(streams, code):
    """What a command says can't be written: the exit code is still right, and Python adds no words of its own."""
    name, path = next(iter(streams.items()))
    arguments = ["acl"] if name == "stdout" else ["check", "--config", "/nonexistent/config.yaml"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Path(path).open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "bridge", *arguments],
            **{**pipes, name: full},
            timeout=PATIENCE,
            check=False,
            env=clean_environment(),
        )
    assert result.returncode == code
    assert result.stderr in (b"tickbridge: cannot write: No space left on device\n", None)
