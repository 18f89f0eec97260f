"""The page for clients shows how to compare prices without decimals: it has to be right."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
from decimal import Decimal

import pytest

from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.unit.doc_pages import DOCS, blocks

ODD = [
    *("0", "0.0", "00", ".0", "0.", "0e-8", "0E+5", "1", "1.0", "01", "1e0", "10e-1", ".1e1", "10", "9", "9.99", "100"),
    *(
        "1E2",
        "1.00e+2",
        "0.05",
        "5e-2",
        ".5",
        "5.",
        "7994.5",
        "7994.50",
        "7994.500",
        "7994.49",
        "79945e-1",
        "1e-99",
        "1e99",
    ),
    *(
        "1234567890123456789012345678901234567890",
        "1234567890123456789012345678901234567891",
        "0.1234567890123456789012345678901",
    ),
]


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on PATH")
def test_the_comparison_on_the_page_is_that_of_decimals() -> None:
    [code] = blocks(DOCS / "clients.md", "js")
    rand = random.Random(7)
    texts = ODD + [_number(rand) for _ in range(100)]
    pairs = list(itertools.product(texts, texts))
    script = (
        f"{code}\nconst pairs = {json.dumps(pairs)};"
        "console.log(JSON.stringify(pairs.map(([a, b]) => [compare(a, b), key(a) === key(b), isZero(a)])));"
    )
    ran = subprocess.run(
        ["node", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        env=clean_environment(),
    )
    for (a, b), found in zip(pairs, json.loads(ran.stdout), strict=True):
        x, y = Decimal(a), Decimal(b)
        assert found == [(x > y) - (x < y), x == y, x == 0], (a, b)


def _number(rand: random.Random) -> str:
    digits = "".join(rand.choice("0019") for _ in range(rand.randint(1, 6)))
    place = rand.randint(0, len(digits))
    text = f"{digits[:place]}.{digits[place:]}" if rand.random() < 0.7 else digits
    return f"{text}e{rand.randint(-9, 9)}" if rand.random() < 0.3 else text
