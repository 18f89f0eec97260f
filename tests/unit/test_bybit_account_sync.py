"""A Bybit account's state by REST, after each connect: what was open, what was missed, what is gone."""

from __future__ import annotations

from itertools import count, pairwise
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import HttpResponse, Reject, Subscription
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.model import PRIVATE_CHANNELS, Balance, Channel, Fill
from tests.unit import bybit_frames as frames
from tests.unit.bybit_sessions import DAY, ENDED, MILLISECOND, OPEN, ORDER, PERP, Answers, subscribed
from tests.unit.core import SECOND, T0, faults, refused
from tests.unit.session_views import controls, reconnects, states, take, wants


def synced(answers, memory=None, session=None, now=T0 + SECOND):
    session = session or subscribed(memory=memory)
    answers.drive(session.fetch(now))
    return session


class TestState:
    """What REST says once the subscriptions stand."""

    def test_every_list_is_asked_for(self):
        answers = Answers()
        session = synced(answers)
        assert {urlsplit(called).path for called in answers.called} == {
            "/v5/order/realtime",
            "/v5/position/list",
            "/v5/execution/list",
            "/v5/account/wallet-balance",
        }
        scopes = [
            {name: values[0] for name, values in parse_qs(urlsplit(called).query).items()} for called in answers.called
        ]
        orders = [(q["category"], q.get("settleCoin")) for q in scopes if "openOnly" in q]
        assert orders == [("spot", None), ("linear", "USDT"), ("linear", "USDC")]
        assert set(states(session)) == set(PRIVATE_CHANNELS)
        assert all(state.covers is None and state.asked == T0 + SECOND for state in states(session).values())

    def test_orders_of_all_pages_and_categories(self):
        def pages(called):
            first = "cursor" not in called
            return frames.answer([frames.row(frames.ORDER, orderId=f"o-{first}")], "1%3A0%2C2" if first else "")

        answers = Answers({OPEN + PERP: pages, f"{OPEN}&category=spot": [frames.row(frames.ORDER, orderId="s")]})
        state = states(synced(answers))[Channel.ORDERS]
        assert [(order.pair, order.order_id) for order in state.events] == [
            ("BTC-USDT", "s"),
            ("BTC-USDT-PERP", "o-True"),
            ("BTC-USDT-PERP", "o-False"),
        ]
        assert any(called.endswith("&limit=50&cursor=1%3A0%2C2") for called in answers.called)

    @pytest.mark.parametrize("where", [ENDED + PERP, f"/v5/order/history?category=linear&orderId={ORDER}"])
    def test_an_order_that_ended_meanwhile(self, where):
        memory = AccountMemory()
        take(subscribed(memory=memory), frames.ORDER)
        answers = Answers({where: [frames.row(frames.ORDER, orderStatus="Filled", cumExecQty="1")]})
        [order] = states(synced(answers, memory))[Channel.ORDERS].events
        assert (order.order_id, order.status, order.filled) == (ORDER, "filled", "1")
        assert memory.open_orders == {}

    def test_others_that_ended_long_ago_are_not_told_again(self):
        memory = AccountMemory()
        take(subscribed(memory=memory), frames.ORDER)
        rows = [frames.row(frames.ORDER, orderStatus="Filled", orderId=ident) for ident in ("old", ORDER)]
        [order] = states(synced(Answers({ENDED + PERP: rows}), memory))[Channel.ORDERS].events
        assert order.order_id == ORDER

    def test_where_all_are_open_still_nobody_asks_for_their_end(self):
        memory = AccountMemory()
        take(subscribed(memory=memory), frames.ORDER)
        answers = Answers({OPEN + PERP: [frames.row(frames.ORDER)]})
        synced(answers, memory)
        assert not [called for called in answers.called if "openOnly=1" in called or "history" in called]

    def test_one_fetch_looks_up_fifty_orders_at_most_and_the_next_one_the_others(self):
        memory, answers = AccountMemory(), Answers()
        take(subscribed(memory=memory), *(frames.changed(frames.ORDER, orderId=f"o-{number}") for number in range(60)))
        session = synced(answers, memory)
        assert len([called for called in answers.called if called.startswith("/v5/order/history?")]) == 50
        assert sum(not states(session)[Channel.ORDERS].covers(event) for event in memory.open_orders.values()) == 10
        session.actions.clear()
        session.tick(T0 + 7 * SECOND)
        assert wants(session) == 1
        answers.called.clear()
        synced(answers, session=session, now=T0 + 7 * SECOND)
        assert len([called for called in answers.called if called.startswith("/v5/order/history?")]) == 10
        assert memory.open_orders == {}

    @pytest.mark.parametrize("category", ["spot", "linear"])
    def test_the_end_of_one_whose_pair_was_listed_later_is_looked_up_in_either_category(self, category):
        """A symbol that isn't known doesn't say in which of them it is."""
        memory, row = AccountMemory(), {"symbol": "NEWUSDT", "category": category}
        take(subscribed(memory=memory), frames.changed(frames.ORDER, **row))
        history = f"/v5/order/history?category={category}&orderId={ORDER}"
        answers = Answers({history: [frames.row(frames.ORDER, **row, orderStatus="Cancelled")]})
        [order] = states(synced(answers, memory))[Channel.ORDERS].events
        assert (order.pair, order.status) == ("NEWUSDT", "cancelled")

    def test_one_that_is_known_to_have_ended_is_not_open_again_by_an_older_list(self):
        memory = AccountMemory()
        session = subscribed(memory=memory)
        take(session, frames.ORDER, frames.changed(frames.ORDER, orderStatus="Filled", cumExecQty="1"))
        session = synced(Answers({OPEN + PERP: [frames.row(frames.ORDER)]}), session=session)
        assert list(states(session)[Channel.ORDERS].events) == []
        assert memory.open_orders == {}

    def test_fills_go_on_where_the_stream_ends(self):
        memory, answers = AccountMemory(), Answers()
        known = Fill(
            "main", T0 - 3_600 * SECOND, T0 - 3_600 * SECOND, "f", "o", "BTC-USDT-PERP", "buy", "1", "1", "", ""
        )
        memory.take_up(Subscription(Channel.FILLS, "main"), [known], 0)
        synced(answers, memory, now=T0)
        spans = [parse_qs(urlsplit(called).query) for called in answers.called if "execution" in called]
        now = T0 // MILLISECOND
        assert [query["category"] for query in spans] == [["spot"], ["linear"]]
        assert {int(query["startTime"][0]) - now for query in spans} == {-3_660_000}
        assert all(int(query["endTime"][0]) > now for query in spans)

    @pytest.mark.parametrize(("days", "calls"), [(6, 1), (8, 2), (1_000, 104)])
    def test_a_long_time_is_asked_for_in_weeks_and_two_years_at_most(self, days, calls):
        memory, answers = AccountMemory(newest_fill=T0 - days * DAY * MILLISECOND), Answers()
        synced(answers, memory, now=T0)
        spans = [parse_qs(urlsplit(called).query) for called in answers.called if "category=linear&startTime" in called]
        assert len(spans) == calls
        times = [(int(query["startTime"][0]), int(query["endTime"][0])) for query in spans]
        assert {end - start for start, end in times[:-1]} <= {7 * DAY - 1}
        assert 0 < times[-1][1] - times[-1][0] < 7 * DAY
        assert all(one[1] == other[0] for one, other in pairwise(times))
        assert times[-1][1] > T0 // MILLISECOND

    def test_fills_are_oldest_first_and_funding_is_none(self):
        rows = [
            frames.row(frames.EXECUTION, execId="b", execTime="1746270400353"),
            frames.row(frames.EXECUTION, execId="x", execTime="1746270400352", execType="Funding"),
            frames.row(frames.EXECUTION, execId="a", execTime="999270400353"),
        ]
        state = states(synced(Answers({"/v5/execution/list?category=linear": rows})))[Channel.FILLS]
        assert [fill.fill_id for fill in state.events] == ["b"]
        rows[2]["execTime"] = "1546270400353"
        state = states(synced(Answers({"/v5/execution/list?category=linear": rows})))[Channel.FILLS]
        assert [fill.fill_id for fill in state.events] == ["a", "b"]

    def test_fills_of_one_millisecond_are_oldest_first_too(self):
        rows = [frames.row(frames.EXECUTION, execId=ident) for ident in ("c", "b", "a")]
        state = states(synced(Answers({"/v5/execution/list?category=linear": rows})))[Channel.FILLS]
        assert [fill.fill_id for fill in state.events] == ["a", "b", "c"]

    def test_more_fills_than_can_be_listed_are_a_gap(self):
        cursors = count()

        def page(called):
            del called
            return frames.answer([frames.row(frames.EXECUTION)], f"more{next(cursors)}")

        session = synced(Answers({"/v5/execution/list?category=linear": page}))
        assert len(states(session)[Channel.FILLS].events) == 100
        assert controls(session.fetched) == [("gap", "fills", "main")]
        assert Channel.BALANCES in states(session)

    def test_new_fills_say_where_the_next_history_begins_once_the_old_ones_are_known(self):
        memory = AccountMemory()
        session = subscribed(memory=memory)
        take(session, frames.EXECUTION, recv=T0 + 5)
        assert memory.newest_fill == 0
        synced(Answers(), session=session)
        take(session, frames.EXECUTION, recv=T0 + 7)
        assert memory.newest_fill == T0 + 7  # the exchange's clock may be ahead of ours

    def test_positions_that_are_gone_are_flat(self):
        session = subscribed()
        take(session, frames.POSITION, frames.changed(frames.POSITION, positionIdx=2, side="Sell"))
        rows = [frames.row(frames.POSITION, side="Sell", avgPrice="5", entryPrice="", positionIdx=2)]
        state = states(synced(Answers({"/v5/position/list?settleCoin=USDT": rows}), session=session))[Channel.POSITIONS]
        assert [(p.leg, p.side, p.entry_price) for p in state.events] == [("short", "short", "5"), ("", "", "")]
        [again] = take(session, frames.POSITION, recv=T0 + 9 * SECOND)
        assert again.side == "long"

    def test_what_the_connection_tells_meanwhile_is_newer(self):
        """The answer says 0.012; it has become 5 since it was asked for, and then is 0.012 again: that is news."""
        session = subscribed()

        def answer(called):
            del called
            take(session, frames.changed(frames.POSITION, size="5"), recv=T0 + 2 * SECOND)
            return [frames.row(frames.POSITION)]

        synced(Answers({"/v5/position/list?settleCoin=USDT": answer}), session=session)
        assert [position.size for position in take(session, frames.POSITION)] == ["0.012"]

    def test_an_order_that_ends_meanwhile_is_over(self):
        memory = AccountMemory()
        session = subscribed(memory=memory)

        def answer(called):
            del called
            take(session, frames.changed(frames.ORDER, orderStatus="Filled"), recv=T0 + 2 * SECOND)
            return [frames.row(frames.ORDER)]

        synced(Answers({OPEN + PERP: answer}), session=session)
        assert memory.open_orders == {}

    def test_balances_that_are_gone_are_zero_over_restarts_too(self):
        memory = AccountMemory()
        memory.take_up(Subscription(Channel.BALANCES, "main"), [Balance("main", None, T0, "DOGE", "7", "0")], 0)
        answers = Answers({"/v5/account/wallet-balance?accountType=UNIFIED": [frames.wallet()]})
        events = states(synced(answers, memory))[Channel.BALANCES].events
        assert [(b.currency, b.available, b.reserved) for b in events] == [
            ("BTC", "0.00100964", "0.00002"),
            ("DOGE", "0", "0"),
        ]

    @pytest.mark.parametrize(
        ("path", "bad", "channel"),
        [
            (OPEN + PERP, frames.row(frames.ORDER, orderId=""), Channel.ORDERS),
            ("/v5/position/list?settleCoin=USDT", frames.row(frames.POSITION, symbol="a b"), Channel.POSITIONS),
            ("/v5/account/wallet-balance?", frames.wallet(coin=""), Channel.BALANCES),
            ("/v5/account/wallet-balance?", {"coin": 7}, Channel.BALANCES),
            ("/v5/execution/list?category=linear", frames.row(frames.EXECUTION, execQty=""), Channel.FILLS),
        ],
    )
    def test_a_bad_row_of_nobody_knows_what_makes_nothing_look_gone(self, path, bad, channel):
        memory = AccountMemory(currencies={"DOGE": None})
        session = synced(Answers({path: [bad]}), memory)
        state = states(session)[channel]
        assert list(state.events) == []
        assert not state.covers(None)
        assert controls(session.fetched) == [("gap", str(channel), "main")]
        assert len([action for action in session.actions if isinstance(action, Reject)]) == 1

    def test_a_bad_row_spares_only_what_it_is_of(self):
        memory = AccountMemory(currencies={"DOGE": None, "BTC": None})
        session = subscribed(memory=memory)
        other = {"symbol": "ETHUSDT"}
        take(session, frames.ORDER, frames.changed(frames.ORDER, orderId="gone"))
        take(session, frames.POSITION, frames.changed(frames.POSITION, **other))
        known = {order.order_id: order for order in memory.open_orders.values()}
        bad = {
            OPEN + PERP: [frames.row(frames.ORDER, orderStatus="Suspended")],
            "/v5/position/list?settleCoin=USDT": [frames.row(frames.POSITION, positionIdx=7)],
            "/v5/account/wallet-balance?": [frames.wallet(walletBalance="x")],
        }
        session = synced(Answers(bad), session=session)
        found = states(session)
        covers = found[Channel.ORDERS].covers
        assert [covers(known[ident]) for ident in (ORDER, "gone")] == [False, True]
        assert [(flat.pair, flat.side) for flat in found[Channel.POSITIONS].events] == [("ETH-USDT-PERP", "")]
        assert [(zero.currency, zero.available) for zero in found[Channel.BALANCES].events] == [("DOGE", "0")]

    def test_a_failure_is_said_and_tried_again(self):
        answers = Answers({"/v5/position/list?": HttpResponse(500, b"{}")})
        session = synced(answers)
        [(kind, _, topic, _)] = faults(session)
        assert (kind, topic) == ("rest_failed", "/v5/position/list")
        session.tick(T0 + 5 * SECOND)
        assert wants(session) == 0
        session.tick(T0 + 7 * SECOND)
        assert wants(session) == 1

    def test_a_key_that_is_refused_is_the_end_of_the_connection_for_a_while(self):
        answers = Answers({"/v5/order/realtime?": b'{"retCode":33004,"retMsg":"Your api key has expired.","time":1}'})
        session = synced(answers)
        [reconnect] = reconnects(session)
        assert reconnect.wait == 60
        assert "33004 Your api key has expired" in reconnect.reason
        assert faults(session)[0][0] == "rest_login_refused"

    def test_two_fetches_do_not_run_side_by_side(self):
        session, answers = subscribed(), Answers()
        running = session.fetch(T0)
        next(running)
        answers.drive(session.fetch(T0))
        assert answers.called == []
        running.close()
        session.tick(T0 + 6 * SECOND)
        assert wants(session) == 1
        answers.drive(session.fetch(T0 + 6 * SECOND))
        assert answers.called

    def test_a_frame_that_nobody_understands_is_fetched(self):
        session = subscribed()
        with pytest.raises(FrameError):
            session.receive(b"{]", T0)
        channels = ("balances", "fills", "orders", "positions")
        assert sorted(controls(session.rejected(T0))) == [("gap", channel, "main") for channel in channels]
        session.tick(T0 + SECOND)
        assert wants(session) == 1

    def test_so_is_a_message_that_cannot_be_decoded(self):
        session = subscribed()
        assert refused(session, frames.EXECUTION[:-3]) == [("fills", "main")]
        session.tick(T0 + SECOND)
        assert wants(session) == 1
