"""Pages as columns, cut out of the bytes of replies: equal to what the ordinary parser makes of them, or no grid."""

from __future__ import annotations

from contextlib import closing

import hiredis
import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.keys import Keys
from bridge.model import Channel
from consumers import raw_replies
from consumers.columns import Columns
from consumers.gaps import GapFinder
from consumers.grid import PAD, parse_grid
from consumers.page import Page
from consumers.pages import open_client, pages
from tests.consumers.streams import Stream
from tests.servers import RedisServer

KEYS = Keys()
ANSWER = b":1\r\n"


def protocol(entries: list[tuple[bytes, list[bytes]]]) -> bytes:
    """The reply with these entries, as Redis writes it."""

    def text(value: bytes) -> bytes:
        return b"$%d\r\n%s\r\n" % (len(value), value)

    rows = [b"*2\r\n" + text(of) + b"*%d\r\n" % len(flat) + b"".join(map(text, flat)) for of, flat in entries]
    return b"*%d\r\n" % len(rows) + b"".join(rows)


def grid_of(raw: bytes):
    return parse_grid(raw + ANSWER + bytes(PAD), len(raw))


def assert_same(entries: list[tuple[bytes, list[bytes]]]) -> bool:
    """Whether there is a grid; then it has exactly these entries."""
    grid = grid_of(protocol(entries))
    if grid is None:
        return False
    ids = [b"%d-%d" % pair for pair in zip(grid.ms.to_pylist(), grid.seq.to_pylist(), strict=True)]
    assert ids == [of for of, _ in entries]
    for row, (_, flat) in enumerate(entries):
        assert list(grid.names) == flat[::2]
        assert [column[row].as_py().encode() for column in grid.values] == flat[1::2]
    for column in grid.values:
        column.validate(full=True)
    return True


HOSTILE = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"", b"\r\n", b"$1\r\na", b"\r\n:1\r\n", b"*2\r\n$3\r\n1-1", b"\n", b"\r", b"$", b"0" * 100]),
    st.integers(0, 10**18).map(lambda number: str(number).encode()),
    st.integers(0, 1_200).map(lambda size: b"7" * size),
)
FIELDS = st.sampled_from([b"f", b"f" * 70, b"f" * 2_000])
NAMES = st.sampled_from([b"type", b"ts", b"", b"price", b"\r\n", b"a\n"])


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4), st.data())
def test_a_grid_is_what_the_ordinary_parser_returns(names, data) -> None:
    rows = data.draw(st.lists(st.lists(HOSTILE, min_size=len(names), max_size=len(names)), min_size=1, max_size=6))
    entries = [
        (b"1786309548%03d-%d" % (row, row + 1), [part for pair in zip(names, values, strict=True) for part in pair])
        for row, values in enumerate(rows)
    ]
    found = assert_same(entries)
    plain = all(value.isascii() and b"\n" not in value for _, flat in entries for value in flat)
    assert found == plain


@settings(deadline=None)
@example([[(b"f" * 2_000, b"")], [(b"f", b"")]])  # the last entry has no room for the names of the first
@given(st.lists(st.lists(st.tuples(FIELDS, HOSTILE), min_size=1, max_size=5), min_size=1, max_size=5))
def test_entries_of_different_fields_make_no_wrong_grid(rows) -> None:
    assert_same([(b"5-%d" % (row + 1), [part for pair in flat for part in pair]) for row, flat in enumerate(rows)])


@pytest.mark.parametrize("sizes", [(0, 1), (9, 10), (1, 64), (99, 100), (1, 65), (999, 1_000), (5, 100_000), (0, 0)])
def test_lengths_that_have_different_numbers_of_digits(sizes) -> None:
    entries = [(b"5-%d" % (row + 1), [b"a", b"x" * size, b"b", b"y" * sizes[0]]) for row, size in enumerate(sizes)]
    assert assert_same(entries)


def test_a_reply_that_is_cut_or_changed_makes_no_grid() -> None:
    entries = [(b"1786309548000-%d" % seq, [b"type", b"trade", b"price", b"1%d" % seq]) for seq in range(1, 12)]
    whole = protocol(entries)
    assert assert_same(entries)
    for end in range(len(whole)):
        assert grid_of(whole[:end]) is None, end
    # Any change of a byte that is not a value's or an ID's makes no grid, as it makes no reply.
    values = {b"%s\r\n" % flat[at] for _, flat in entries for at in (1, 3)}
    at = 0
    for line in whole.splitlines(keepends=True):
        if line not in values and not line.startswith(b"1786"):
            for place in range(at, at + len(line)):
                changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
                found = grid_of(changed)
                if found is not None:  # another name, in all entries, is another reply
                    pytest.fail(f"{changed[max(0, place - 20) : place + 20]!r} made a grid")
        at += len(line)


