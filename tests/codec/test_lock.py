"""What the image for CCXT installs: all that CCXT needs, at versions that its pins allow, and the CCXT of our table."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bridge.exchanges.ccxt.ids import VERSION
from tests.codec.needs import needs_ccxt

LOCK = Path(__file__).parents[2] / "requirements-ccxt.lock"
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_locked_ccxt_is_that_of_the_table() -> None:
    """Another one may have other ids and channels, or other data."""
    assert LOCKED["ccxt"] == VERSION


@needs_ccxt
def test_nothing_that_ccxt_needs_is_missing_in_the_lock_or_at_another_version() -> None:
    seen: set[str] = set()
    waiting = [Requirement("ccxt")]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        assert requirement.specifier.contains(LOCKED[name]), requirement
        if name not in seen:
            seen.add(name)
            waiting += [Requirement(text) for text in metadata.requires(name) or ()]
    assert {"ccxt", "aiohttp", "cryptography", "coincurve", "uvloop"} <= seen
