"""The Hub's queue of operations: restarts and resets, at most one running and one waiting for each user.

Invariants: an operation that need not wait begins at once; one that waits begins when the user's running operation and
the start of its server have ended, if it is still allowed then; an id that was given before gets the same operation,
unless nobody knows how that ended; the operations of all users together are bounded.
Must not: know how an operation is carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import islice
from logging import Logger
from typing import Any, NamedTuple

from hubwarden_hub.commands import RequestId, ResetCommand, RestartCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operations import Operation
from hubwarden_hub.records import Deed, Kind, Records

Command = RestartCommand | ResetCommand
_REMEMBERED = 10_000
"""Operations that have ended and can still be asked for, of all users; the oldest go."""
_RETRY_AFTER = 30.0
"""Seconds after which it makes sense to try again when the queue is full."""


class Target(NamedTuple):
    """What an operation is done to. A deleted user's id may become another's: the name tells the two apart."""

    user_id: int
    username: str
    kind: Kind
    server_name: str

    @classmethod
    def of(cls, user_id: int, command: Command) -> Target:
        """A command's."""
        deed = Deed.of(command)
        return cls(user_id, deed.username, deed.kind, deed.server_name)


@dataclass(frozen=True, slots=True)
class Job:
    """An operation that somebody wants.

    Attributes:
        user_id: in the Hub's database.
        command: what is sent to the agent.
        check: raises `AgentError` where it cannot be done, now or after the wait.
        begin: marks it as begun, without an await, and returns what carries it out and ends it. Raises `AgentError`.
        awaits: the start of the server that it has to wait for, if one is under way.
        is_allowed: whether the author still may; called when the operation begins after a wait.
        note: called with `waits`, when it begins to wait and when that ends, so that the next Hub knows.
    """

    user_id: int
    command: Command
    check: Callable[[], None]
    begin: Callable[[Operation[Any]], Coroutine[Any, Any, None]]
    awaits: Callable[[], asyncio.Future[Any] | None] = lambda: None
    is_allowed: Callable[[], bool] = lambda: True
    note: Callable[..., None] = lambda **_: None

    @property
    def target(self) -> Target:
        """What it is done to."""
        return Target.of(self.user_id, self.command)


class OperationQueue:
    """The operations of all users.

    Args:
        capacity: how many may run or wait at a time, over all users.
        records: follows each operation.
        log: the Hub's.
    """

    def __init__(self, capacity: int, records: Records, log: Logger) -> None:
        self._capacity, self._records, self._log = capacity, records, log
        self._running: dict[int, tuple[Job, Operation[Any]]] = {}
        self._waiting: dict[int, tuple[Job, Operation[Any]]] = {}
        self._known: dict[tuple[Target, RequestId], Operation[Any]] = {}
        self._latest: dict[Target, Operation[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, job: Job) -> Operation[Any]:
        """Begin an operation, let it wait, or find the one that has this id.

        Raises:
            AgentError: what `job.check` and `job.begin` raise; `OPERATION_IN_PROGRESS`, the same is under way already,
                or another operation of the user waits; `TOO_BUSY`.
        """
        known = self._known.get((job.target, job.command.request_id))
        if known is not None and not known.is_lost:
            return known
        running, waiting = self._running.get(job.user_id), self._waiting.get(job.user_id)
        if waiting or (running and running[0].target == job.target):
            raise AgentError(Reason.OPERATION_IN_PROGRESS)
        job.check()
        if len(self._running) + len(self._waiting) >= self._capacity:
            raise AgentError(Reason.TOO_BUSY, retry_after=_RETRY_AFTER)
        operation: Operation[Any] = Operation(job.command.request_id)
        if running or job.awaits() is not None:
            job.note(waits=True)
            self._waiting[job.user_id] = (job, operation)
            task = self._begin_later(job, operation)
        else:
            task = self._carry_out(job, operation, job.begin(operation))
        self.register(job.user_id, job.command, operation)
        self._keep(task)
        return operation

    def register(self, user_id: int, command: Command, operation: Operation[Any]) -> None:
        """Put an operation on the record, also one that is not carried out here; it is found by its id from now on."""
        target = Target.of(user_id, command)
        for key in list(islice(self._known, max(0, len(self._known) - _REMEMBERED + 1))):
            if self._known[key].outcome.done():
                forgotten = self._known.pop(key)
                if self._latest.get(key[0]) is forgotten:
                    del self._latest[key[0]]
        self._known.pop((target, command.request_id), None)
        self._known[target, command.request_id] = self._latest[target] = operation
        self._records.follow(operation, command)

    def end(self, user_id: int, command: Command, reason: Reason) -> None:
        """Put an operation on the record that has ended without being carried out here."""
        operation: Operation[Any] = Operation(command.request_id)
        self.register(user_id, command, operation)
        operation.fail(AgentError(reason))

    def latest(self, target: Target) -> Operation[Any] | None:
        """The operation under way or waiting, or else the last one that this Hub has seen end."""
        return self._latest.get(target)

    def waiting(self, user_id: int) -> Job | None:
        """What waits for its turn."""
        waiting = self._waiting.get(user_id)
        return None if waiting is None else waiting[0]

    def cancel(self, user_id: int) -> None:
        """End what waits for its turn. Nothing, if nothing does."""
        if waiting := self._waiting.pop(user_id, None):
            job, operation = waiting
            job.note(waits=False)
            operation.fail(AgentError(Reason.CANCELLED))

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _begin_later(self, job: Job, operation: Operation[Any]) -> None:
        while not operation.outcome.done():  # it is when somebody has cancelled it
            running = self._running.get(job.user_id)
            hindrance = running[1].outcome if running else job.awaits()
            if hindrance is None:
                await self._begin(job, operation)
                return
            await asyncio.wait({hindrance, operation.outcome}, return_when=asyncio.FIRST_COMPLETED)

    async def _begin(self, job: Job, operation: Operation[Any]) -> None:
        del self._waiting[job.user_id]
        try:
            job.note(waits=False)
            if not job.is_allowed():
                raise AgentError(Reason.NOT_ALLOWED)  # noqa: TRY301 - one way out for whatever is in the way
            carrying_out = job.begin(operation)
        except AgentError as error:
            operation.fail(error)
        except Exception:  # noqa: BLE001 - logged; somebody waits for the outcome, whatever went wrong
            self._log.exception("Operation %s could not begin", job.command.request_id)
            operation.fail(AgentError(Reason.DOCKER_ERROR))
        else:
            await self._carry_out(job, operation, carrying_out)

    def _carry_out(
        self, job: Job, operation: Operation[Any], carrying_out: Coroutine[Any, Any, None]
    ) -> Coroutine[Any, Any, None]:
        """Have the user's running operation be this one from now until its outcome."""
        self._running[job.user_id] = (job, operation)
        operation.outcome.add_done_callback(lambda _: self._running.pop(job.user_id))
        return carrying_out
