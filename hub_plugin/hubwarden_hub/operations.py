"""What is under way: one operation with its phases and its outcome, and whose turn it is.

Invariants: an operation has one outcome, set once, and whoever asks for it gets the same one; at most one thing at
a time is done to a user's containers and volumes, as in the agent. This file must never know what an operation does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from tornado import web

from hubwarden_hub.commands import RequestId
from hubwarden_hub.compat import StrEnum, timeout
from hubwarden_hub.errors import OUTCOME_UNKNOWN, TABLE, AgentError, Reason

Outcome = TypeVar("Outcome")


class Phase(StrEnum):
    """Where an operation stands. In this order, though an operation may skip some."""

    QUEUED = "queued"
    CHECKING = "checking"
    UNROUTING = "unrouting"
    STOPPING = "stopping"
    STARTING = "starting"
    REMOVING = "removing"
    LOCATING = "locating"
    ANSWERING = "answering"
    ROUTING = "routing"
    DONE = "done"


PROGRESS: dict[Phase, tuple[int, str]] = {
    Phase.QUEUED: (0, "Waiting for its turn"),
    Phase.CHECKING: (5, "Checking"),
    Phase.UNROUTING: (10, "Disconnecting"),
    Phase.STOPPING: (20, "Stopping the server"),
    Phase.STARTING: (45, "Starting the server"),
    Phase.REMOVING: (30, "Removing the home volume"),
    Phase.LOCATING: (60, "Looking where the server is"),
    Phase.ANSWERING: (70, "Waiting for the server to answer"),
    Phase.ROUTING: (95, "Reconnecting"),
    Phase.DONE: (100, "Done"),
}
"""Percent and words for each phase, in the shape of JupyterHub's spawn progress."""


class OutcomeFuture(asyncio.Future[Outcome]):
    """The outcome to come. It cannot be cancelled.

    JupyterHub's handler for DELETE of a server cancels whatever future it finds with a pending Spawner and then stops
    it, whatever is pending. Refusing here is what turns that into an answer of 409 and leaves the operation alone.
    """

    def cancel(self, msg: Any = None) -> bool:
        """Refuse, unless there already is an outcome.

        Raises:
            tornado.web.HTTPError: 409.
        """
        if self.done():
            return super().cancel(msg)
        raise web.HTTPError(TABLE[Reason.OPERATION_IN_PROGRESS].status, TABLE[Reason.OPERATION_IN_PROGRESS].user)


class Operation(Generic[Outcome]):
    """One restart or reset, from its acceptance to its outcome.

    Args:
        request_id: under which the agent knows it.
    """

    def __init__(self, request_id: RequestId) -> None:
        self.request_id = request_id
        self.outcome: OutcomeFuture[Outcome] = OutcomeFuture()
        self.phase = Phase.QUEUED
        self._moved = asyncio.Event()

    @property
    def is_lost(self) -> bool:
        """Whether it ended without anybody knowing how: whoever repeats its id then is to ask the agent again."""
        error = self.outcome.exception() if self.outcome.done() else None
        return isinstance(error, AgentError) and error.reason in OUTCOME_UNKNOWN

    @property
    def failure(self) -> AgentError | None:
        """What it ended with instead of a result; None while it runs, too."""
        error = self.outcome.exception() if self.outcome.done() else None
        return error if error is None or isinstance(error, AgentError) else AgentError(Reason.DOCKER_ERROR)

    def enter(self, phase: Phase) -> None:
        """Note where it stands, and tell whoever follows."""
        self.phase = phase
        self._moved.set()
        self._moved = asyncio.Event()

    def succeed(self, outcome: Outcome) -> None:
        """End with a result."""
        self.outcome.set_result(outcome)
        self.enter(Phase.DONE)

    def fail(self, error: Exception) -> None:
        """End without one."""
        self.outcome.set_exception(error)
        self.outcome.exception()  # counts as looked at: nobody may be waiting any more
        self.enter(Phase.DONE)

    async def wait(self, seconds: float) -> bool:
        """Whether there is an outcome within the time. Whoever stops waiting changes nothing."""
        await asyncio.wait({self.outcome}, timeout=seconds)
        return self.outcome.done()

    async def result(self) -> Outcome:
        """The outcome, however long it takes. Whoever stops waiting changes nothing.

        Raises:
            AgentError: what it failed with.
        """
        await asyncio.wait({self.outcome})
        return self.outcome.result()

    async def phases(self) -> AsyncIterator[Phase]:
        """The present phase and each one that follows, up to the end."""
        while True:
            phase, moved = self.phase, self._moved
            yield phase
            if phase is Phase.DONE:
                return
            await moved.wait()


class Turns:
    """One lock a user, in the Hub: start, stop, restart and reset take turns."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, user_id: int, wait: float) -> AsyncIterator[None]:
        """Hold the user's turn.

        Args:
            user_id: the user's id in the Hub's database, which survives a renaming.
            wait: seconds to wait for it at most.

        Raises:
            AgentError: `OPERATION_IN_PROGRESS` when somebody else still has it.
        """
        lock = self._locks.setdefault(user_id, asyncio.Lock())
        try:
            async with timeout(wait):
                await lock.acquire()
        except asyncio.TimeoutError as error:
            raise AgentError(Reason.OPERATION_IN_PROGRESS) from error
        try:
            yield
        finally:
            lock.release()
