from __future__ import annotations

import pytest

from bridge.view.keys import Keys

SEQUENCES = {
    b"\t": ["tab"],
    b"q": ["q"],
    b"?": ["?"],
    b"\x1b[Z": ["shift-tab"],
    b"\x1b[A": ["up"],
    b"\x1b[B": ["down"],
    b"\x1b[C": ["right"],
    b"\x1b[D": ["left"],
    b"\x1bOC": ["right"],  # the same key where the terminal is in application mode
    b"\x1b[1;5D": ["left"],  # with Control
    b"\x1b[5~": ["page-up"],
    b"\x1b[6;5~": ["page-down"],
    b"\x1b[H": ["home"],
    b"\x1bOF": ["end"],
    b"\x1b[4~": ["end"],
    b"\r": ["enter"],
    b"\n": ["enter"],
    b"\x7f": ["backspace"],
    b"\x1b[15~": [],  # F5
    b"\x1bOP": [],  # F1
    b"\x1b[200~": [],  # something is pasted
    b"\x1bq": [],  # Alt and q
    b"\x1b[<0;10;20M": [],  # a mouse
    "é".encode(): ["é"],
}


@pytest.mark.parametrize("data", SEQUENCES, ids=repr)
def test_a_key_is_the_same_in_one_piece_and_byte_by_byte(data):
    assert Keys().feed(data) == SEQUENCES[data]
    if data[0] < 128:
        keys = Keys()
        found = [key for place in range(len(data)) for key in keys.feed(data[place : place + 1])]
        assert found == SEQUENCES[data]
        assert not keys.waiting


def test_what_follows_a_sequence_is_not_lost():
    keys = Keys()
    assert keys.feed(b"\x1b[C\tq\x1b[Zx\x1b[") == ["right", "tab", "q", "shift-tab", "x"]
    assert keys.feed(b"A") == ["up"]


def test_an_escape_after_which_nothing_comes_is_the_key():
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.waiting
    assert keys.flush() == ["escape"]
    assert not keys.waiting
    keys.feed(b"\x1b[1;")
    assert not keys.waiting
    assert keys.flush() == []
    assert keys.feed(b"5C") == ["right"]


def test_a_sequence_without_end_is_not_kept():
    keys = Keys()
    keys.feed(b"\x1b[" + b"1;" * 1000)
    assert not keys.waiting
    assert keys.feed(b"q")[-1:] == ["q"]


def test_an_escape_that_another_one_follows_is_the_key():
    keys = Keys()
    assert keys.feed(b"\x1b\x1b") == ["escape"]
    assert keys.waiting
    assert keys.feed(b"\x1b[A") == ["escape", "up"]
    assert keys.feed(b"\x1b") == []
    assert keys.feed(b"\x1b") == ["escape"]
    assert keys.flush() == ["escape"]
