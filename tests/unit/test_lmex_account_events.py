from __future__ import annotations

import json

import pytest
from msgspec import structs

from bridge.exchanges.api import Reject
from bridge.exchanges.lmex.messages import Market
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.model import Fill, Order, Position
from tests.unit import lmex_frames as frames
from tests.unit.core import T0, refused
from tests.unit.lmex_sessions import changed, contracts, fetches, receive, said, subscribed

FLAT = Position("main", None, T0, "BTC-PERP", "", "0", "", "", "", "0")


class TestOrders:
    def test_futures(self):
        [event] = receive(subscribed(), frames.FUTURES_ORDER)
        assert event == Order(
            "main",
            1765718100570_000_000,
            T0,
            frames.ORDER_ID,
            "abc",
            "BTC-PERP",
            "limit",
            "buy",
            "32000",
            "0.00001",
            "0",
            "open",
            contracts="1",
        )

    @pytest.mark.parametrize("listed", [False, True])
    def test_spot_as_an_object_or_a_list(self, listed):
        message = json.loads(frames.SPOT_ORDER)
        frame = json.dumps({**message, "data": [message["data"]]}).encode() if listed else frames.SPOT_ORDER
        [event] = receive(subscribed(Market.SPOT), frame)
        assert event == Order(
            "main",
            1624985375123_000_000,
            T0,
            "0b40f3c2-7a0e-4d5c-9a9a-55b9a1a2f001",
            "abc",
            "BTC-USD",
            "limit",
            "buy",
            "35000",
            "10",
            "0",
            "open",
            contracts="",
        )

    def test_spot_v2(self):
        row = {
            "symbol": "BTC-USD",
            "orderID": "o1",
            "side": "SELL",
            "type": 77,
            "price": 0,
            "status": 5,
            "timestamp": 1624985375123,
            "size": 10,
            "originalSize": 10,
            "fillSize": 2,
            "remainingSize": 5.5,
        }
        [event] = receive(subscribed(Market.SPOT), json.dumps({"topic": "notificationApiV2", "data": row}).encode())
        assert (event.kind, event.side, event.size, event.filled, event.status) == (
            "market",
            "sell",
            "10",
            "4.5",
            "partially_filled",
        )

    def test_old_futures_names(self):
        frame = changed(frames.FUTURES_ORDER, symbol="BTCPFC").replace(b"ApiV4", b"ApiV2")
        [event] = receive(subscribed(), frame)
        assert event.pair == "BTC-PERP"

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"status": 2}, "open"),
            ({"status": 2, "totalFilledSize": 1, "originalOrderSize": 3}, "partially_filled"),
            ({"status": 5, "totalFilledSize": 1, "originalOrderSize": 3}, "partially_filled"),
            ({"status": 4, "totalFilledSize": 1}, "filled"),
            ({"status": 6}, "cancelled"),
            ({"status": 7}, "cancelled"),
            ({"status": 88}, "cancelled"),
            *(({"status": code}, "open") for code in (9, 10, 65, 85, 123)),
            *(({"status": code}, "rejected") for code in (-1, 8, 12, 15, 16, 17, 41, 101, 300, 305)),
        ],
    )
    def test_status(self, changes, status):
        [event] = receive(subscribed(), changed(frames.FUTURES_ORDER, **changes))
        assert event.status == status

    def test_an_unknown_status_is_refused(self):
        """An empty one would make an open order look closed."""
        session = subscribed()
        assert refused(session, changed(frames.FUTURES_ORDER, status=777)) == [("orders", "main")]
        session.tick(T0)
        assert fetches(session) == 1

    def test_an_unknown_type_stays_the_exchanges_word(self):
        [event] = receive(subscribed(), changed(frames.FUTURES_ORDER, orderType=83))
        assert event.kind == "83"

    def test_a_rejected_order(self):
        frame = changed(frames.FUTURES_ORDER, status=8, side="", orderType=0, price=0, positionId=None)
        [event] = receive(subscribed(), frame)
        assert (event.status, event.side, event.kind, event.price) == ("rejected", "", "", "0")

    def test_an_execution_keeps_the_limit_price(self):
        part = {"status": 5, "price": 31990.5, "filledSize": 1, "totalFilledSize": 1, "originalOrderSize": 2}
        full = {**part, "status": 4, "price": 31980, "totalFilledSize": 2}
        rows = [changed(frames.FUTURES_ORDER, **changes) for changes in ({"originalOrderSize": 2}, part, full)]
        events = receive(subscribed(), *rows)
        assert [(e.price, e.filled, e.status) for e in events] == [
            ("32000", "0", "open"),
            ("32000", "0.00001", "partially_filled"),
            ("32000", "0.00002", "filled"),
        ]

    def test_an_amended_order_has_its_new_price_and_size(self):
        amended = changed(frames.FUTURES_ORDER, status=123, price=31000, originalOrderSize=1, currentOrderSize=5)
        full = changed(frames.FUTURES_ORDER, status=4, price=1, currentOrderSize=5, totalFilledSize=5)
        events = receive(subscribed(), frames.FUTURES_ORDER, amended, full)
        assert [(e.price, e.contracts) for e in events] == [("32000", "1"), ("31000", "5"), ("31000", "5")]

    def test_an_unknown_limit_price_is_unknown_and_a_market_orders_is_the_trades(self):
        [limit] = receive(subscribed(), changed(frames.FUTURES_ORDER, status=4, price=31999))
        [market] = receive(subscribed(), changed(frames.FUTURES_ORDER, status=4, price=31999, orderType=77))
        assert (limit.price, market.price) == ("", "31999")

    def test_the_limit_price_is_known_over_a_new_connection(self):
        memory = AccountMemory()
        receive(subscribed(memory=memory), frames.FUTURES_ORDER)
        filled = changed(frames.FUTURES_ORDER, status=4, price=31999)
        [event] = receive(subscribed(memory=memory), filled)
        assert event.price == "32000"
        assert memory.open_orders == {}

    def test_an_order_for_an_amount_of_the_quote_currency_has_no_size(self):
        frame = changed(frames.SPOT_ORDER, originalOrderBaseSize=None, currentOrderBaseSize=None)
        [event] = receive(subscribed(Market.SPOT), frame)
        assert event.size == ""

    def test_the_type_that_the_documents_name(self):
        [event] = receive(subscribed(), changed(frames.FUTURES_ORDER, orderType=..., type="80"))
        assert event.kind == "algo"