def test_ids_that_no_table_can_have_make_no_grid() -> None:
    assert grid_of(protocol([(b"5-18446744073709551615", [b"a", b"1"])])) is None
    assert grid_of(protocol([(b"9-1", [b"a", b"1"]), (b"10-1", [b"a", b"1"])])) is None
    assert assert_same([(b"0-1", [b"a", b"1"]), (b"0-10", [b"a", b"1"])])


@pytest.fixture
def trades(redis_server: RedisServer):
    with redis_server.client() as client:
        yield Stream(client, Channel.TRADES)


def test_regular_pages_of_a_server_have_a_grid_and_the_others_the_same_entries(redis_server, trades) -> None:
    trades.trades(500)
    trades.control("gap", "odd")
    trades.trades(300)
    trades.add("trade", id="ü", side="buy", price="1\r\n:1\r\n", size="")
    trades.trades(50)
    with closing(open_client(redis_server.url, "test")) as client:
        quick = list(pages(client, trades.key, "", "+", most=100))
        plain = list(pages(client, trades.key, "", "+", most=100, columns=False))
    assert [page.grid is not None for page in quick] == [True] * 5 + [False, True, True, False]
    assert [(page.ids, page.flats) for page in quick] == [(page.ids, page.flats) for page in plain]
    columns = Columns(KEYS, trades.key)
    for one, other in zip(quick, plain, strict=True):
        assert columns.batch(one).equals(columns.batch(other))
        assert columns.batch(one.cut(10, 30)).equals(columns.batch(other).slice(10, 20))
        assert one.cut(10, 30).ids == other.ids[10:30]
        assert (one.id(0), one.id(-1), len(one)) == (other.ids[0], other.ids[-1], len(other.ids))


def test_gaps_are_found_in_grids_as_in_lists(redis_server, trades) -> None:
    for seq in (*range(1, 120), *range(125, 300), *range(310, 400)):
        trades.trade(seq)
    found = []
    with closing(open_client(redis_server.url, "test")) as client:
        for columns in (True, False):
            finder = GapFinder("", lambda _: False, counted=True)
            read = pages(client, trades.key, "", "+", most=100, columns=columns)
            found.append([gap for page in read for gap in finder.take(page)])
    assert found[0] == found[1]
    assert [(gap.event, gap.seq, gap.count) for gap in found[0]] == [("hole", 125, 5), ("hole", 310, 10)]


def test_what_redis_refuses_is_refused_as_ever_and_the_connection_is_of_use(redis_server, trades) -> None:
    trades.trades(3)
    trades.client.set("text", "x")
    with closing(open_client(redis_server.url, "test")) as client:
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            list(pages(client, "text", "", "+"))
        assert list(pages(client, "nothing", "", "+")) == []
        assert client.ping()
        assert [len(page) for page in pages(client, trades.key, "", "+")] == [3]


def test_without_numpy_or_hiredis_pages_are_lists(redis_server, trades, monkeypatch) -> None:
    trades.trades(3)

    def missing(name: str):
        raise ImportError(name)

    monkeypatch.setattr(raw_replies, "import_module", missing)
    with closing(open_client(redis_server.url, "test")) as client:
        [page] = pages(client, trades.key, "", "+")
    assert (page.grid, len(page.ids)) == (None, 3)


def test_a_connection_that_breaks_inside_a_reply_is_an_error() -> None:
    """The parser says what is missing; the socket's end is not the reply's."""
    whole = protocol([(b"5-1", [b"a", b"\r\n:1\r\n"])])
    cut = whole[: whole.index(b":1\r\n") + 4]
    assert cut.endswith(b"\r\n:1\r\n")
    reader = hiredis.Reader()
    reader.feed(cut)
    assert reader.gets() is False
    replies = raw_replies.RawReplies(redis.Redis())
    assert replies._page(bytearray(cut)) is None
    for answer in (ANSWER, b"-NOPERM no\r\n", b">2\r\n+said\r\n:1\r\n" + ANSWER):
        assert [replies._page(bytearray(whole + answer[:end])) for end in range(len(answer))] == [None] * len(answer)
        page = replies._page(bytearray(whole + answer))
        assert isinstance(page, Page)
        assert page.flats == [[b"a", b"\r\n:1\r\n"]]


@pytest.mark.parametrize("values", [["1", "2", "3"], ["1\r\n:1\r\n", "ü", ""]])
def test_a_reader_without_the_right_to_the_second_command_reads_the_same(redis_server, trades, monkeypatch, values):
    monkeypatch.setattr("consumers.pages._REPLY_TIMEOUT", 3.0)
    for value in values:
        trades.add("trade", id=value, side="buy", price="1", size="1")
    trades.client.acl_setuser(
        "narrow", reset=True, enabled=True, nopass=True, keys=["*"], commands=["+ping", "+xrange", "+client"]
    )
    with closing(open_client(redis_server.url.replace("//", "//narrow:x@"), "test")) as client:
        [page] = pages(client, trades.key, "", "+")
        assert [flat[7] for flat in page.flats] == [value.encode() for value in values]
        assert (page.grid is not None) == (values[0] == "1")
        assert client.ping()
    trades.client.acl_deluser("narrow")
