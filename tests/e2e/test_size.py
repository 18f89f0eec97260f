"""``tickbridge size``, compared with what a connector really makes of its Redis."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import preloaded
from tests.e2e.conftest import Bench, Run
from tests.e2e.harness import eventually
from tests.environment import clean_environment

KEPT = 1_000


def size(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = preloaded.run("bridge", "size", *arguments, env=clean_environment())
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def test_the_estimate_is_what_a_real_run_takes(own_bench: Bench, run: Run, tmp_path: Path) -> None:
    """Memory of full streams, and the bytes that come in, as Redis counts them."""
    simulated = own_bench.simulate(rate=400)
    limits = {channel: {"max_entries": KEPT} for channel in ("trades", "book", "quotes", "ticker")}
    simulated.config["retention"] = limits
    file = simulated.write(tmp_path / "sized.yaml")
    client = own_bench.client
    process = run("run", "--config", str(file))
    process.wait_for("started")

    def numbers() -> dict[str, int]:
        ends = {key: client.xrevrange(key, count=1) for key in client.scan_iter("md:*", _type="stream")}
        return {key: int(rows[0][0].partition("-")[2]) for key, rows in ends.items() if rows}

    def full() -> bool:
        return max(numbers().values(), default=0) > 2 * KEPT

    eventually(full, "a stream that is full")
    before, bytes_before = numbers(), client.info("stats")["total_net_input_bytes"]
    wanted = sum(before.values()) + 3_000
    eventually(lambda: sum(numbers().values()) > wanted, "more entries")
    after, bytes_after = numbers(), client.info("stats")["total_net_input_bytes"]
    assert process.stop() == 0
    found: dict[str, Any] = json.loads(size("--config", str(file), "--measure", "--json").stdout)
    # What is kept of the streams that are full, by Redis' own account.
    taken = {key: client.memory_usage(key, samples=0) for key in after}
    busiest = max(after, key=lambda key: after[key])
    channel = busiest.rpartition(":")[2]
    [row] = [one for one in found["channels"] if one["channel"] == channel]
    ours = float(row["memory_bytes"]) / int(row["streams"])
    assert taken[busiest] * 0.5 < ours < taken[busiest] * 2, (row, taken[busiest])
    rate = sum(float(one["rate"] or 0) for one in found["channels"])
    each = float(found["bytes_in_per_second"]) / rate
    really = (bytes_after - bytes_before) / (sum(after.values()) - sum(before.values()))
    assert really * 0.5 < each < really * 2, (each, really)
    assert found["unknown_rates"] == []
    assert "were measured" in size("--config", str(file), "--measure").stdout


def test_given_rates(own_bench: Bench, tmp_path: Path) -> None:
    file = str(own_bench.simulate().write(tmp_path / "c.yaml"))
    channels = ("trades", "book", "quotes", "ticker", "orders", "fills", "balances")
    rates = [f"--rate={channel}=2" for channel in channels]
    text = size("--config", file, *rates, "--readers", "3").stdout
    assert "give it a maxmemory of" in text
    assert "unknown" not in text
    [last] = size("--config", file).stdout.splitlines()[-1:]
    assert last.startswith("rates of ")
    assert set(last.removeprefix("rates of ").partition(" are unknown")[0].split(", ")) == set(channels)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate", "trade=5"], "no channel 'trade'; did you mean 'trades'?"),
        (["--rate", "trades=many"], "'trades=many' should be CHANNEL=N"),
        (["--rate", "trades=nan"], "'trades=nan' should be CHANNEL=N"),
        (["--readers", "-1"], "--readers: should be 0 or more"),
        (["--window", "soon"], "--window: "),
    ],
)
def test_mistakes(own_bench: Bench, tmp_path: Path, arguments: list[str], words: str) -> None:
    file = str(own_bench.simulate().write(tmp_path / "c.yaml"))
    assert words in size("--config", file, *arguments, code=1).stderr.replace(" (did", "; did").replace(")", "")
