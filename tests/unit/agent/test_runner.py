"""Operations run one at a time for a user, once for a request id, and to the end whatever becomes of the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hubwarden_agent import log_context
from hubwarden_agent.errors import Reason, Refusal
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.operations.commands import Restart
from hubwarden_agent.operations.runner import REMEMBERED_SECONDS, Run, Runner
from support.agent.core import ALICE, CONTAINER, HOME, AgentStage, request_id, reset_command, restart_command
from support.fakes.edges import FakeClock
from support.waiting.conditions import until

Work = Callable[[Run], Awaitable[str]]


class Deeds:
    """Work that is counted, and ends when a test says so."""

    def __init__(self, *, acts: bool = True, end: Exception | None = None) -> None:
        self.begun = 0
        self.ended = 0
        self.finish = asyncio.Event()
        self._acts = acts
        self._end = end

    async def __call__(self, run: Run) -> str:
        """The work."""
        self.begun += 1
        run.acted = self._acts
        await self.finish.wait()
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
def runner(locks: UserLocks, clock: FakeClock) -> Runner:
    """Two at a time."""
    return Runner(locks, clock, max_concurrent=2)


async def _reason(runner: Runner, command: Restart, work: Work) -> Reason:
    with pytest.raises(Refusal) as refused:
        await runner.run(command, work)
    return refused.value.reason


async def test_another_operation_of_the_same_user_is_refused(runner: Runner) -> None:
    """With an id of its own it gets OPERATION_IN_PROGRESS at once, and is not remembered: later it may run."""
    first, second, command = Deeds(), Deeds(), restart_command()
    running = asyncio.create_task(runner.run(restart_command(), first))
    await until(lambda: first.begun)
    assert await _reason(runner, command, second) is Reason.OPERATION_IN_PROGRESS
    first.finish.set()
    second.finish.set()
    await running
    assert await runner.run(command, second) == "outcome 1"


async def test_too_many_at_once(runner: Runner) -> None:
    """One more than `max_concurrent` is TOO_BUSY with a time to wait; a replay is never too many."""
    deeds = Deeds()
    commands = [restart_command("alice"), restart_command("bob")]
    running = [asyncio.create_task(runner.run(command, deeds)) for command in commands]
    await until(lambda: deeds.begun == 2)
    with pytest.raises(Refusal) as refused:
        await runner.run(restart_command("carol"), deeds)
    assert (refused.value.reason, bool(refused.value.retry_after)) == (Reason.TOO_BUSY, True)
    running.append(asyncio.create_task(runner.run(commands[0], deeds)))
    deeds.finish.set()
    await asyncio.gather(*running)
    assert await runner.run(restart_command("carol"), deeds)


@pytest.mark.parametrize(
    "other",
    [
        {"username": "bob"},
        {"server_name": "lab"},
        {"stop_timeout": 11},
        {"expected_container": CONTAINER},
    ],
)
async def test_one_id_never_stands_for_two_requests(runner: Runner, other: dict[str, object]) -> None:
    """The same id with any other parameter is INVALID_REQUEST, while it runs and afterwards."""
    identifier, deeds = request_id(), Deeds()
    running = asyncio.create_task(runner.run(restart_command(identifier=identifier), deeds))
    await until(lambda: deeds.begun)
    changed = restart_command(identifier=identifier, **other)  # type: ignore[arg-type] # one parameter
    assert await _reason(runner, changed, deeds) is Reason.INVALID_REQUEST
    deeds.finish.set()
    await running
    assert await _reason(runner, changed, deeds) is Reason.INVALID_REQUEST
    assert deeds.begun == 1


async def test_a_restarts_id_is_no_resets() -> None:
    """When a restart's id is used for a reset of the same user, it is INVALID_REQUEST."""
    stage, identifier = AgentStage(), request_id()
    stage.engine.add_container(CONTAINER)
    stage.engine.add_volume(HOME)
    await stage.restarter.restart(restart_command(identifier=identifier))
    with pytest.raises(Refusal) as refused:
        await stage.resetter.reset(reset_command(identifier=identifier))
    assert refused.value.reason is Reason.INVALID_REQUEST