class TestFills:
    def test_futures(self):
        session = subscribed()
        [event] = receive(session, frames.FILL)
        assert event == Fill(
            "main",
            1765767211936_000_000,
            T0,
            "128c163c-1267-422a-9082-029472e16a36",
            "aa0eb277-2d36-4fd0-8fa0-bc78b139ccdc",
            "BTC-PERP",
            "buy",
            "89315.3",
            "0.00001",
            "0.00049123",
            "USDT",
            contracts="1.0",
        )
        assert session._balances.wanted

    def test_spot_and_the_documents_misspelling(self):
        [event] = receive(subscribed(Market.SPOT), frames.SPOT_FILL)
        assert event == Fill(
            "main",
            1765767211936_000_000,
            T0,
            "228c163c-1267-422a-9082-029472e16a36",
            "aa0eb277-2d36-4fd0-8fa0-bc78b139ccdc",
            "BTC-USD",
            "sell",
            "89315.30",
            "0.0145",
            "1.10",
            "USD",
            contracts="",
        )

    def test_a_negative_fee_is_a_rebate(self):
        [event] = receive(subscribed(), changed(frames.FILL, feeAmount="-0.5"))
        assert event.fee == "-0.5"


class TestPositions:
    def test_sample(self):
        [event] = receive(subscribed(), frames.POSITION)
        assert event == Position(
            "main", None, T0, "BTC-PERP", "long", "0.00001", "89315.3", "89315.3", "0", contracts="1"
        )

    def test_closed(self):
        assert receive(subscribed(), frames.POSITION, frames.CLOSED_POSITION)[1:] == [FLAT]

    @pytest.mark.parametrize(
        ("changes", "side"),
        [
            ({"positionDirection": "SHORT", "orderMode": 66}, "short"),
            ({"positionDirection": None, "orderMode": 83}, "short"),
            ({"positionDirection": None, "orderMode": 66}, "long"),
            ({"positionDirection": None, "orderMode": None, "side": "SELL"}, "short"),
        ],
    )
    def test_side(self, changes, side):
        [event] = receive(subscribed(), changed(frames.POSITION, **changes))
        assert event.side == side

    def test_named_by_its_id_alone(self):
        frame = changed(frames.CLOSED_POSITION, marketName=None, positionId="BTC-PERP-USD|SHORT")
        assert receive(subscribed(), frame) == [structs.replace(FLAT, leg="short")]

    def test_repeats_are_dropped(self):
        session = subscribed()
        assert len(receive(session, frames.POSITION, frames.POSITION)) == 1
        assert len(receive(session, changed(frames.POSITION, markedPrice=89316))) == 1

    def test_the_full_list_says_what_is_gone(self):
        session = subscribed()
        both = json.loads(frames.POSITION)
        both["topic"] = "allPositionV3"
        both["data"].append({**both["data"][0], "marketName": "ETH-PERP-USDT", "contractSize": 0.01})
        events = receive(session, json.dumps(both).encode())
        assert [(e.pair, e.size) for e in events] == [("BTC-PERP", "0.00001"), ("ETH-PERP", "0.01")]
        del both["data"][0]
        assert receive(session, json.dumps(both).encode()) == [FLAT]
        assert receive(session, json.dumps(both).encode()) == []
        both["data"] = []
        [event] = receive(session, json.dumps(both).encode())
        assert (event.pair, event.side, event.size) == ("ETH-PERP", "", "0")

    def test_the_contract_size_of_the_market_does_too(self):
        [event] = receive(subscribed(), changed(frames.POSITION, contractSize=...))
        assert event.size == "0.00001"


