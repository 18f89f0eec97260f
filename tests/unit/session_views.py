"""What tests look at in a session, and REST as a table: the same for several exchanges."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import parse_qs

from bridge.exchanges.api import Fetch, Flow, HttpResponse, Reconnect, Restated, Send
from bridge.model import Control
from tests.unit.core import T0

__all__ = ["RestTable", "actions", "controls", "data", "log_in", "reconnects", "states", "take", "wants"]


def data(events):
    return [event for event in events if not isinstance(event, Control)]


def controls(events):
    """Control events as ``(event, channel, subject)``."""
    return [(str(e.event), str(e.channel), e.subject) for e in events if isinstance(e, Control)]


def take(session, *many, recv=T0):
    """The data events of frames."""
    return [event for frame in many for event in data(session.receive(frame, recv))]


def actions(session, kind):
    return [action for action in session.actions if isinstance(action, kind)]


def reconnects(session):
    return actions(session, Reconnect)


def log_in(session):
    [message] = [json.loads(action.text) for action in actions(session, Send) if action.secret]
    return message


def states(session):
    """What was restated, by channel."""
    return {action.channel: action for action in actions(session, Restated)}


def wants(session):
    return len(actions(session, Fetch))


class RestTable:
    """Path and some of the query → rows, an answer, or a response; without one, an empty list."""

    answer: ClassVar[Callable[[list[Any]], bytes]]
    """The exchange's answer with these rows."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = answers or {}
        self.called: list[str] = []
        self.headers: list[dict[str, str]] = []

    def drive(self, flow: Flow[Any]) -> Any:
        try:
            request = next(flow)
            while True:
                self.called.append(request.path)
                self.headers.append(request.headers)
                request = flow.send(self._answer(request.path))
        except StopIteration as stop:
            return stop.value

    def _answer(self, called: str) -> HttpResponse:
        path, _, query = called.partition("?")
        given = {(name, value) for name, values in parse_qs(query, keep_blank_values=True).items() for value in values}
        for key, answer in self.answers.items():
            known, _, wanted = key.partition("?")
            if known == path and {tuple(part.split("=", 1)) for part in wanted.split("&") if part} <= given:
                found = answer(called) if callable(answer) else answer
                if isinstance(found, list):
                    found = self.answer(found)
                return found if isinstance(found, HttpResponse) else HttpResponse(200, found)
        return HttpResponse(200, self.answer([]))
