"""Runs operations: one at a time for a user, once for a request id, and to the end even when the client leaves.

Invariants:
- An operation whose intent was written is remembered for 24 hours, and its outcome given to each repetition of the
  request id. A refusal before that is forgotten.
- A request id never acts twice, and never stands for two different requests. `recovery` restores what was remembered
  before the agent was started.
- An operation runs in the thread that asks for it. No lock but the user's is held meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hubwarden_agent.clock import Clock
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import RequestId
from hubwarden_agent.operations.requests import ResetRequest, RestartRequest, fingerprint

REMEMBERED_SECONDS = 24 * 60 * 60
BUSY_RETRY_SECONDS = 1.0

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Operation:
    """One operation under way or remembered. `intent_written` is set by the operation itself."""

    fingerprint: str
    outcome: Future[Any] = field(default_factory=Future)
    intent_written: bool = False
    finished_at: float | None = None


class OperationRegistry:
    """Runs and remembers operations.

    Args:
        locks: the users' locks, shared with the gateway.
        clock: only `monotonic` is used, to forget.
        max_concurrent: a further operation is refused.
    """

    def __init__(self, locks: UserLocks, clock: Clock, max_concurrent: int) -> None:
        self._locks = locks
        self._clock = clock
        self._max_concurrent = max_concurrent
        self._operations: dict[RequestId, Operation] = {}
        self._changed = threading.Condition()

    def run(self, command: RestartRequest | ResetRequest, work: Callable[[Operation], Result]) -> Result:
        """Do the work under the user's lock, or wait for the outcome that this request id has.

        Raises:
            RequestRefused: the work's own; `INVALID_REQUEST` for a request id that was used for another request;
                `OPERATION_IN_PROGRESS`; `TOO_BUSY`.
        """
        if command.request_id is None:
            raise RequestRefused(Reason.INVALID_REQUEST, "A request id is required.")
        with self._changed:
            self._forget()
            known = self._operations.get(command.request_id)
            if known is None:
                operation = self._begin(command)
        if known is not None:
            if known.fingerprint != fingerprint(command):
                raise RequestRefused(Reason.INVALID_REQUEST, "This request id was used for another request.")
            outcome: Result = known.outcome.result()
            return outcome
        try:
            with self._locks.hold(command.username):
                result = work(operation)
        except BaseException as error:
            self._finish(command.request_id, operation)
            operation.outcome.set_exception(_remembered(error))
            raise
        self._finish(command.request_id, operation)
        operation.outcome.set_result(result)
        return result

    def recall(self, request_id: RequestId, fingerprint: str, outcome: Future[Any], age: float) -> None:
        """Remember an operation of before the start, which began `age` seconds ago."""
        finished_at = self._clock.monotonic() - age
        self._operations[request_id] = Operation(fingerprint, outcome, intent_written=True, finished_at=finished_at)

    def drain(self, seconds: float) -> bool:
        """Wait for the operations under way; whether all of them ended in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running(), timeout=seconds)

    def _begin(self, command: RestartRequest | ResetRequest) -> Operation:
        if self._running() >= self._max_concurrent:
            raise RequestRefused(Reason.TOO_BUSY, retry_after=BUSY_RETRY_SECONDS)
        if command.request_id is None:
            raise AssertionError("checked by run")
        operation = self._operations[command.request_id] = Operation(fingerprint(command))
        return operation

    def _running(self) -> int:
        return sum(operation.finished_at is None for operation in self._operations.values())

    def _finish(self, request_id: RequestId, operation: Operation) -> None:
        with self._changed:
            operation.finished_at = self._clock.monotonic()
            if not operation.intent_written:
                del self._operations[request_id]
            self._changed.notify_all()

    def _forget(self) -> None:
        horizon = self._clock.monotonic() - REMEMBERED_SECONDS
        for request_id, operation in list(self._operations.items()):
            if operation.finished_at is not None and operation.finished_at < horizon:
                del self._operations[request_id]


def _remembered(error: BaseException) -> RequestRefused:
    """What a repetition is answered: without the traceback, which would keep each frame's values for a day."""
    if isinstance(error, RequestRefused):
        return RequestRefused(error.reason, error.message, retry_after=error.retry_after, detail=error.detail)
    _log.error("an operation failed unexpectedly", exc_info=error)
    return RequestRefused(Reason.DOCKER_ERROR)
