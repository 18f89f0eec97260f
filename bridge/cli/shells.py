"""The completion scripts of bash, zsh and fish."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bridge.cli.described import Command, Option, Value

__all__ = ["bash", "fish", "zsh"]

_TOP = {"--help": "show the help", "--version": "show the version"}

_BASH = """\
# Completion of tickbridge for bash; made by 'tickbridge completion bash'.
_tickbridge_names() {{  # names of the config
    local number config=()
    for ((number = 2; number < COMP_CWORD; number++)); do
        if [[ ${{COMP_WORDS[number]}} == --config ]]; then
            config=(--config "${{COMP_WORDS[number + 1]/#\\~/$HOME}}")
        fi
    done
    "${{COMP_WORDS[0]}}" completion --names "$1" "${{config[@]}}" 2>/dev/null
}}

_tickbridge_files() {{
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "$1"))
}}

_tickbridge() {{
    local IFS=$' \\t\\n'
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command=${{COMP_WORDS[1]}}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "{top}" -- "$word"))
        return
    fi
    if [[ $word == "=" ]]; then  # bash takes --option=value for three words
        word=""
    elif [[ $before == "=" ]]; then
        before=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    IFS=$'\\n'
    case "$command $before" in
{values}
    esac
    IFS=$' \\t\\n'
    case "$command" in
{commands}
    esac
}}

complete -F _tickbridge tickbridge
"""

_ZSH = """\
#compdef tickbridge
# Completion of tickbridge for zsh; made by 'tickbridge completion zsh'.
_tickbridge_names() {{  # names of the config
    local -a names config
    local at=${{words[(I)--config]}}
    ((at)) && config=(--config ${{(Q)~words[at + 1]}})
    names=(${{(f)"$(tickbridge completion --names $1 $config 2>/dev/null)"}})
    compadd -a names
}}

_tickbridge() {{
    local -a commands
    commands=(
{commands}
    )
    if ((CURRENT == 2)); then
        _describe command commands -- '(--help --version)'
        return
    fi
    local command=$words[2]
    shift words
    ((CURRENT--))
    case $command in
{cases}
    esac
}}

if [[ $funcstack[1] == _tickbridge ]]; then
    _tickbridge "$@"
else
    compdef _tickbridge tickbridge
fi
"""

_FISH = """\
# Completion of tickbridge for fish; made by 'tickbridge completion fish'.
function __tickbridge_names
    set -l words (commandline -opc)
    set -l at (contains -i -- --config $words)
    and set -l config --config $words[(math $at + 1)]
    tickbridge completion --names $argv[1] $config 2>/dev/null
end

complete -c tickbridge -f
{lines}
"""


def bash(commands: Sequence[Command]) -> str:
    """The script for bash 4 or newer."""
    values: list[str] = []
    cases: list[str] = []
    for command in commands:
        flags = [name for option in command.options for name in option.names]
        for option in command.options:
            if option.value is not None:
                patterns = "|".join(f'"{command.name} {name}"' for name in option.names)
                values.append(f"    {patterns})\n        {_bash_value(option.value)}\n        return\n        ;;")
        place = next((value for value in command.positions if value.words or value.files or value.names), None)
        otherwise = f"\n        else\n            {_bash_value(place)}" if place else ""
        cases.append(
            f"    {command.name})\n"
            "        if [[ $word == -* ]]; then\n"
            f'            COMPREPLY=($(compgen -W "{" ".join(flags)}" -- "$word")){otherwise}\n'
            "        fi\n        ;;"
        )
    top = " ".join([*(command.name for command in commands), *_TOP])
    return _BASH.format(top=top, values="\n".join(values), commands="\n".join(cases))


def _bash_value(value: Value) -> str:
    if value.words:
        return f'COMPREPLY=($(IFS=\' \'; compgen -W "{" ".join(value.words)}" -- "$word"))'
    if value.files:
        return '_tickbridge_files "$word"'
    if value.names:
        return f'COMPREPLY=($(compgen -W "$(_tickbridge_names {value.names})" -- "$word"))'
    return ":"


def zsh(commands: Sequence[Command]) -> str:
    """The script for zsh, to be sourced or to be found by ``compinit`` as ``_tickbridge``."""
    described = "\n".join(f"        {_quoted(f'{_colons(c.name)}:{_colons(c.help)}')}" for c in commands)
    cases = []
    for command in commands:
        specs = [spec for option in command.options for spec in _zsh_option(option)]
        specs += [_zsh_place(number, value) for number, value in enumerate(command.positions, 1)]
        inside = " \\\n            ".join(_quoted(spec) for spec in specs)
        cases.append(f"    {command.name})\n        _arguments \\\n            {inside}\n        ;;")
    return _ZSH.format(commands=described, cases="\n".join(cases))


def _zsh_option(option: Option) -> Iterator[str]:
    words = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
    for name in option.names:
        if option.value is None:
            yield f"{name}[{words}]"
        else:
            # Every option may be given again; those that may not are not distinguished here.
            yield f"*{name}[{words}]:{_colons(option.value.label)}:{_zsh_value(option.value)}"


def _zsh_place(number: int, value: Value) -> str:
    place = "*" if value.many else str(number)
    return f"{place}:{_colons(value.label)}:{_zsh_value(value)}"


def _zsh_value(value: Value) -> str:
    if value.words:
        return f"({' '.join(value.words)})"
    if value.files:
        return "_files"
    # With the leading blank, the options of compadd come after the kind.
    return f" _tickbridge_names {value.names}" if value.names else " "


def fish(commands: Sequence[Command]) -> str:
    """The script for fish."""
    lines = [f"complete -c tickbridge -n __fish_use_subcommand -l {n[2:]} -d {_quoted(w)}" for n, w in _TOP.items()]
    for command in commands:
        lines.append(f"complete -c tickbridge -n __fish_use_subcommand -a {command.name} -d {_quoted(command.help)}")
        here = f"complete -c tickbridge -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = f" {_fish_value(option.value)}" if option.value is not None else ""
            lines.append(f"{here} {names}{value} -d {_quoted(option.help)}")
        places = (place for place in command.positions if place.words or place.files or place.names)
        lines += [f"{here} {_fish_value(place, place=True)}" for place in places]
    return _FISH.format(lines="\n".join(lines))


def _fish_value(value: Value, *, place: bool = False) -> str:
    if value.files:
        return "-F" if place else "-r -F"
    words = " ".join(value.words) or (f"(__tickbridge_names {value.names})" if value.names else "")
    takes = "" if place else "-x "
    return f"{takes}-a {_quoted(words)}" if words else takes.strip()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _colons(text: str) -> str:
    return text.replace(":", r"\:")
