from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import zstandard

from bridge.recordings.recording import (
    CloseRow,
    ConnectRow,
    HeaderRow,
    HttpRow,
    RecordingError,
    RecvRow,
    SendRow,
    read_recording,
)
from bridge.recordings.secrets import Redactor
from bridge.recordings.writer import RecordingWriter

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIiwiZXhwIjoxfQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
HEADER = b'{"t":"header","exchange":"x"}\n'


def write(path: Path, redact: Redactor | None = None) -> RecordingWriter:
    return RecordingWriter(path, "limitlex", redact=redact, config={"pairs": ["BTC-EUR"]}, clock=lambda: 1000.5)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
def test_what_is_written_is_read(tmp_path, name):
    path = tmp_path / name
    with write(path) as writer:
        writer.http("rest", "https://h/pairs?x=1", '{"result":[]}', 1.0)
        writer.connected("ws.1", "wss://h/ws?p=a:b", 2.0)
        writer.sent("ws.1", '{"type":"subscribe"}', 3.0)
        writer.received("ws.1", '{"é":"1.10"}'.encode(), 4.25)
        writer.received("ws.1", b"\xff\x00", 5.0)
        writer.received("ws.1", b"{}", 6.0, binary=True)
        writer.closed("ws.1", "went away")
        assert writer.rows == 7
    rows = list(read_recording(path))
    assert rows == [
        HeaderRow(2, "limitlex", 1000.5, {"pairs": ["BTC-EUR"]}),
        HttpRow(1.0, "https://h/pairs?x=1", '{"result":[]}', "rest"),
        ConnectRow("ws.1", 2.0, "wss://h/ws?p=a:b"),
        SendRow("ws.1", 3.0, '{"type":"subscribe"}'),
        RecvRow("ws.1", 4.25, '{"é":"1.10"}'),
        RecvRow("ws.1", 5.0, "/wA=", binary=True),
        RecvRow("ws.1", 6.0, "e30=", binary=True),
        CloseRow("ws.1", 1000.5, "went away"),
    ]
    assert [row.payload for row in rows if isinstance(row, RecvRow)] == ['{"é":"1.10"}'.encode(), b"\xff\x00", b"{}"]