class TestGarbage:
    @pytest.mark.parametrize("frame", frames.UNREADABLE)
    def test_nonsense_is_a_gap_of_all_channels_and_is_made_good_by_rest(self, frame):
        session = subscribed()
        events = session.receive(frame, T0)
        assert said(events) == [("gap", channel, "main") for channel in ("orders", "fills", "positions")]
        assert isinstance(session.outputs[-4], Reject), "before the gaps"
        session.tick(T0)
        assert fetches(session) == 1

    @pytest.mark.parametrize("frame", frames.PRIVATE.values(), ids=frames.PRIVATE)
    def test_missing_and_wrong_fields(self, frame):
        message = json.loads(frame)
        row = message["data"][0] if isinstance(message["data"], list) else message["data"]
        values = (None, 5, -1, "", "x", "nan", "sNaN", "Infinity", [], [{}], {}, True, "Ünïcode ₿", 10**30, 2**63)
        for name in row:
            for value in (..., *values, "1e999999999", 1e300, "9" * 700):
                session = subscribed(Market.SPOT if row.get("symbol") == "BTC-USD" else Market.FUTURES)
                session.receive(changed(frame, **{name: value}), T0)

    @pytest.mark.parametrize(
        "frame",
        [
            changed(frames.FUTURES_ORDER, symbol=...),
            changed(frames.FUTURES_ORDER, status=...),
            changed(frames.FUTURES_ORDER, orderID=None),
            changed(frames.FUTURES_ORDER, side="STAY"),
            changed(frames.FUTURES_ORDER, price="much"),
            changed(frames.FUTURES_ORDER, originalOrderSize=-1, currentOrderSize=-1),
            changed(frames.FUTURES_ORDER, timestamp="now"),
            changed(frames.FUTURES_ORDER, symbol="NEW-PERP"),
            changed(frames.FILL, price=None),
            changed(frames.FILL, size="1 2"),
            changed(frames.FILL, tradeId=None, serialId=None),
            changed(frames.POSITION, totalContracts="many"),
            changed(frames.POSITION, entryPrice="much"),
            changed(frames.POSITION, marketName=..., positionId=...),
            changed(frames.POSITION, positionDirection="SIDEWAYS"),
            changed(frames.POSITION, positionDirection=None, orderMode=99),
            frames.FILL.replace(b"USDT", b"\xff"),
            b'{"topic":"fillsV2","data":7}',
            b'{"topic":"fillsV2"}',
            frames.FILL[:-40],
            frames.FUTURES_ORDER.replace(b'"triggerPrice":0', b'"triggerPrice":').replace(
                b'"price":32000', b'"price":NaN'
            ),
        ],
    )
    def test_what_cannot_be_is_a_gap_of_its_channel_and_is_made_good_by_rest(self, frame):
        channel = {b"n": "orders", b"f": "fills", b"p": "positions"}[frame.partition(b'"topic"')[2].strip(b': "')[:1]]
        session = subscribed()
        assert refused(session, frame) == [(channel, "main")]
        session.tick(T0)
        assert fetches(session) == 1

    def test_contracts_of_the_tests(self):
        assert contracts().coins("BTC-PERP", "1") == "0.00001"
