"""Folders that commands are told to use, and that cannot be used."""

from __future__ import annotations

import pytest

from tests.cli.test_main import tickbridge


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("chaos", "--dir", "/etc/passwd/x"), "chaos: 1 mistake\n  --dir: /etc/passwd/x: Not a directory"),
        (("chaos", "--dir", "/proc/x"), "chaos: 1 mistake\n  --dir: /proc/x: No such file or directory"),
    ],
)
def test_a_folder_that_cannot_be_used_is_a_mistake(arguments, said):
    result = tickbridge(*arguments)
    assert result.returncode == 1
    assert result.stderr == f"tickbridge: {said} (choose another place)\n"
