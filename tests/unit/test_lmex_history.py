"""An LMEX account's fills since the last one known: over restarts, and in several parts."""

from __future__ import annotations

from bridge.exchanges.api import Restated, Subscription
from bridge.exchanges.lmex.messages import Market
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.model import Channel, Control, ControlEvent, Fill
from tests.unit.core import SECOND, T0
from tests.unit.limitlex_keys import drive
from tests.unit.lmex_sessions import ACCOUNT, answer, lmex, said, seconds, subscribed

MINUTE, DAY = 60 * SECOND, 24 * 3600 * SECOND
STREAM = Subscription(Channel.FILLS, "main")


def fill(pair, ts, recv=T0):
    return Fill("main", ts, recv, f"t{ts}", "o1", pair, "buy", "1", "1", "", "", "")


def live(recv):
    return Control("main", None, recv, Channel.FILLS, ControlEvent.LIVE)


def row(number, at):
    return {
        "symbol": "BTC-PERP",
        "tradeId": f"t{number}",
        "orderId": "o",
        "side": "BUY",
        "price": 9,
        "size": 1,
        "timestamp": at,
    }


def recalled(tail, market=Market.FUTURES, known_from=0):
    """What a connector that takes up its fills' stream knows of one market."""
    exchange = lmex("BTC-USD", "BTC-PERP", with_account=True)
    exchange.recall(STREAM, tail, known_from)
    return exchange._memories[market]


class TestSince:
    def test_a_fresh_stream(self):
        assert AccountMemory().history_since(T0) == T0 - DAY - MINUTE

    def test_the_newest_fill_of_the_market_however_old(self):
        tail = [live(T0 - 9 * DAY), fill("BTC-PERP", T0 - 5 * DAY), fill("BTC-USD", T0 - 2 * DAY), live(T0 - DAY)]
        memory = recalled(tail, Market.FUTURES)
        assert memory.history_since(T0) == T0 - 5 * DAY - MINUTE

    def test_a_stream_without_fills_from_its_beginning(self):
        memory = recalled([live(T0 - 4 * DAY), live(T0 - DAY)], Market.FUTURES)
        assert memory.history_since(T0) == T0 - 4 * DAY - MINUTE

    def test_a_young_one_from_a_day_ago(self):
        memory = recalled([live(T0 - SECOND)], Market.FUTURES)
        assert memory.history_since(T0) == T0 - DAY - MINUTE

    def test_an_exchange_clock_that_is_ahead(self):
        memory = recalled([fill("BTC-PERP", T0 + DAY, recv=T0)], Market.FUTURES)
        assert memory.history_since(T0) == T0 - MINUTE

    def test_a_connector_recalls_its_stream(self):
        exchange = lmex("BTC-USD", "BTC-PERP", with_account=True)
        exchange.recall(STREAM, [fill("BTC-PERP", T0 - 5 * DAY)], 0)
        exchange.recall(Subscription(Channel.ORDERS, "main"), [live(T0 - 50 * DAY)], 0)
        since = {market: memory.history_since(T0) for market, memory in exchange._memories.items()}
        assert since[Market.FUTURES] == T0 - 5 * DAY - MINUTE

    def test_not_from_before_what_is_known_of_the_stream(self):
        """The rest of it was trimmed, or not read back: fills from then would come a second time."""
        for newest, known_from in ((T0 - SECOND, T0 - 30 * SECOND), (T0 - 5 * DAY, T0 - 5 * DAY - SECOND)):
            memory = recalled([live(known_from), fill("BTC-PERP", newest)], Market.FUTURES, known_from)
            assert memory.history_since(T0) == known_from
        other = recalled([live(T0 - MINUTE), fill("BTC-PERP", T0 - SECOND)], Market.SPOT, T0 - MINUTE)
        assert other.history_since(T0) == T0 - MINUTE

    def test_a_stream_that_was_trimmed_to_nothing(self):
        memory = recalled([], Market.FUTURES, T0 - MINUTE)
        assert memory.history_since(T0) == T0 - MINUTE


class TestPages:
    def test_a_full_answer_is_followed_by_what_is_before_it(self):
        session = subscribed()
        newer = [row(number, 1700000000000 + number) for number in range(1000, 500, -1)]
        older = [row(number, 1700000000000 + number) for number in range(501, 100, -1)]
        requests, _ = drive(session.fetch(T0), answer([]), answer([]), answer(newer), answer(older))
        assert requests[-1].path == requests[-2].path + "&endTime=1700000000502"
        [state] = [action for action in session.actions if isinstance(action, Restated)][2:]
        assert [event.fill_id for event in state.events] == [f"t{number}" for number in range(101, 1001)]
        assert session.tick(seconds(1)) == []

    def test_an_id_is_one_within_its_symbol(self):
        """What two parts have in common comes once; fills of two symbols may have the same id."""
        session = subscribed(pairs=("BTC-PERP", "ETH-PERP"))
        rows = [row(1, 1700000000003), row(1, 1700000000003), {**row(1, 1700000000001), "symbol": "ETH-PERP"}]
        no_ids = [{**row(2, 1700000000002), "tradeId": "", "price": price} for price in (7, 8, 8)]
        _, (found, whole) = drive(
            session.session._rest.fills(ACCOUNT, Market.FUTURES, T0, T0, pairs=()), answer(rows + no_ids)
        )
        assert [(one["symbol"], one["price"]) for one in found] == [
            *(("ETH-PERP", "9"), ("BTC-PERP", "7"), ("BTC-PERP", "8"), ("BTC-PERP", "9"))
        ]
        assert whole

    def test_an_exchange_that_knows_no_end_leaves_a_gap(self):
        session = subscribed()
        full = [row(number, 1700000000000 + number) for number in range(500)]
        requests, _ = drive(session.fetch(T0), answer([]), answer([]), answer(full), answer(full))
        assert len(requests) == 4
        assert said(session.fetched) == [("gap", "fills", "main")]
