from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.redaction import MASK, forget_secrets, presentable, redact, redact_value, register_secret, register_secrets

PEM = """-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIBkg4LVWM9nuwNSkTYhIaLNShBfWPs5gbrzAh0FvQdBmoAoGCCqGSM49
AwEHoUQDQgAEKw==
-----END EC PRIVATE KEY-----"""


@pytest.fixture(autouse=True)
def _no_secrets():
    forget_secrets()
    yield
    forget_secrets()


def test_a_secret_is_masked_wherever_it_stands():
    register_secrets(["s3cret/+ value", "s3cret"])
    assert redact("a s3cret b s3cret/+ value c") == f"a {MASK} b {MASK} c"
    assert redact("x=s3cret%2F%2B%20value&y=s3cret%2F%2B+value") == f"x={MASK}&y={MASK}"


@given(st.text(min_size=4).filter(lambda text: len(text.strip()) >= 4))
def test_any_secret_is_masked_in_every_spelling(secret):
    forget_secrets()
    register_secret(secret)
    stripped = secret.strip()
    for spelling in (
        stripped,
        quote(stripped, safe=""),
        json.dumps(stripped),
        json.dumps(stripped, ensure_ascii=False),
        repr(stripped),
    ):
        assert redact(f"<{spelling}>") in (f"<{MASK}>", f'<"{MASK}">', f"<'{MASK}'>")


def test_every_long_line_of_a_key_is_a_secret():
    register_secret(PEM)
    lines = PEM.splitlines()
    assert redact(PEM) == MASK
    assert redact(repr(PEM)) == f"'{MASK}'"
    assert redact(f"key starts {lines[1]}") == f"key starts {MASK}"
    assert redact(lines[0]) == lines[0]


def test_very_short_texts_are_no_secrets():
    register_secret("abc")
    assert redact("abc") == "abc"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("to rediss://user:p@w@h now", "to rediss://user:***@h now"),
        ("wss://x/ws?t=abc.def&z=1", "wss://x/ws?t=***&z=1"),
        ("GET /?a=1&token=abc#x", "GET /?a=1&token=***#x"),
        ("/?Signature=ab%2F", "/?Signature=***"),
        ('{"token": "ey.x\\"y", "n": 1}', '{"token": "***", "n": 1}'),
        ("{'api_secret': 'x', 'ok': 'y'}", "{'api_secret': \"***\", 'ok': 'y'}"),
        ('{"t": "recv"}', '{"t": "recv"}'),
        ("?start=1&at=2", "?start=1&at=2"),
        ("http://h:80/path?mail=a@b", "http://h:80/path?mail=a@b"),
        ("nothing here", "nothing here"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text, clean):
    assert redact(text) == clean


def test_values_of_any_kind():
    register_secret("hunter22")

    class Thing:
        def __str__(self):
            return "thing hunter22"

    cyclic: list[object] = []
    cyclic.append(cyclic)
    assert redact_value(
        {"a": ["x hunter22", (1, 2.5, True, None)], "hunter22": b"hunter22\xff", "t": Thing(), "p": Path("/hunter22")}
    ) == {"a": [f"x {MASK}", [1, 2.5, True, None]], MASK: f"{MASK}\\xff", "t": f"thing {MASK}", "p": f"/{MASK}"}
    assert redact_value(ValueError("bad hunter22")) == f"ValueError: bad {MASK}"
    assert "hunter22" not in str(redact_value({"deep": [[[[[[[[[["hunter22"]]]]]]]]]]}))
    assert redact_value(cyclic)


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 200))
def test_no_limit_cuts_a_secret_in_halves(before, after, limit):
    forget_secrets()
    register_secrets(["hunter22", "a-much-longer-secret-" * 10])
    for secret in ("hunter22", "a-much-longer-secret-" * 10):
        for text in (f"{'.' * before}{secret}{',' * after}", secret * 50, f"{secret}{'.' * before}" * 50):
            shown = redact(text, limit)
            assert len(shown) <= limit
            assert not set(shown) & set("hunter2")


@pytest.mark.parametrize(
    "text",
    [
        'x {"token": "' + "s" * 10_000 + '"}',
        "x {'api_secret': '" + "s" * 10_000 + "'}",
        'x {\\"token\\":\\"' + "s" * 10_000,
        "x wss://h/?t=" + "s" * 10_000,
        "x redis://u:" + "s" * 10_000 + "@h",
    ],
)
@pytest.mark.parametrize("limit", [10, 30, 5_000])
def test_what_looks_like_a_secret_and_does_not_end_is_masked_too(text, limit):
    assert "sss" not in redact(text, limit)


def test_a_text_of_megabytes_costs_no_more_than_its_beginning():
    seen = []

    class Watched(str):
        __slots__ = ()

        def __getitem__(self, part):
            seen.append(len(super().__getitem__(part)))
            return super().__getitem__(part)

    assert len(redact(Watched("x" * 5_000_000), 1_000)) == 1_000
    assert sum(seen) < 10_000


def test_presentable_text_is_redacted_before_it_is_cut():
    register_secret("hunter22")
    assert presentable("\x1b" * 30 + " hunter22" + "x" * 10_000, 200).startswith("\\x1b" * 30)
    for limit in range(60, 200):
        assert "hunter2" not in presentable("\x1b" * 20 + "hunter22" + "x" * 10_000, limit)
