"""States, orders and fills at a takeover: each goes on by itself."""

from __future__ import annotations

from bridge.model import Channel, Control, ControlEvent, Fill, Order, Quote
from tests.unit.splicing import START, S, Standby


def quote(at: float, bid: str) -> Quote:
    return Quote("A-B", None, START + int(at * S), bid, "", "9", "")


def test_quotes_go_on_where_the_writer_left_them() -> None:
    standby = Standby(Channel.QUOTES)
    feed = [quote(place * 0.1, "12121"[place % 5]) for place in range(30)]
    standby.take(*feed)
    written = [Control("A-B", None, START, Channel.QUOTES, ControlEvent.LIVE), *feed[:20]]
    assert standby.succeed(written, alive=feed[19].recv, now=feed[29].recv) == feed[20:]


def test_quotes_that_two_connectors_have_asked_for_at_different_times_need_no_gap() -> None:
    standby = Standby(Channel.QUOTES)
    standby.take(*(quote(place, str(2 * place)) for place in range(10)))
    theirs = [quote(place + 0.5, str(2 * place + 1)) for place in range(9)]
    written = [Control("A-B", None, START, Channel.QUOTES, ControlEvent.LIVE), *theirs]
    assert standby.succeed(written, alive=START + 9 * S, now=START + 9 * S) == [quote(9, "18")]


def test_what_a_stream_of_states_has_been_through_does_not_matter() -> None:
    """The standby is live since after the writer's last heartbeat, and its newest state says all."""
    standby = Standby(Channel.QUOTES)
    standby.take(quote(9, "2"))
    written = [Control("A-B", None, START, Channel.QUOTES, ControlEvent.LIVE), quote(1, "1")]
    assert standby.succeed(written, alive=START + 8 * S, now=START + 10 * S) == [quote(9, "2")]


def order(at: float, ident: str, status: str) -> Order:
    return Order("main", None, START + int(at * S), ident, "", "A-B", "limit", "buy", "1", "1", "0", status)


def test_each_order_goes_on_by_itself() -> None:
    standby = Standby(Channel.ORDERS)
    a, b, c, d = order(0, "1", "open"), order(1, "2", "open"), order(2, "1", "filled"), order(3, "2", "cancelled")
    standby.take(a, b, c, d)
    written = [Control("main", None, START, Channel.ORDERS, ControlEvent.LIVE), b, a, d]
    assert standby.succeed(written, alive=d.recv, now=d.recv) == [c]


def test_a_fill_is_one_by_its_id() -> None:
    standby = Standby(Channel.FILLS)
    fills = [Fill("main", None, START + n, str(n), "1", "A-B", "buy", "1", "1", "0", "A") for n in range(4)]
    standby.take(*fills)
    written = [Control("main", None, START, Channel.FILLS, ControlEvent.LIVE), *fills[:2]]
    assert standby.succeed(written, alive=START + 5, now=START + 5) == fills[2:]
    standby.take(fills[0], fills[3])
    assert standby.said() == fills[2:]
