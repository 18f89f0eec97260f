"""``python -m conformance`` as users run it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest

from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer
from tests.unit.doc_pages import ROOT

MISTAKEN = f"{shlex.quote(sys.executable)} -m tests.conformance.mutated "


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "conformance", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=clean_environment(), timeout=PATIENCE
    )


def test_cases_that_pass_with_a_server_of_its_own() -> None:
    ran = run("start-now", "book-gap")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0] == "pass     start-now  From now on, only new entries come, and none is missed"
    assert lines[1].startswith("pass     book-gap   gap makes a book invalid")
    assert lines[-1] == "tickbridge 0.1.0: 2 passed, 0 failed, 0 skipped"


def test_a_case_that_fails_says_what_differs_and_why_it_matters() -> None:
    ran = run("--subject", f"{MISTAKEN}without_holes", "start-now", "hole-at-the-cursor")
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "FAIL     hole-at-the-cursor" in ran.stdout
    assert "The entry at the saved position is still there, the one after it is not." in ran.stdout
    assert 'row 9, md:{x:BTC-USD}:trades: items: expected {"hole": 1, "before": "1004-4"}' in ran.stdout
    assert ran.stdout.endswith("tickbridge 0.1.0: 1 passed, 1 failed, 0 skipped\n")


def test_parts_that_the_subject_lacks() -> None:
    arguments = ("--subject", f"{MISTAKEN}without_wallet", "account-fills")
    ran = run(*arguments)
    assert ran.returncode == 0
    assert "pass     account-fills  Fills with their fees (without wallet)" in ran.stdout
    assert ran.stdout.endswith("1 passed, 0 failed, 0 skipped; 1 cases without wallet\n")
    ran = run("--strict", *arguments)
    assert ran.returncode == 1
    assert "without wallet, and --strict asks for all parts" in ran.stdout


def test_json() -> None:
    ran = run("--json", "--subject", f"{MISTAKEN}without_holes", "start-now", "reset")
    row = json.loads(ran.stdout)
    assert (ran.returncode, row["client"]) == (1, "tickbridge 0.1.0")
    assert (row["passed"], row["failed"], row["skipped"]) == (1, 1, 0)
    assert [(case["case"], case["result"]) for case in row["cases"]] == [("start-now", "pass"), ("reset", "fail")]
    assert any("2001-1" in problem for problem in row["cases"][1]["problems"])


def test_the_list() -> None:
    ran = run("--list")
    assert ran.returncode == 0
    names = {line.split()[0] for line in ran.stdout.splitlines()}
    assert names == {path.stem for path in (ROOT / "conformance" / "cases").iterdir()}


def test_a_subject_that_cannot_be_used_at_all_ends_the_run() -> None:
    script = "import sys; print('no module named tickbridge', file=sys.stderr); sys.exit(1)"
    ran = run("--subject", shlex.join([sys.executable, "-c", script]))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "ended with exit code 1 instead of answering" in ran.stderr
    assert "conformance: stderr: no module named tickbridge" in ran.stderr
    ran = run("--subject", "no-such-subject --port 1")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "conformance: no-such-subject cannot be started: No such file or directory\n"


def test_a_first_answer_without_a_name() -> None:
    script = "for line in open(0): print('{\"ok\":true}', flush=True)"
    ran = run("--subject", shlex.join([sys.executable, "-c", script]))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == 'conformance: its first answer is not {"ok":true,"client":"name version"}\n'


def test_a_subject_that_breaks_in_the_middle_fails_the_case() -> None:
    script = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request.get("end"):
        break
    if "sync" in request:
        sys.exit("panic: out of cheese")
    print(json.dumps({"ok": True, "client": "cheese 1"}), flush=True)
"""
    ran = run("--subject", shlex.join([sys.executable, "-c", script]), "start-now", "book-gap")
    assert (ran.returncode, ran.stderr) == (1, "")
    assert ran.stdout.count("it ended with exit code 1 instead of answering") == 2
    assert ran.stdout.count("stderr: panic: out of cheese") == 2
    assert ran.stdout.endswith("cheese 1: 0 passed, 2 failed, 0 skipped\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["book-gab"], "there is no case book-gab; did you mean book-gap?"),
        (["--subject", "'"], "argument --subject: No closing quotation"),
        (["--subject", " "], "argument --subject: is empty"),
        (["--timeout", "soon"], "'soon' is not a number of seconds above zero"),
        (["--timeout", "nan"], "'nan' is not a number of seconds above zero"),
        (["--redis", "http://localhost"], "redis"),
        (["--folder", "no-such-folder"], "there is no case in no-such-folder"),
        (["--wat"], "unrecognized arguments: --wat"),
    ],
)
def test_mistakes_of_the_user(arguments, said) -> None:
    ran = run(*arguments)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_users_redis_is_used_if_it_is_empty(redis_server: RedisServer) -> None:
    ran = run("--redis", redis_server.url, "connection-cut", "late-join-hash-only")
    assert (ran.returncode, ran.stderr) == (0, "")
    with redis_server.client() as client:
        assert client.dbsize() == 0
        client.set("mine", "precious")
        ran = run("--redis", redis_server.url, "start-now")
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "the database is not empty (DBSIZE is 1), and would be emptied before each case" in ran.stderr
        assert client.get("mine") == "precious"


