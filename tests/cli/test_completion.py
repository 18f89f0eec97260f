"""Shell completion, asked of the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.cli.main import COMMANDS
from bridge.demo.recorded import RECORDED
from tests.environment import clean_environment
from tests.patience import PATIENCE

CONFIG = """
connectors: [{name: first, exchange: coinbase, pairs: [A-B]}, {name: second, exchange: lmex, pairs: [A-USD]}]
accounts: {main: {exchange: lmex, api_key: k, api_secret: s}}
"""
BASH = """
source <(tickbridge completion bash)
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_tickbridge
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def shell(tmp_path):
    """Run a script of a shell where ``tickbridge`` is a command, in a folder with a config."""
    tool = tmp_path / "bin" / "tickbridge"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nPYTHONPATH="{Path.cwd()}" exec {sys.executable} -m bridge "$@"\n')
    tool.chmod(0o755)
    (tmp_path / "tickbridge.yaml").write_text(CONFIG)
    (tmp_path / "other file.yaml").write_text(CONFIG.replace("second", "third"))
    env = clean_environment(PATH=f"{tool.parent}:{os.environ['PATH']}", HOME=str(tmp_path))

    def run(name, script, *arguments):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} here")
        done = subprocess.run(
            [*name.split(), "-c", script, *arguments],
            capture_output=True, text=True, timeout=PATIENCE, check=False, env=env, cwd=tmp_path,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tickbridge ", [*COMMANDS, "--help", "--version"]),
        ("tickbridge ch", ["check", "chaos"]),
        ("tickbridge check --co", ["--config", "--connect"]),
        ("tickbridge init --exchange l", ["limitlex", "lmex"]),
        ("tickbridge pairs coin", ["coinbase"]),
        ("tickbridge simulate ", ["limitlex", "lmex"]),
        ("tickbridge schema ", ["config", "streams"]),
        ("tickbridge completion ", ["bash", "zsh", "fish"]),
        ("tickbridge completion z", ["zsh"]),
        ("tickbridge check --config tick", ["tickbridge.yaml"]),
        ("tickbridge check --config other", ["other file.yaml"]),
        ("tickbridge run --connector ", ["first", "second"]),
        ("tickbridge run --connector s", ["second"]),
        ("tickbridge check --show --c", ["--config", "--connect"]),
        ("tickbridge init --pairs ", []),
        ("tickbridge demo --exchange ", ["limitlex", "lmex", "both", *RECORDED]),
        ("tickbridge tail --exchange c", ["coinbase"]),
        ("tickbridge tail --type co", ["control"]),
        ("tickbridge tail --pair ", ["A-B", "A-USD"]),
        ("tickbridge streams --channel bo", ["book", "book10"]),
        ("tickbridge status --exchange ok", ["okx"]),
        ("tickbridge up coin", ["coinbase"]),
        ("tickbridge up --replay other", ["other file.yaml"]),
        ("tickbridge top --not", ["--not-live"]),
        ("tickbridge books ", ["A-B", "A-USD"]),
        ("tickbridge books --redis-ca-file tick", ["tickbridge.yaml"]),
        ("tickbridge wallets m", ["main"]),
        ("tickbridge candles ", ["A-B", "A-USD"]),
    ],
)
def test_bash_completes(shell, line, words):
    found = shell("bash", BASH, "bash", line)
    assert [word for word in found if word] == words


def test_fish_completes(shell):
    lines = ("init --exchange l", "run --connector ", "completion ", "wallets ")
    script = "tickbridge completion fish | source; " + "; ".join(f"complete -C 'tickbridge {line}'" for line in lines)
    found = [line.partition("\t")[0] for line in shell("fish", script)]
    assert found == ["limitlex", "lmex", "first", "second", "bash", "fish", "zsh", "main"]


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("tickbridge ini", "tickbridge init "),
        ("tickbridge check --conn", "tickbridge check --connect "),
        ("tickbridge completion fi", "tickbridge completion fish "),
        ("tickbridge init --exchange coi", "tickbridge init --exchange coinbase "),
        ("tickbridge run --connector f", "tickbridge run --connector first "),
        ("tickbridge check --config oth", "tickbridge check --config other\\ file.yaml "),
    ],
)
def test_zsh_completes(shell, line, completed):
    """In an interactive zsh on a terminal of its own: the completed line is printed by a widget behind the tab."""
    script = """
        zmodload zsh/zpty
        zpty z zsh -f -i
        zpty -w z 'autoload -U compinit; compinit -u -D; source <(tickbridge completion zsh)'
        zpty -w z 'shown() { print -r -- "<<$BUFFER>>" > out; zle kill-buffer }; zle -N shown; bindkey "^X" shown'
        zpty -w z 'bindkey "^I" complete-word; print REA""DY'
        zpty -r z found "*READY*"
        mkfifo out
        zpty -w -n z "$1"$'\t\x18'
        cat out
        zpty -d z
    """
    assert shell("zsh", script, "zsh", line) == [f"<<{completed}>>"]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_descriptions_are_the_words_of_the_help(shell, name):
    script = "\n".join(shell("bash", f"tickbridge completion {name}"))
    assert "%(" not in script


def test_names_of_a_config_that_is_broken_are_none(shell, tmp_path):
    (tmp_path / "tickbridge.yaml").write_text("connectors: {")
    assert shell("bash", "tickbridge completion --names connector") == []


def test_a_shell_must_be_named(shell):
    assert shell("bash", "tickbridge completion 2>&1; echo $?") == [
        "tickbridge: arguments: 1 mistake",
        "  SHELL: is missing (bash, zsh or fish)",
        "1",
    ]
