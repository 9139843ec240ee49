"""Runs operations: one at a time for a user, once for a request id, and to the end whatever becomes of the caller.

What holds here: an operation runs in a task of its own, so a client that goes away changes nothing. An operation that
wrote its intent is remembered for 24 hours and its outcome given to whoever repeats the request id; a refusal before
that is forgotten. A request id never acts twice, and never stands for two different requests; `recovery` tells what was
remembered before the agent was started.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hubwarden_agent import log_context
from hubwarden_agent.clock import Clock
from hubwarden_agent.errors import Reason, Refusal
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import RequestId
from hubwarden_agent.operations.commands import Reset, Restart, fingerprint

REMEMBERED_SECONDS = 24 * 60 * 60
BUSY_RETRY_SECONDS = 1.0

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Run:
    """One operation under way or remembered. Whoever writes its intent sets `acted`."""

    fingerprint: str
    task: asyncio.Future[Any] | None = None
    acted: bool = False
    ended: float | None = None


class Runner:
    """Runs operations.

    Args:
        locks: the users' locks, shared with the gateway.
        clock: only `monotonic` is used, to forget.
        max_concurrent: more than this at once are refused.
    """

    def __init__(self, locks: UserLocks, clock: Clock, max_concurrent: int) -> None:
        self._locks = locks
        self._clock = clock
        self._max_concurrent = max_concurrent
        self._runs: dict[RequestId, Run] = {}

    async def run(self, command: Restart | Reset, work: Callable[[Run], Awaitable[Result]]) -> Result:
        """Do the work under the user's lock, or give the outcome that this request id already has.

        Raises:
            Refusal: the work's own; `INVALID_REQUEST` for a request id that was used for something else;
                `OPERATION_IN_PROGRESS`; `TOO_BUSY`.
        """
        if command.request_id is None:
            raise Refusal(Reason.INVALID_REQUEST, "A request id is required.")
        self._forget()
        run = self._runs.get(command.request_id)
        if run is None:
            run = self._start(command.request_id, command, work)
        elif run.fingerprint != fingerprint(command):
            raise Refusal(Reason.INVALID_REQUEST, "This request id was used for another request.")
        if run.task is None:
            raise AssertionError("a run has a task from the moment it is known")
        result: Result = await asyncio.shield(run.task)
        return result

    def recall(self, request_id: RequestId, fingerprint: str, outcome: asyncio.Future[Any], age: float) -> None:
        """Remember an operation of before the start, which began `age` seconds ago."""
        self._runs[request_id] = Run(fingerprint, outcome, acted=True, ended=self._clock.monotonic() - age)

    async def drain(self, seconds: float) -> bool:
        """Wait for what is under way; whether all of it ended in time."""
        tasks = [run.task for run in self._runs.values() if run.task and run.ended is None]
        if not tasks:
            return True
        _, pending = await asyncio.wait(tasks, timeout=seconds)
        return not pending

    def _start(self, request_id: RequestId, command: Restart | Reset, work: Callable[[Run], Awaitable[Result]]) -> Run:
        if sum(run.ended is None for run in self._runs.values()) >= self._max_concurrent:
            raise Refusal(Reason.TOO_BUSY, retry_after=BUSY_RETRY_SECONDS)
        run = Run(fingerprint(command))
        self._runs[request_id] = run
        run.task = asyncio.create_task(self._locked(command, run, work), name=f"operation {request_id}")
        run.task.add_done_callback(lambda task: self._ended(request_id, run, task))
        return run

    async def _locked(self, command: Restart | Reset, run: Run, work: Callable[[Run], Awaitable[Result]]) -> Result:
        log_context.request_id.set(str(command.request_id))
        with self._locks.hold(command.username):
            return await work(run)

    def _ended(self, request_id: RequestId, run: Run, task: asyncio.Future[Any]) -> None:
        run.ended = self._clock.monotonic()
        if not run.acted:
            del self._runs[request_id]
        # Fetching the exception here keeps asyncio from reporting it as lost when the client is gone.
        if task.cancelled():
            return
        if (error := task.exception()) and not isinstance(error, Refusal):
            _log.error("an operation failed unforeseen", exc_info=error, extra={"request_id": str(request_id)})
        run.task = _outcome(task)

    def _forget(self) -> None:
        horizon = self._clock.monotonic() - REMEMBERED_SECONDS
        for request_id, run in list(self._runs.items()):
            if run.ended is not None and run.ended < horizon:
                del self._runs[request_id]


def _outcome(task: asyncio.Future[Any]) -> asyncio.Future[Any]:
    """What a finished task came to, without what it still holds: its context, and every frame an exception passed."""
    outcome = asyncio.get_running_loop().create_future()
    if error := task.exception():
        outcome.set_exception(error.with_traceback(None))
        outcome.exception()  # or asyncio reports it as lost when nobody asks again
    else:
        outcome.set_result(task.result())
    return outcome