def test_a_redis_that_is_not_there() -> None:
    ran = run("--redis", "redis://:secret@127.0.0.1:1/0", "start-now")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "refused" in ran.stderr
    assert "secret" not in ran.stderr
    ran = run("--redis", "redis+cluster://127.0.0.1:1", "start-now")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "single server, not on a cluster" in ran.stderr


HEAD = '{"case":"A case","about":"It matters."}'
OPEN, SYNC, EXPECT = '{"open":"k","at":"start"}', '{"sync":true}', '{"expect":{"k":{"items":[]}}}'


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "is empty"),
        (["{"], "wrong.jsonl:1: "),
        (['{"case":"A case"}'], "wrong.jsonl:1: Object missing required field `about`"),
        ([HEAD], "expects nothing"),
        ([HEAD, '{"wait":1}'], "wrong.jsonl:2: is none of redis, cut, open, close, sync, expect"),
        ([HEAD, OPEN, '{"sync":true,"until":1}'], "wrong.jsonl:3: Object contains unknown field `until`"),
        ([HEAD, '{"redis":["SET","a",1]}'], "wrong.jsonl:2: a command is a list of texts"),
        ([HEAD, '{"redis":[]}'], "wrong.jsonl:2: a command is a list of texts"),
        ([HEAD, OPEN, OPEN], "wrong.jsonl:3: k is open already"),
        ([HEAD, '{"close":"k"}'], "wrong.jsonl:2: k is not open"),
        ([HEAD, SYNC], "wrong.jsonl:2: no stream is open"),
        ([HEAD, OPEN, EXPECT], "wrong.jsonl:3: the last sync was about nothing"),
        ([HEAD, OPEN, SYNC, '{"expect":{"l":{"state":""}}}'], "wrong.jsonl:4: the last sync was about k"),
        ([HEAD, OPEN, SYNC, '{"expect":{"k":{"sate":""}}}'], "wrong.jsonl:4: Object contains unknown field `sate`"),
        ([HEAD, '{"redis":["XADD","k"]}', OPEN, SYNC, EXPECT], "wrong:2: Redis refused a command"),
        ([HEAD, '{"redis":["PING"],"fails":"no"}', OPEN, SYNC, EXPECT], "wrong:2: Redis should have refused this: no"),
    ],
)
def test_a_case_that_is_wrong(rows, said, tmp_path) -> None:
    path = tmp_path / "wrong.jsonl"
    path.write_text("".join(f"{row}\n" for row in rows))
    ran = run(str(path))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
