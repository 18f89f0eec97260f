"""Limitlex's REST methods: shapes, signatures, nonces, orders."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.errors import ConfigError
from bridge.simulator.limitlex.options import LimitlexConfig
from tests.simulator.helpers import NOW, running, sign

MS = int(NOW * 1000)


async def test_symbol_map_leads_from_names_to_pair_ids() -> None:
    async with running() as rig:
        _, currencies = await rig.public("currencies")
        _, pairs = await rig.public("pairs")
        codes = {row["id"]: row["code"] for row in currencies["result"]["data"]}
        named = {
            f"{codes[row['currency_id_1']]}-{codes[row['currency_id_2']]}": row["id"] for row in pairs["result"]["data"]
        }
        assert named == rig.ids
        for row in pairs["result"]["data"]:
            assert row["id"] == f"{row['currency_id_1']}:{row['currency_id_2']}"
            assert isinstance(row["decimals"], int)


async def test_public_methods_agree_with_the_market() -> None:
    async with running() as rig:
        truth = await rig.look("book", pair="ETH-EUR")
        pair_id = rig.ids["ETH-EUR"]
        _, book = await rig.public("order_book", pair_id=pair_id)
        assert [[row["price"], row["amount_1"]] for row in book["result"]["bids"]] == truth["bids"]
        _, ticker = await rig.public("ticker")
        row = next(row for row in ticker["result"] if row["pair_id"] == pair_id)
        assert (row["bid"], row["ask"]) == (truth["bids"][0][0], truth["asks"][0][0])
        _, trades = await rig.public("recent_trades", pair_id=pair_id, limit="3")
        kept = (await rig.look("trades", pair="ETH-EUR", limit="3"))["trades"]
        assert [row["price"] for row in trades["result"]["data"]] == [row["price"] for row in reversed(kept)]
        assert row["last_price"] == kept[-1]["price"]
        _, day = await rig.public("ohlc", pair_id=pair_id)
        assert day["result"][0]["price_close"] == kept[-1]["price"]


async def test_public_methods_take_post_too() -> None:
    async with running() as rig:
        body = urlencode({"pair_id": rig.ids["BTC-EUR"]})
        async with rig.http.post(f"{rig.urls.rest}/public/order_book", data=body) as response:
            assert response.status == 200
            assert (await response.json())["result"]["bids"]


@pytest.mark.parametrize(
    ("method", "params", "status", "said"),
    [
        ("order_book", {}, 400, "pair_id is missing"),
        ("order_book", {"pair_id": "x"}, 400, "Unknown pair_id"),
        ("nothing", {}, 404, "Unknown method"),
    ],
)
async def test_public_mistakes(method: str, params: dict[str, str], status: int, said: str) -> None:
    async with running() as rig:
        got, answer = await rig.public(method, **params)
        assert got == status
        assert said in answer["error"]["message"]


async def test_token_is_a_jwt_with_sub_and_exp() -> None:
    async with running(limitlex=LimitlexConfig(token_lifetime=120)) as rig:
        head, claims, _ = (await rig.token()).split(".")

        def part(text: str) -> object:
            return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))

        assert part(head) == {"typ": "JWT", "alg": "HS256"}
        uuid = rig.simulator.account("main")["uuid"]
        assert part(claims) == {"sub": uuid, "exp": int(NOW) + 120}


async def test_signature_is_verified() -> None:
    async with running() as rig:
        body = f"nonce={MS}"
        good = sign(rig.access.secret, f"/private/balance{body}")
        other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for signature, key, sent in [
            (sign(other, f"/private/balance{body}"), None, body),  # somebody else's
            (sign(rig.access.secret, f"/api/private/balance{body}"), None, body),  # with the prefix
            (sign(rig.access.secret, f"/private/trades{body}"), None, body),  # of another method
            (good, None, body + "&x=1"),  # of another body
            ("%%%", None, body),
            ("", None, body),
            (good, "00000000-0000-0000-0000-000000000000", body),
        ]:
            status, answer = await rig.signed("balance", sent, signature, key)
            assert status == 401, (signature, answer)
            assert answer["error"]["message"] in ("Invalid signature", "Invalid API key")
        status, answer = await rig.signed("balance", body, good)
        assert status == 200, answer


async def test_nonces_rise_and_are_fresh() -> None:
    async with running() as rig:
        for nonce, status, said in [
            (str(MS), 200, ""),
            (str(MS), 400, "not above the last one"),
            (str(MS - 1), 400, "not above the last one"),
            (str(MS - 30_001), 400, "older than 30 seconds"),
            (str(MS + 31_000), 400, "newer than 30 seconds"),
            (str(int(NOW)), 400, "older than 30 seconds"),  # seconds, where milliseconds are the unit
            ("", 400, "not a number"),
            ("12x", 400, "not a number"),
            (str(MS + 1), 200, ""),
        ]:
            got, answer = await rig.private("balance", nonce=nonce)
            assert got == status, (nonce, answer)
            assert said in str(answer)


async def test_nonces_in_seconds() -> None:
    async with running(limitlex=LimitlexConfig(nonce_unit="s")) as rig:
        assert (await rig.private("balance", nonce=str(MS)))[0] == 400
        assert (await rig.private("balance", nonce=str(int(NOW))))[0] == 200
        assert (await rig.private("balance", nonce=str(int(NOW))))[0] == 200
        assert (await rig.private("balance", nonce=str(int(NOW) - 1)))[0] == 400


async def test_a_refused_call_uses_no_nonce() -> None:
    async with running() as rig:
        await rig.signed("balance", f"nonce={MS}", "bad")
        assert (await rig.private("balance", nonce=str(MS)))[0] == 200


async def test_orders_from_placing_to_fills() -> None:
    async with running(activity=0) as rig:
        pair = rig.ids["BTC-EUR"]
        common = {"pair_id": pair, "order_direction": "buy"}
        _, added = await rig.private("add_order", **common, order_type="limit", price="50000.00", amount_1="0.01")
        order_id = added["result"]["order_id"]
        _, rows = await rig.private("open_orders", pair_id=pair)
        (row,) = rows["result"]["data"]
        assert (row["order_id"], row["price"], row["order_direction"]) == (order_id, "50000.00", "buy")
        assert Decimal(row["amount_initial"]) == Decimal("0.01")
        _, rows = await rig.private("balance")
        eur = next(row for row in rows["result"]["data"] if row["currency_id"].startswith("bfd04d06"))
        assert eur["amount_reserved"] == "500.00000"

        assert (await rig.private("cancel_order", order_id=order_id))[1] == {"result": {"order_id": order_id}}
        _, rows = await rig.private("open_orders")
        assert rows["result"]["data"] == []

        status, added = await rig.private("add_order", **common, order_type="market", amount_1="0.0001")
        assert status == 200
        _, rows = await rig.private("trades")
        (fill,) = rows["result"]["data"]
        assert fill["order_id"] == added["result"]["order_id"]
        newest = (await rig.look("trades", pair="BTC-EUR", limit="1"))["trades"][0]
        assert (fill["price"], fill["amount_1"]) == (newest["price"], newest["size"])


async def test_orders_of_a_subaccount() -> None:
    async with running(activity=0) as rig:
        uuid = rig.simulator.account("main")["subaccounts"]["bot"]["uuid"]
        order = {"pair_id": rig.ids["BTC-EUR"], "order_direction": "sell", "price": "90000", "amount_1": "0.01"}
        await rig.private("add_order", **order, subaccount_id=uuid)
        await rig.private("add_order", **order)
        _, own = await rig.private("open_orders")
        assert [row.get("subaccount_id") for row in own["result"]["data"]] == [None]
        _, all_ = await rig.private("open_orders", subaccounts="true")
        assert [row.get("subaccount_id") for row in all_["result"]["data"]] == [None, uuid]
        _, gone = await rig.private("cancel_all_orders", subaccounts="true", pair_id=rig.ids["BTC-EUR"])
        assert gone["result"] == {"count": 2}
        assert (await rig.private("balance", subaccount_id="nobody"))[0] == 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"amount_1": "x"}, "amount_1 is no number"),
        ({"amount_1": "100000"}, "insufficient funds"),
        ({"price": "0.3"}, "multiple of 0.50"),
        ({"order_direction": "up"}, "direction"),
        ({"order_type": "stop"}, "limit or market"),
        ({"pair_id": "x"}, "Unknown pair_id"),
    ],
)
async def test_order_mistakes(change: dict[str, str], said: str) -> None:
    async with running() as rig:
        order = {"pair_id": rig.ids["BTC-EUR"], "order_direction": "buy", "price": "50000", "amount_1": "0.01"}
        status, answer = await rig.private("add_order", **(order | change))
        assert status == 400
        assert said in answer["error"]["message"]


async def test_unknown_order_and_wrong_verb() -> None:
    async with running() as rig:
        assert (await rig.private("cancel_order", order_id="x"))[0] == 400
        async with rig.http.get(f"{rig.urls.rest}/private/balance") as response:
            assert response.status == 405


async def test_keys_follow_from_the_seed_and_files_come_first(tmp_path) -> None:
    async with running(seed=1) as one, running(seed=1) as same, running(seed=2) as other:
        assert one.access == same.access
        assert one.access.secret != other.access.secret
        (tmp_path / "main.pem").write_bytes(other.access.secret)
    async with running(seed=1, key_dir=tmp_path) as rig:
        assert rig.access.secret == other.access.secret
        assert (await rig.private("balance"))[0] == 200
    (tmp_path / "main.pem").write_text("no key")
    with pytest.raises(ConfigError, match="no EC private key"):
        async with running(key_dir=tmp_path):
            pass
