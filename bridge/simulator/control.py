"""``/sim/…``: the truth about a simulated exchange, and the levers for tests.

================================ ===============================================================
``GET  /sim/state``              sockets, counts of messages by type and pair, rate, faults
``GET  /sim/book?pair=``         the true book, as deep as the exchange shows it (``&levels=``; 0: all)
``GET  /sim/account?account=``   true wallets, open orders, positions, fills
``GET  /sim/trades?pair=``       the trades so far (``&limit=``: the newest)
``GET  /sim/streams/…``          ``book?pair=``, ``trades?pair=``, ``account?account=`` once more, as a connector's streams
                                 should have them: in base coins, by subject
``POST /sim/pause``              hold the market; all messages so far are handed to the sockets
``POST /sim/resume``             go on
``POST /sim/rate``               ``{"rate": 500}``, public events per second
``POST /sim/step``               ``{"steps": 10}`` at once
``GET  /sim/faults``             the faults that there are, with their settings
``POST /sim/faults``             ``{"fault": "drop", "count": 3, "pair": "BTC-EUR"}``
``POST /sim/order``              ``{"account": "main", "pair": "BTC-EUR", "side": "buy", "size": "0.1", "price": "58000"}``;
                                 no ``price``: at market; ``client_id`` is optional
``POST /sim/cancel``             ``{"account": "main", "order_id": "…"}``
================================ ===============================================================

Answers are JSON; a mistake is answered 400 with ``{"error": …}``. ``POST`` is refused to web pages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from bridge.errors import BridgeError
from bridge.simulator import streams
from bridge.simulator.faults import fault_from_fields
from bridge.simulator.registry import OWN_FAULTS
from bridge.simulator.simulation import Simulation

__all__ = ["add_routes"]

_MOST_STEPS = 1_000_000

Handler = Callable[[web.Request], Awaitable[web.Response]]
Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class _MistakeError(Exception):
    """What the caller got wrong."""


def add_routes(app: web.Application, simulation: Simulation) -> None:
    """Put the control paths of ``simulation`` on ``app``."""
    control = _Control(simulation)
    for name in ("state", "book", "account", "trades"):
        app.router.add_get(f"/sim/{name}", _handler(getattr(control, name)))
    app.router.add_get("/sim/faults", _handler(control.known_faults))
    for name in ("book", "account", "trades"):
        app.router.add_get(f"/sim/streams/{name}", _handler(getattr(control, f"streams_{name}")))
    for name in ("pause", "resume", "rate", "step", "faults", "order", "cancel"):
        app.router.add_post(f"/sim/{name}", _handler(getattr(control, name)))


class _Control:
    """One method per path: settings in, answer out."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def state(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._simulation.state()

    async def book(self, settings: dict[str, Any]) -> dict[str, Any]:
        levels = int(_number(settings, "levels")) if "levels" in settings else None
        return self._simulation.book(_text(settings, "pair"), levels)

    async def account(self, settings: dict[str, Any]) -> dict[str, Any]:
        return self._simulation.account(_text(settings, "account"))

    async def trades(self, settings: dict[str, Any]) -> dict[str, Any]:
        limit = int(_number(settings, "limit")) if "limit" in settings else None
        return self._simulation.trades(_text(settings, "pair"), limit)

    async def streams_book(self, settings: dict[str, Any]) -> dict[str, Any]:
        return streams.book(self._simulation, _text(settings, "pair"))

    async def streams_account(self, settings: dict[str, Any]) -> dict[str, Any]:
        return streams.account(self._simulation, _text(settings, "account"))

    async def streams_trades(self, settings: dict[str, Any]) -> dict[str, Any]:
        return streams.trades(self._simulation, _text(settings, "pair"))

    async def pause(self, _: dict[str, Any]) -> dict[str, Any]:
        self._simulation.pause()
        return self._where()

    async def resume(self, _: dict[str, Any]) -> dict[str, Any]:
        self._simulation.resume()
        return self._where()

    async def rate(self, settings: dict[str, Any]) -> dict[str, Any]:
        self._simulation.set_rate(_number(settings, "rate"))
        return self._where()

    async def step(self, settings: dict[str, Any]) -> dict[str, Any]:
        steps = _number({"steps": 1} | settings, "steps")
        if steps > _MOST_STEPS or steps != int(steps):
            msg = f"steps must be a whole number up to {_MOST_STEPS}"
            raise _MistakeError(msg)
        made = await self._simulation.step(int(steps))
        return {"made": made, **self._where()}

    async def faults(self, settings: dict[str, Any]) -> dict[str, Any]:
        self._simulation.fault(fault_from_fields(settings, OWN_FAULTS))
        return {"faults_active": self._simulation.active_faults()}

    async def known_faults(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"faults": {name: sorted(settings) for name, settings in self._simulation.known_faults().items()}}

    async def order(self, settings: dict[str, Any]) -> dict[str, Any]:
        order = self._simulation.place(
            _text(settings, "account"),
            _text(settings, "pair"),
            _text(settings, "side"),
            _decimal(settings, "size"),
            _decimal(settings, "price") if settings.get("price") is not None else None,
            client_id=str(settings.get("client_id", "")),
        )
        return {"order_id": order.id, "status": order.status}

    async def cancel(self, settings: dict[str, Any]) -> dict[str, Any]:
        self._simulation.cancel(_text(settings, "account"), _text(settings, "order_id"))
        return {"order_id": settings["order_id"], "status": "cancelled"}

    def _where(self) -> dict[str, Any]:
        market, pump = self._simulation.market, self._simulation.pump
        return {"paused": pump.paused, "rate": pump.rate, "steps": market.steps, "events": market.public_events}


def _handler(answer: Answer) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            if request.method != "GET" and "Origin" in request.headers:
                # Browsers say so: a page of any site could send a form here.
                return web.json_response({"error": "web pages may not do this"}, status=403)
            settings = dict(request.query) if request.method == "GET" else _json(await request.read())
            return web.json_response(await answer(settings))
        except _MistakeError as error:
            return web.json_response({"error": str(error)}, status=400)
        except BridgeError as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


def _json(body: bytes) -> dict[str, Any]:
    try:
        settings = json.loads(body or b"{}")
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        msg = 'the body must be a JSON object, for example {"rate": 500}'
        raise _MistakeError(msg)
    return settings


def _text(settings: dict[str, Any], name: str) -> str:
    value = settings.get(name)
    if not isinstance(value, str) or not value:
        msg = f"say which {name}: ?{name}=…"
        raise _MistakeError(msg)
    return value


def _decimal(settings: dict[str, Any], name: str) -> Decimal:
    try:
        return Decimal(str(settings[name]))
    except (KeyError, InvalidOperation):
        msg = f'{name} must be a number, best as text: {{"{name}": "0.1"}}'
        raise _MistakeError(msg) from None


def _number(settings: dict[str, Any], name: str) -> float:
    try:
        value = float(settings[name])
    except (KeyError, TypeError, ValueError):
        value = -1.0
    if not 0 <= value < math.inf:
        msg = f'{name} must be a number, not negative: {{"{name}": 10}}'
        raise _MistakeError(msg)
    return value
