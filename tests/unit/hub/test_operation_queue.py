"""The queue of operations: what begins, what waits, what is refused, and what is remembered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hubwarden_hub import operation_queue
from hubwarden_hub.commands import RequestId, ResetCommand, RestartCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.operation_queue import Job, OperationQueue, Target
from hubwarden_hub.operations import Operation
from hubwarden_hub.records import Deed, End, Kind, Records
from support.waiting.conditions import until

HOME = Target(1, "alice", Kind.RESET, "")


class World:
    """A queue, and operations that end when the test says so."""

    def __init__(self, capacity: int = 10) -> None:
        log = logging.getLogger()
        self.told: list[tuple[str, RequestId]] = []
        self.notes: list[tuple[str, bool]] = []
        self.begun_servers: list[str] = []
        self.refusal: AgentError | None = None
        self.start: asyncio.Future[None] | None = None
        self.allowed = True
        self.note_fault: Exception | None = None
        self.queue = OperationQueue(capacity, Records([self], log), log)

    def begun(self, deed: Deed) -> None:
        """See `Witness`."""
        self.told.append(("begun", deed.request_id))

    def ended(self, deed: Deed, end: End) -> None:
        """See `Witness`."""
        self.told.append((str(end.reason), deed.request_id))

    def _check(self) -> None:
        if self.refusal:
            raise self.refusal

    def restart(self, server: str, user_id: int = 1, request_id: RequestId | None = None) -> Operation[Any]:
        """Submit a restart of one of a user's servers."""
        command = RestartCommand("alice", server, "user:alice", request_id or RequestId.new(), f"c-{server}", 10)

        def begin(_operation: Operation[Any]) -> Coroutine[Any, Any, None]:
            self.begun_servers.append(server)
            return asyncio.sleep(0)

        def note(*, waits: bool) -> None:
            if self.note_fault:
                raise self.note_fault
            self.notes.append((server, waits))

        return self.queue.submit(
            Job(user_id, command, self._check, begin, lambda: self.start, lambda: self.allowed, note)
        )


def refused(submit: Callable[..., object], *arguments: Any) -> Reason:
    """Why a submission is refused."""
    with pytest.raises(AgentError) as caught:
        submit(*arguments)
    return caught.value.reason


async def ended(operation: Operation[Any]) -> Reason | None:
    """How an operation ended."""
    assert await operation.wait(5)
    await asyncio.sleep(0)  # one turn: the queue has seen the end
    return None if operation.failure is None else operation.failure.reason


async def test_one_runs_and_one_waits() -> None:
    """When a user's operation runs, the next waits and a third is refused; at the end of the first the next begins."""
    world = World()
    first, second = world.restart("a"), world.restart("b")
    assert world.begun_servers == ["a"]
    assert refused(world.restart, "c") is Reason.OPERATION_IN_PROGRESS
    waiting = world.queue.waiting(1)
    assert waiting is not None
    assert waiting.target.server_name == "b"
    first.succeed("done")
    await until(lambda: world.begun_servers == ["a", "b"])
    assert world.queue.waiting(1) is None
    assert world.notes == [("b", True), ("b", False)]
    third = world.restart("a")
    second.fail(AgentError(Reason.RATE_LIMITED))
    assert await ended(second) is Reason.RATE_LIMITED
    third.succeed("done")


async def test_the_same_operation_is_refused_while_it_runs() -> None:
    """When a restart of a server runs, another one of that server does not wait behind it; other users' begin."""
    world = World()
    world.restart("a")
    assert refused(world.restart, "a") is Reason.OPERATION_IN_PROGRESS
    world.restart("a", 2)
    assert world.begun_servers == ["a", "a"]


