"""Runs operations: one at a time for a user, once for a request id, and to the end even when the client leaves.

Invariants:
- An operation whose intent was written is remembered for 24 hours, and its outcome given to each repetition of the
  request id. A refusal before that is forgotten.
- A request id never acts twice, and never stands for two different requests. `recovery` restores what was remembered
  before the agent was started.
- An operation runs in the thread that asks for it. No lock but the user's is held meanwhile. A repetition holds no
  thread of the operations: it gets a future to wait for.
- No more than `MAX_REMEMBERED` are remembered. When there are so many, a new one is refused, and none is forgotten.
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
BUSY_RETRY_SECONDS = 600.0
MAX_REMEMBERED = 50_000
"""About 30 MiB. 57 users who spend their default budget of restarts all day long stay below it."""

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Operation:
    """One operation under way or remembered. `intent_written` is set by the operation itself.

    `outcome` is a future until it is known, then a result or a refusal: a future is three times as large.
    """

    fingerprint: str
    outcome: Any = field(default_factory=Future[Any])
    intent_written: bool = False
    finished_at: float | None = None


class OperationUnderWay(Exception):  # noqa: N818 - a state to wait for, not an error
    """The request id belongs to an operation that has no outcome yet."""

    def __init__(self, outcome: Future[Any]) -> None:
        self._outcome = outcome

    def wait(self, seconds: float) -> Any:
        """Wait for its outcome.

        Raises:
            RequestRefused: the operation's own.
            TimeoutError: there is none within the time.
        """
        return _given(self._outcome.result(seconds))


class OperationRegistry:
    """Runs and remembers operations.

    Args:
        locks: the users' locks, shared with the gateway.
        clock: only `monotonic` is used, to forget.
    """

    def __init__(self, locks: UserLocks, clock: Clock) -> None:
        self._locks = locks
        self._clock = clock
        self._operations: dict[RequestId, Operation] = {}  # the oldest first
        self._running = 0
        self._changed = threading.Condition()

    def run(self, command: RestartRequest | ResetRequest, work: Callable[[Operation], Result]) -> Result:
        """Do the work under the user's lock, or return the outcome that this request id has.

        Raises:
            OperationUnderWay: the request id has no outcome yet.
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
            result: Result = _outcome(known)
            return result
        try:
            with self._locks.hold(command.username):
                result = work(operation)
        except BaseException as error:
            self._finish(command.request_id, operation, _remembered(error))
            raise
        self._finish(command.request_id, operation, result)
        return result

    def recall(self, request_id: RequestId, fingerprint: str, outcome: Any, age: float) -> None:
        """Remember an operation of before the start, which began `age` seconds ago; the oldest first."""
        finished_at = self._clock.monotonic() - age
        self._operations[request_id] = Operation(fingerprint, outcome, intent_written=True, finished_at=finished_at)

    def drain(self, seconds: float) -> bool:
        """Wait for the operations under way; whether all of them ended in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout=seconds)

    def _begin(self, command: RestartRequest | ResetRequest) -> Operation:
        if len(self._operations) >= MAX_REMEMBERED:
            raise RequestRefused(Reason.TOO_BUSY, retry_after=BUSY_RETRY_SECONDS)
        if command.request_id is None:
            raise AssertionError("checked by run")
        operation = self._operations[command.request_id] = Operation(fingerprint(command))
        self._running += 1
        return operation

    def _finish(self, request_id: RequestId, operation: Operation, outcome: Any) -> None:
        with self._changed:
            self._running -= 1
            waited_for, operation.outcome = operation.outcome, outcome
            operation.finished_at = self._clock.monotonic()
            if not operation.intent_written:
                del self._operations[request_id]
            self._changed.notify_all()
        waited_for.set_result(outcome)

    def _forget(self) -> None:
        horizon = self._clock.monotonic() - REMEMBERED_SECONDS
        while self._operations:
            oldest, operation = next(iter(self._operations.items()))
            if operation.finished_at is None or operation.finished_at >= horizon:
                return
            del self._operations[oldest]


def _outcome(operation: Operation) -> Any:
    outcome = operation.outcome  # read once: the end of the operation replaces it
    if not isinstance(outcome, Future):
        return _given(outcome)
    if not outcome.done():
        raise OperationUnderWay(outcome)
    return _given(outcome.result())


def _given(outcome: Any) -> Any:
    """A result; a refusal is raised, as a copy: each raise adds to a traceback."""
    if isinstance(outcome, RequestRefused):
        raise _remembered(outcome)
    return outcome


def _remembered(error: BaseException) -> RequestRefused:
    """What a repetition is answered: without the traceback, which would keep each frame's values for a day."""
    if isinstance(error, RequestRefused):
        return RequestRefused(error.reason, error.message, retry_after=error.retry_after, detail=error.detail)
    _log.error("an operation failed unexpectedly", exc_info=error)
    return RequestRefused(Reason.DOCKER_ERROR)
