"""The operation registry: one operation at a time for a user, and once for a request id."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.operations import operation_registry
from hubwarden_agent.operations.operation_registry import (
    REMEMBERED_SECONDS,
    Operation,
    OperationRegistry,
    OperationUnderWay,
)
from hubwarden_agent.operations.requests import RestartRequest
from support.agent.core import ALICE, CONTAINER, HOME, AgentStage, request_id, reset_command, restart_command
from support.fakes.edges import FakeClock
from support.waiting.conditions import wait_for
from support.waiting.threads import in_background

Work = Callable[[Operation], str]


class Deeds:
    """Work that is counted, and ends when a test says so."""

    def __init__(self, *, acts: bool = True, end: Exception | None = None) -> None:
        self.begun = 0
        self.ended = 0
        self.finish = threading.Event()
        self._acts = acts
        self._end = end

    def __call__(self, run: Operation) -> str:
        """The work."""
        self.begun += 1
        run.intent_written = self._acts
        assert self.finish.wait(30)
        self.ended += 1
        if self._end:
            raise self._end
        return f"outcome {self.begun}"


@pytest.fixture
def clock() -> FakeClock:
    """Time stands still."""
    return FakeClock()


@pytest.fixture
def locks() -> UserLocks:
    """Nobody holds one."""
    return UserLocks()


@pytest.fixture
def registry(locks: UserLocks, clock: FakeClock) -> OperationRegistry:
    """Over locks that nobody holds."""
    return OperationRegistry(locks, clock)


def _reason(registry: OperationRegistry, command: RestartRequest, work: Work) -> Reason:
    with pytest.raises(RequestRefused) as refused:
        registry.run(command, work)
    return refused.value.reason


def test_another_operation_of_the_same_user_is_refused(registry: OperationRegistry) -> None:
    """With an id of its own it gets OPERATION_IN_PROGRESS at once, and is not remembered: later it may run."""
    first, second, command = Deeds(), Deeds(), restart_command()
    running = in_background(lambda: registry.run(restart_command(), first))
    wait_for(lambda: first.begun, "it")
    assert _reason(registry, command, second) is Reason.OPERATION_IN_PROGRESS
    first.finish.set()
    second.finish.set()
    running.result(30)
    assert registry.run(command, second) == "outcome 1"


def test_too_many_remembered(registry: OperationRegistry, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """When `MAX_REMEMBERED` are remembered, a new one is TOO_BUSY, a repetition is answered, and none is forgotten."""
    monkeypatch.setattr(operation_registry, "MAX_REMEMBERED", 2)
    deeds, commands = Deeds(), [restart_command("alice"), restart_command("bob")]
    deeds.finish.set()
    outcomes = [registry.run(command, deeds) for command in commands]
    with pytest.raises(RequestRefused) as refused:
        registry.run(restart_command("carol"), deeds)
    assert (refused.value.reason, bool(refused.value.retry_after)) == (Reason.TOO_BUSY, True)
    assert [registry.run(command, deeds) for command in commands] == outcomes
    clock.advance(REMEMBERED_SECONDS + 1)
    assert registry.run(restart_command("carol"), deeds)


@pytest.mark.parametrize(
    "other",
    [
        {"username": "bob"},
        {"server_name": "lab"},
        {"stop_timeout": 11},
        {"expected_container": CONTAINER},
    ],
)
def test_one_id_never_stands_for_two_requests(registry: OperationRegistry, other: dict[str, object]) -> None:
    """The same id with any other parameter is INVALID_REQUEST, while it runs and afterwards."""
    identifier, deeds = request_id(), Deeds()
    running = in_background(lambda: registry.run(restart_command(identifier=identifier), deeds))
    wait_for(lambda: deeds.begun, "it")
    changed = restart_command(identifier=identifier, **other)  # type: ignore[arg-type] # one parameter
    assert _reason(registry, changed, deeds) is Reason.INVALID_REQUEST
    deeds.finish.set()
    running.result(30)
    assert _reason(registry, changed, deeds) is Reason.INVALID_REQUEST
    assert deeds.begun == 1


def test_a_restarts_id_is_no_resets() -> None:
    """Not even for the same user."""
    stage, identifier = AgentStage(), request_id()
    stage.engine.add_container(CONTAINER)
    stage.engine.add_volume(HOME)
    stage.restarter.restart(restart_command(identifier=identifier))
    with pytest.raises(RequestRefused) as refused:
        stage.resetter.reset(reset_command(identifier=identifier))
    assert refused.value.reason is Reason.INVALID_REQUEST


def test_a_replay_waits_and_gets_the_same_outcome(registry: OperationRegistry) -> None:
    """When an id is repeated while its operation runs, the outcome can be waited for; nothing is done twice."""
    deeds, command = Deeds(), restart_command()
    first = in_background(lambda: registry.run(command, deeds))
    wait_for(lambda: deeds.begun, "it")
    with pytest.raises(OperationUnderWay) as running:
        registry.run(command, deeds)
    with pytest.raises(TimeoutError):
        running.value.wait(0)
    waiting = [in_background(lambda: running.value.wait(30)) for _ in range(50)]
    deeds.finish.set()
    assert {one.result(30) for one in (first, *waiting)} == {"outcome 1"}
    assert registry.run(command, deeds) == "outcome 1"
    assert deeds.begun == 1


def test_a_failure_after_the_intent_is_remembered(registry: OperationRegistry) -> None:
    """What acted and failed is not tried again under its id."""
    deeds, command = Deeds(end=RequestRefused(Reason.RESTART_FAILED)), restart_command()
    deeds.finish.set()
    for _ in range(3):
        assert _reason(registry, command, deeds) is Reason.RESTART_FAILED
    assert deeds.begun == 1


def test_a_refusal_before_the_intent_is_forgotten(registry: OperationRegistry) -> None:
    """The same id may be asked again, and be another request."""
    deeds, command = Deeds(acts=False, end=RequestRefused(Reason.SERVER_NOT_RUNNING)), restart_command()
    deeds.finish.set()
    for _ in range(3):
        assert _reason(registry, command, deeds) is Reason.SERVER_NOT_RUNNING
    assert deeds.begun == 3


def test_what_ended_a_day_ago_is_forgotten(registry: OperationRegistry, clock: FakeClock) -> None:
    """At 24 hours it is remembered, a moment later it is not."""
    deeds, command = Deeds(), restart_command()
    deeds.finish.set()
    registry.run(command, deeds)
    clock.advance(REMEMBERED_SECONDS)
    assert registry.run(command, deeds) == "outcome 1"
    clock.advance(0.1)
    assert registry.run(command, deeds) == "outcome 2"


def test_a_bug_frees_the_lock_and_is_logged(
    registry: OperationRegistry, locks: UserLocks, caplog: pytest.LogCaptureFixture
) -> None:
    """An unforeseen exception reaches the caller (the service hides it) and the log, and nobody is locked out."""
    deeds = Deeds(end=RuntimeError("a bug"))
    deeds.finish.set()
    with pytest.raises(RuntimeError):
        registry.run(restart_command(), deeds)
    locks.check(ALICE)
    assert "failed unexpectedly" in caplog.text


def test_draining_waits_for_what_runs(registry: OperationRegistry) -> None:
    """True when all ended in time, and at once when nothing runs."""
    assert registry.drain(0)
    deeds = Deeds()
    running = in_background(lambda: registry.run(restart_command(), deeds))
    wait_for(lambda: deeds.begun, "it")
    assert not registry.drain(0)
    draining = in_background(lambda: registry.drain(60))
    deeds.finish.set()
    assert draining.result(30)
    assert running.result(30) == "outcome 1"


def test_without_an_id_nothing_runs(registry: OperationRegistry) -> None:
    """`validate_only` has no business here."""
    assert _reason(registry, restart_command(validate_only=True), Deeds()) is Reason.INVALID_REQUEST