async def test_a_replay_waits_and_gets_the_same_outcome(runner: Runner) -> None:
    """While it runs: the same task. Afterwards: the same answer. Never a second deed."""
    deeds, command = Deeds(), restart_command()
    calls = [asyncio.create_task(runner.run(command, deeds)) for _ in range(200)]
    await until(lambda: deeds.begun)
    assert not any(call.done() for call in calls)
    deeds.finish.set()
    assert set(await asyncio.gather(*calls)) == {"outcome 1"}
    assert await runner.run(command, deeds) == "outcome 1"
    assert deeds.begun == 1


async def test_a_failure_after_the_intent_is_remembered(runner: Runner) -> None:
    """What acted and failed is not tried again under its id."""
    deeds, command = Deeds(end=Refusal(Reason.RESTART_FAILED)), restart_command()
    deeds.finish.set()
    for _ in range(3):
        assert await _reason(runner, command, deeds) is Reason.RESTART_FAILED
    assert deeds.begun == 1


async def test_a_refusal_before_the_intent_is_forgotten(runner: Runner) -> None:
    """The same id may be asked again, and be another request."""
    deeds, command = Deeds(acts=False, end=Refusal(Reason.SERVER_NOT_RUNNING)), restart_command()
    deeds.finish.set()
    for _ in range(3):
        assert await _reason(runner, command, deeds) is Reason.SERVER_NOT_RUNNING
    assert deeds.begun == 3


async def test_what_ended_a_day_ago_is_forgotten(runner: Runner, clock: FakeClock) -> None:
    """At 24 hours it is remembered, a moment later it is not."""
    deeds, command = Deeds(), restart_command()
    deeds.finish.set()
    await runner.run(command, deeds)
    clock.advance(REMEMBERED_SECONDS)
    assert await runner.run(command, deeds) == "outcome 1"
    clock.advance(0.1)
    assert await runner.run(command, deeds) == "outcome 2"


async def test_a_client_that_goes_away_changes_nothing(runner: Runner, locks: UserLocks) -> None:
    """The operation runs on under its lock, ends, and tells whoever asks again."""
    deeds, command = Deeds(), restart_command()
    client = asyncio.create_task(runner.run(command, deeds))
    await until(lambda: deeds.begun)
    client.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client
    with pytest.raises(Refusal):
        locks.check(ALICE)
    deeds.finish.set()
    assert await runner.run(command, deeds) == "outcome 1"
    locks.check(ALICE)


async def test_one_client_of_two_goes_away(runner: Runner) -> None:
    """When one of two clients with the same id goes away, the other gets the outcome."""
    deeds, command = Deeds(), restart_command()
    leaving, staying = (asyncio.create_task(runner.run(command, deeds)) for _ in range(2))
    await until(lambda: deeds.begun)
    leaving.cancel()
    deeds.finish.set()
    assert await staying == "outcome 1"


async def test_a_bug_frees_the_lock_and_is_logged(
    runner: Runner, locks: UserLocks, caplog: pytest.LogCaptureFixture
) -> None:
    """An unforeseen exception reaches the caller (the service hides it) and the log, and nobody is locked out."""
    deeds = Deeds(end=RuntimeError("a bug"))
    deeds.finish.set()
    with pytest.raises(RuntimeError):
        await runner.run(restart_command(), deeds)
    locks.check(ALICE)
    assert "failed unforeseen" in caplog.text


async def test_draining_waits_for_what_runs(runner: Runner) -> None:
    """True when all ended in time, and at once when nothing runs."""
    assert await runner.drain(0)
    deeds = Deeds()
    running = asyncio.create_task(runner.run(restart_command(), deeds))
    await until(lambda: deeds.begun)
    assert not await runner.drain(0)
    draining = asyncio.create_task(runner.drain(60))
    deeds.finish.set()
    assert await draining
    assert running.done() or await running


async def test_an_operation_logs_under_its_own_id(runner: Runner) -> None:
    """Whoever began it, and whatever they log under."""
    command = restart_command()
    seen: list[str] = []

    async def work(run: Run) -> str:
        seen.append(log_context.request_id.get())
        return str(run.acted)

    await runner.run(command, work)
    assert seen == [str(command.request_id)]


async def test_without_an_id_nothing_runs(runner: Runner) -> None:
    """When a command has no id, the runner refuses it."""
    assert await _reason(runner, restart_command(validate_only=True), Deeds()) is Reason.INVALID_REQUEST