def test_first_keys_are_those_of_the_contract(tmp_path):
    with write(tmp_path / "a.jsonl") as writer:
        writer.connected("ws.1", "wss://h", 2.0)
        writer.received("ws.1", b"{}", 4.0)
    assert (tmp_path / "a.jsonl").read_text().splitlines()[1:] == [
        '{"t":"connect","conn":"ws.1","ts":2.0,"addr":"wss://h"}',
        '{"t":"recv","conn":"ws.1","ts":4.0,"data":"{}"}',
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
def test_flushed_rows_are_there_before_the_end(tmp_path, name):
    with write(tmp_path / name) as writer:
        writer.received("ws.1", b"{}", 4.0)
        writer.flush()
        rows = read_recording(tmp_path / name)
        assert [type(next(rows)) for _ in range(2)] == [HeaderRow, RecvRow]


def test_existing_file_stays_unless_forced(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("precious")
    with pytest.raises(RecordingError, match="exists"):
        write(path)
    assert path.read_text() == "precious"
    with RecordingWriter(path, "x", force=True):
        pass
    assert len(list(read_recording(path))) == 1


@pytest.mark.parametrize(
    ("name", "words"), [("a.json", "ends in .jsonl"), ("no/such/folder/a.jsonl", "No such file"), ("a.zst", "ends in")]
)
def test_files_that_cannot_be_made(tmp_path, name, words):
    with pytest.raises(RecordingError, match=words):
        write(tmp_path / name)


def test_full_disk_is_said(tmp_path):
    target = tmp_path / "a.jsonl"
    target.symlink_to("/dev/full")
    with pytest.raises(RecordingError, match="No space left"), RecordingWriter(target, "x", force=True) as writer:
        writer.received("ws.1", b"x" * 100_000, 1.0)


def test_a_file_that_cannot_grow_ends_with_a_complete_row(tmp_path):
    path = tmp_path / "a.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer, failures = write(path), []
    writer.on_failure = lambda: failures.append(writer.rows)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        for _ in range(100):
            writer.received("ws.1", b"x" * 700, 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(failures) == 1, "further rows are dropped"
    with pytest.raises(RecordingError, match="cannot be written: File too large") as said:
        writer.close()
    assert said.value.exit_code == 2
    writer.close()
    rows = list(read_recording(path))
    assert 2 < len(rows) <= failures[0] + 1
    assert path.read_bytes().endswith(b"}\n")


def test_unknown_keys_and_kinds_are_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        HEADER + b'{"t":"note","what":"new"}\n\n{"t":"recv","conn":"c","ts":1,"data":"{}","more":{"x":1}}\n'
        b'{"t":"close","conn":"c","ts":2,"reason":"end","code":1000}'
    )
    assert list(read_recording(path))[1:] == [RecvRow("c", 1.0, "{}"), CloseRow("c", 2.0, "end")]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", None, "empty"),
        (b'{"t":"recv","conn":"c","ts":1,"data":""}\n', 1, "no header"),
        (HEADER + b'{"t":"recv","conn":"c","ts":1}\n', 2, "data"),
        (HEADER + b'{"t":"recv","conn":"c","ts":"soon","data":""}\n', 2, r"Expected `float`, got `str` - at `\$.ts`"),
        (HEADER + b'{"conn":"c"}\n', 2, "not a row"),
        (HEADER + b"[1]\n", 2, "not a row"),
        (HEADER + b'\n{"t":"recv","conn":"c","ts":1,"da', 3, "not JSON, perhaps cut off"),
        (HEADER + b'{"t":"recv","conn":"c","ts":1,"data":"\xff"}\n', 2, "not JSON"),
        (HEADER + b'{"t":"recv","conn":"c","ts":1,"data":"?","binary":true}\n', 2, "base64"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, content, line, words):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=words) as caught:
        list(read_recording(path))
    assert caught.value.line == line
    assert str(caught.value).startswith(str(path) + (f", line {line}:" if line else ":"))
    assert caught.value.exit_code == 1


def test_missing_file(tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        list(read_recording(tmp_path / "a.jsonl"))


def test_truncated_zstd_gives_what_is_there_then_says_so(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    content = HEADER + b"".join(
        b'{"t":"recv","conn":"c","ts":%d,"data":"%s"}\n' % (number, str(hash(str(number))).encode())
        for number in range(50_000)
    )
    whole = zstandard.compress(content)
    path.write_bytes(whole[: len(whole) // 2])
    rows = []
    with pytest.raises(RecordingError, match="truncated") as caught:
        rows.extend(read_recording(path))  # extend keeps what came before the error
    assert 1000 < len(rows) < 50_000
    assert caught.value.line == len(rows) + 1


def test_not_zstd_at_all(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(HEADER)
    with pytest.raises(RecordingError, match="broken zstd data"):
        list(read_recording(path))


def test_zstd_of_several_frames(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(zstandard.compress(HEADER) + zstandard.compress(b'{"t":"recv","conn":"c","ts":1,"data":"{}"}\n'))
    assert len(list(read_recording(path))) == 2


def test_secrets_are_left_out(tmp_path):
    path = tmp_path / "a.jsonl"
    secrets = ["my-api-key", 'quote"d/secret', "-----BEGIN KEY-----\nMHcCAQEEIIabcdefgh+/=\n-----END KEY-----"]
    with write(path, Redactor(secrets)) as writer:
        writer.http("rest", "https://me:pw@h/private/websocket_token?nonce=1&sign=abc", json.dumps({"token": JWT}), 1.0)
        writer.connected("ws.1", "wss://h/websocket/?p=a:b&t=opaque-token-0123456789&subaccounts=true", 2.0)
        writer.sent("ws.1", '{"op":"authKeyExpires","args":["key",1,"sig"]}', 3.0)
        writer.sent("ws.1", f'{{"type":"subscribe","jwt":"{JWT}","channel":"level2"}}', 3.0)
        writer.sent("ws.1", '{"type":"subscribe","api_key":"k","product_ids":["BTC-USD"]}', 3.0)
        writer.received("ws.1", b'{"echo":"opaque-token-0123456789","a":"quote\\"d/secret","k":"my-api-key"}', 4.0)
        writer.received("ws.1", b"\xffmy-api-key\xff", 4.0)
        writer.received("ws.1", b'{"line":"MHcCAQEEIIabcdefgh+/="}', 4.0)
        writer.closed("ws.1", "refused my-api-key", 5.0)
    content = path.read_text()
    for secret in ("my-api-key", "quote", "opaque-token", "eyJ", "authKey", "MHcC", "me:pw", '"k\\"', "sign=abc"):
        assert secret not in content.replace('\\"k\\":', "")
    rows = list(read_recording(path))[1:]
    assert rows[0].url == "https://h/private/websocket_token?nonce=1&sign=***"
    assert rows[0].data == '{"token": "***"}'
    assert rows[1].addr == "wss://h/websocket/?p=a:b&t=***&subaccounts=true"
    assert rows[2].data == "***"
    assert rows[3].data == '{"type":"subscribe","jwt":"***","channel":"level2"}'
    assert rows[4].data == '{"type":"subscribe","api_key":"***","product_ids":["BTC-USD"]}'
    assert rows[5].data == '{"echo":"***","a":"***","k":"***"}'
    assert rows[6].payload == b"\xff***\xff"
    assert rows[8].reason == "refused ***"


@pytest.mark.parametrize(
    "frame",
    [
        '{"t":"last_trade","amount":"0.00010000","token":"BTC","signature":"none"}',
        '{ "price" : 7997.40, "key":"value" }',
    ],
)
def test_frames_without_secrets_stay_to_the_byte(tmp_path, frame):
    with write(tmp_path / "a.jsonl", Redactor(["a-secret"])) as writer:
        writer.received("ws.1", frame.encode(), 1.0)
        writer.http("rest", "https://h/x?key_id=5&symbol=t", frame, 1.0)
    rows = list(read_recording(tmp_path / "a.jsonl"))[1:]
    assert [row.data for row in rows] == [frame, frame]
    assert rows[1].url == "https://h/x?key_id=5&symbol=t"
