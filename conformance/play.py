"""Plays a case: its rows go to Redis or to the subject, and what the subject answers is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import redis
from msgspec import Struct, field
from redis.exceptions import ResponseError

from conformance.cases import Case, CaseError, Close, Commands, Cut, Expect, Open, Sync
from conformance.compare import compare
from conformance.subject import Subject, SubjectError

__all__ = ["Outcome", "Player"]


class Outcome(Struct):
    """How a case went: it has passed if ``problems`` is empty. ``skipped`` are parts that the subject does not have."""

    case: Case
    problems: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    compared: int = 0

    @property
    def result(self) -> str:
        """``FAIL``, ``pass``, or ``skipped`` if nothing could be compared."""
        if self.problems:
            return "FAIL"
        return "pass" if self.compared else "skipped"


class Player:
    """Plays cases one after another with one subject process; after one that has broken the protocol, with a new one.

    Leaving the context kills the process, if `end` has not ended it.

    Args:
        client: a client of the server at ``url``, with decoded replies; its database is emptied before each case.
        url: what the subject is told.
        command: how to start the subject; it is started when it is needed.
        timeout: seconds for each answer of the subject.
    """

    def __init__(self, client: redis.Redis, url: str, command: Sequence[str], timeout: float = 30.0) -> None:
        self._client = client
        self._url = url
        self._command = command
        self._timeout = timeout
        self._subject: Subject | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    def introduce(self) -> str:
        """The name and version of the subject.

        Raises:
            SubjectError: it cannot be used at all.
        """
        return _greet(self._started(), self._url, "")

    def play(self, case: Case) -> Outcome:
        """Play a case on an empty database.

        Raises:
            CaseError: Redis refuses a command of the case, or does not refuse it as it should.
            redis.exceptions.RedisError: any other error of redis-py.
        """
        self._client.flushdb()
        outcome = Outcome(case)
        before = _connections(self._client)
        try:
            subject = self._started()
            _greet(subject, self._url, case.namespace)
            _Play(case, self._client, subject, before, outcome).rows()
        except SubjectError as error:
            outcome.problems += [str(error), *(f"stderr: {line}" for line in error.stderr)]
            self._kill()
        return outcome

    def end(self) -> None:
        """Ask the subject to end, if it runs.

        Raises:
            SubjectError: it does not end in time, or not with exit code 0.
        """
        if self._subject:
            self._subject.end()

    def _started(self) -> Subject:
        if self._subject is None:
            self._subject = Subject(self._command, self._timeout)
        return self._subject

    def _kill(self) -> None:
        subject, self._subject = self._subject, None
        if subject:
            subject.kill()


def _greet(subject: Subject, url: str, namespace: str) -> str:
    answer = subject.ask({"redis": url, "namespace": namespace})
    name = answer.get("client")
    if answer.get("ok") is not True or not isinstance(name, str):
        raise SubjectError('its first answer is not {"ok":true,"client":"name version"}')
    return name


class _Play:
    """One case that is being played."""

    def __init__(self, case: Case, client: redis.Redis, subject: Subject, before: set[str], outcome: Outcome) -> None:
        self._case = case
        self._client = client
        self._subject = subject
        self._before = before
        self._outcome = outcome
        self._open: list[str] = []
        self._answer: Mapping[str, Any] = {}

    def rows(self) -> None:
        for number, row in self._case.rows:
            match row:
                case Commands():
                    self._run(number, row)
                case Cut():
                    self._cut()
                case Open(open=key, at=at):
                    self._confirm({"open": key, "at": at})
                    self._open.append(key)
                case Close(close=key):
                    self._confirm({"close": key})
                    self._open.remove(key)
                case Sync():
                    self._sync()
                case Expect(expect=streams):
                    self._compare(number, streams)

    def _run(self, number: int, row: Commands) -> None:
        where = f"{self._case.name}:{number}"
        try:
            with self._client.pipeline(transaction=len(row.commands) > 1) as pipeline:
                for command in row.commands:
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
                pipeline.execute()
        except ResponseError as error:
            if not row.fails or row.fails not in str(error):
                raise CaseError(f"{where}: Redis refused a command: {error}") from None
        else:
            if row.fails:
                raise CaseError(f"{where}: Redis should have refused this: {row.fails}")

    def _cut(self) -> None:
        for connection in _connections(self._client) - self._before:
            with suppress(ResponseError):  # it has ended in the meantime
                self._client.execute_command("CLIENT", "KILL", "ID", connection)  # type: ignore[no-untyped-call]

    def _confirm(self, request: Mapping[str, Any]) -> None:
        answer = self._subject.ask(request)
        if answer.get("ok") is not True:
            raise SubjectError(f'expected {{"ok":true}} or {{"error":"…"}} as the answer to {request}, got {answer}')

    def _sync(self) -> None:
        answer = self._subject.ask({"sync": {key: self._last(key) for key in self._open}})
        streams = answer.get("streams")
        if not isinstance(streams, dict):
            raise SubjectError(f'expected {{"streams":{{…}}}} as the answer to sync, got {str(answer)[:200]}')
        self._answer = streams

    def _last(self, key: str) -> str:
        """The ID of the newest entry that is in the stream; ``0-0`` if there is none."""
        try:
            newest: Any = self._client.xrevrange(key, count=1)
        except ResponseError:
            return "0-0"  # not a stream
        return str(newest[0][0]) if newest else "0-0"

    def _compare(self, number: int, streams: Mapping[str, Any]) -> None:
        for key, expected in streams.items():
            if key not in self._answer:
                self._outcome.problems.append(f"row {number}, {key}: missing in the answer to sync")
                continue
            differences, skipped, compared = compare(expected, self._answer[key])
            self._outcome.problems += [f"row {number}, {key}: {line}" for line in differences]
            self._outcome.skipped += [part for part in skipped if part not in self._outcome.skipped]
            self._outcome.compared += compared


def _connections(client: redis.Redis) -> set[str]:
    """The IDs of all connections to the server."""
    rows: Any = client.client_list()
    return {str(row["id"]) for row in rows}