async def test_a_repeated_id_is_the_same_operation() -> None:
    """When an id comes again, waiting, running, ended or older, nothing begins; unless its outcome is not known."""
    world, ids = World(), [RequestId.new() for _ in range(3)]
    first, waiting = world.restart("a", 1, ids[0]), world.restart("b", 1, ids[1])
    assert world.restart("b", 1, ids[1]) is waiting
    first.succeed("done")
    assert await ended(first) is None
    await until(lambda: len(world.begun_servers) == 2)
    waiting.fail(AgentError(Reason.DEADLINE_EXCEEDED))
    await ended(waiting)
    later = world.restart("a", 1, ids[2])
    assert world.restart("a", 1, ids[0]) is first
    later.succeed("done")
    await ended(later)
    assert world.begun_servers == ["a", "b", "a"]
    assert world.restart("b", 1, ids[1]) is not waiting
    assert world.queue.latest(Target(1, "alice", Kind.RESTART, "a")) is later


async def test_what_makes_no_sense_does_not_wait() -> None:
    """When the check refuses, nothing is on the record."""
    world = World()
    world.refusal = AgentError(Reason.SERVER_NOT_RUNNING)
    assert refused(world.restart, "a") is Reason.SERVER_NOT_RUNNING
    assert world.told == []


async def test_all_users_together_are_bounded() -> None:
    """When as many operations run or wait as the Hub allows, a further one is refused with a time to try again."""
    world = World(capacity=2)
    first = world.restart("a", 1)
    world.restart("b", 1)
    with pytest.raises(AgentError) as caught:
        world.restart("a", 2)
    assert caught.value.reason is Reason.TOO_BUSY
    assert caught.value.retry_after
    first.succeed("done")
    await ended(first)
    world.restart("a", 2)


async def test_a_waiting_operation_can_be_cancelled() -> None:
    """When what waits is cancelled, it ends so, never begins, and another one may wait."""
    world = World()
    running, waiting = world.restart("a"), world.restart("b")
    world.queue.cancel(1)
    assert await ended(waiting) is Reason.CANCELLED
    other = world.restart("c")
    running.succeed("done")
    await until(lambda: len(world.begun_servers) == 2)
    assert world.begun_servers == ["a", "c"]
    world.queue.cancel(1)  # it has begun
    assert not other.outcome.done()


async def test_a_wait_that_cannot_be_noted_does_not_begin() -> None:
    """When the note fails, the submission fails, and does not keep another one from waiting."""
    world = World()
    world.restart("a")
    world.note_fault = OSError("database is locked")
    with pytest.raises(OSError, match="locked"):
        world.restart("b")
    world.note_fault = None
    assert world.restart("b") is not None


async def test_permission_is_asked_again_after_a_wait() -> None:
    """When the author may no longer do it at the end of the wait, it ends so and never begins."""
    world = World()
    world.start = asyncio.get_running_loop().create_future()
    operation = world.restart("a")
    world.allowed = False
    world.start.set_result(None)
    world.start = None
    assert await ended(operation) is Reason.NOT_ALLOWED
    assert world.begun_servers == []


async def test_what_an_earlier_hub_left_is_on_the_record() -> None:
    """When an operation ended without being carried out here, log, history and state have it, for its user only."""
    world, command = World(), ResetCommand("alice", "user:alice", RequestId.new(), "volume")
    world.queue.end(1, command, Reason.LOST)
    operation = world.queue.latest(HOME)
    assert operation is not None
    assert await ended(operation) is Reason.LOST
    assert world.told == [("begun", command.request_id), ("LOST", command.request_id)]
    assert world.queue.latest(HOME._replace(username="bob")) is None  # SQLite gives a deleted user's id to the next


async def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are too many, the oldest that have ended go; one that runs stays."""
    monkeypatch.setattr(operation_queue, "_REMEMBERED", 2)
    world = World()
    running = world.restart("a", 0)
    for user_id in range(1, 6):
        world.queue.end(user_id, ResetCommand("alice", "user:alice", RequestId.new(), "volume"), Reason.INTERRUPTED)
    assert world.queue.latest(Target(0, "alice", Kind.RESTART, "a")) is running
    assert [user_id for user_id in range(6) if world.queue.latest(HOME._replace(user_id=user_id))] == [4, 5]
