"""What a new start knows of the last: answers as they were, interrupted operations closed, and nothing done twice."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
from hubwarden_agent.audit import AuditEntry, AuditRecord
from hubwarden_agent.engine.port import Container, ContainerState, EngineError, EngineUnavailable, PublishedPort
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.names import VolumeName
from hubwarden_agent.operations import recovery, requests
from hubwarden_agent.operations.recovery import Recovery
from hubwarden_agent.operations.requests import (
    ResetRequest,
    RestartRequest,
    RestartResult,
    answer,
    fingerprint,
    from_answer,
)
from support.agent.core import CONTAINER, HOME, AgentStage, awaited, request_id, reset_command, restart_command
from support.fakes.edges import Line, MemoryAudit
from support.fakes.engine import home_of
from support.waiting.threads import in_background


def _history(audit: MemoryAudit, time: dt.datetime) -> list[AuditRecord]:
    """The lines as they come back from disk: through JSON, the newest first."""

    def past(line: Line) -> AuditRecord:
        reason = line.reason.value if line.reason else ""
        return AuditRecord(time, line.phase, line.entry, reason, json.loads(json.dumps(line.answer)))

    return [past(line) for line in reversed(audit.lines)]


LATER = 60 / 3600
"""Hours after which Docker is done with whatever the killed agent asked for."""


def _started_again(old: AgentStage, *, lines: int | None = None, hours: float = LATER) -> tuple[AgentStage, Recovery]:
    """An agent over the same engine that finds only the first `lines` of the audit, `hours` later."""
    new = AgentStage(engine=old.engine)
    new.audit.lines.extend(old.audit.lines[:lines])
    history = _history(new.audit, new.clock.now())
    new.clock.advance(hours * 3600)
    again = Recovery(new.engine, new.names, new.audit, new.registry, new.locks, new.clock)
    again.begin(history)
    again.close_done()
    return new, again


@pytest.fixture
def stage() -> AgentStage:
    """Alice's server runs, and bob's has a home that nobody holds."""
    stage = AgentStage()
    stage.engine.add_container(CONTAINER, exposed_ports=("8888/tcp",))
    stage.engine.add_volume("jupyterlab-bob_home")
    return stage


def _refused(stage: AgentStage, command: RestartRequest | ResetRequest) -> RequestRefused:
    with pytest.raises(RequestRefused) as refused:
        (stage.restarter.restart(command) if isinstance(command, RestartRequest) else stage.resetter.reset(command))
    return refused.value


class TestFinished:
    def test_a_restart_answers_as_it_did(self, stage: AgentStage) -> None:
        """The same answer, made of the audit alone; the engine is not asked to change anything."""
        command = restart_command()
        before = stage.restarter.restart(command)
        stage.engine.calls.clear()
        new, _ = _started_again(stage)
        assert new.restarter.restart(command) == before
        assert new.touched == []

    def test_a_reset_answers_as_it_did(self, stage: AgentStage) -> None:
        """Although by now there is a new home, which stays."""
        command = reset_command("bob")
        before = stage.resetter.reset(command)
        stage.engine.calls.clear()
        stage.engine.add_volume("jupyterlab-bob_home")
        new, _ = _started_again(stage)
        assert new.resetter.reset(command) == before
        assert (new.touched, VolumeName("jupyterlab-bob_home") in new.engine.volumes) == ([], True)

    def test_a_failure_stays_one(self, stage: AgentStage) -> None:
        """When a failed operation is repeated after a start, it fails with the same reason and object."""
        command = restart_command()
        stage.engine.fail_next["restart_container"] = EngineError("no")
        stage.engine.before["restart_container"] = stage.engine.containers.clear
        assert (_refused(stage, command)).reason is Reason.RESTART_FAILED
        new, _ = _started_again(stage)
        refusal = _refused(new, command)
        assert (refusal.reason, refusal.detail.container) == (Reason.RESTART_FAILED, CONTAINER)

    @pytest.mark.parametrize("other", [{"stop_timeout": 11}, {"server_name": "lab"}, {"username": "bob"}])
    def test_with_other_parameters(self, stage: AgentStage, other: dict[str, Any]) -> None:
        """When a known id comes with other parameters after a start, it is INVALID_REQUEST."""
        identifier = request_id()
        stage.restarter.restart(restart_command(identifier=identifier))
        new, _ = _started_again(stage)
        assert (_refused(new, restart_command(identifier=identifier, **other))).reason is Reason.INVALID_REQUEST

    def test_a_start_with_a_wrong_clock_hides_nothing(self, stage: AgentStage) -> None:
        """When the agent's start was recorded before the machine's clock was set, earlier answers are still known."""
        command = restart_command()
        before = stage.restarter.restart(command)
        new = AgentStage(engine=stage.engine)
        start = AuditRecord(
            dt.datetime(1970, 1, 1, tzinfo=dt.UTC), "event", AuditEntry("agent-start", "", "", "", "", "", "", "")
        )
        lines = _history(stage.audit, new.clock.now())
        history = [replace(lines[0], phase="denied"), start, *lines]
        Recovery(new.engine, new.names, new.audit, new.registry, new.locks, new.clock).begin(history)
        assert new.restarter.restart(command) == before

    def test_a_refusal_is_not_remembered(self, stage: AgentStage) -> None:
        """When a request was refused, its id may be used again."""
        command = reset_command("alice")
        assert (_refused(stage, command)).reason is Reason.VOLUME_NOT_FOUND
        stage.engine.add_volume(HOME)
        new, _ = _started_again(stage)
        assert (new.resetter.reset(command)).volume == HOME

    @pytest.mark.parametrize("changed", [{"reason": "OF_ANOTHER_VERSION"}, {"answer": {"shape": 9}}])
    def test_another_versions_answer(self, stage: AgentStage, changed: dict[str, Any]) -> None:
        """It cannot be given, and the agent starts; the id still never acts again."""
        command = restart_command()
        stage.restarter.restart(command)
        stage.engine.calls.clear()
        new = AgentStage()
        outcome, intent = _history(stage.audit, new.clock.now())
        again = Recovery(stage.engine, new.names, new.audit, new.registry, new.locks, new.clock)
        again.begin([replace(outcome, **changed), intent])
        assert (_refused(new, command)).reason is Reason.INTERRUPTED
        assert new.touched == []

    @pytest.mark.parametrize(("hours", "known"), [(23.9, True), (24.1, False)])
    def test_for_a_day(self, stage: AgentStage, hours: float, known: bool) -> None:  # noqa: FBT001 - a parameter
        """From the operation on, not from the start on."""
        command = restart_command()
        stage.restarter.restart(command)
        stage.engine.calls.clear()
        new, _ = _started_again(stage, hours=hours)
        new.restarter.restart(command)
        assert (new.touched == []) is known

    def test_a_clock_that_was_set_back_forgets_nothing(self, stage: AgentStage) -> None:
        """Lines of tomorrow are remembered, for a day from now on."""
        command = restart_command()
        stage.restarter.restart(command)
        stage.engine.calls.clear()
        new, _ = _started_again(stage, hours=-48)
        new.restarter.restart(command)
        assert new.touched == []


class TestInterrupted:
    @pytest.mark.parametrize(
        ("state", "says"),
        [
            (ContainerState.RUNNING, "The server runs."),
            (ContainerState.EXITED, "The server does not run."),
            (None, "The server does not run."),
        ],
    )
    def test_a_restart(self, stage: AgentStage, state: ContainerState | None, says: str) -> None:
        """Closed with the container's state, or that it is gone; answered so; not carried on."""
        command = restart_command()
        stage.restarter.restart(command)
        container = next(iter(stage.engine.containers.values()))
        stage.engine.calls.clear()
        if state:
            stage.engine.update(container, state=state)
        else:
            stage.engine.containers.clear()
        new, _ = _started_again(stage, lines=1)
        refusal = _refused(new, command)
        assert (refusal.reason, refusal.message.endswith(says)) == (Reason.INTERRUPTED, True)
        last = new.audit.lines[-1]
        assert (last.phase, last.reason) == ("outcome", Reason.INTERRUPTED)
        assert last.answer == {CONTAINER: state.value if state else "gone"}
        assert new.touched == []

    @pytest.mark.parametrize(
        ("home", "says"),
        [("present", "is still there."), ("gone", "is gone."), ("replaced", "is gone, and there is a new one.")],
    )
    def test_a_reset(self, home: str, says: str) -> None:
        """Closed with every object; another volume of the same name is told by its creation; not carried on."""
        old, command = AgentStage(), reset_command()
        volume = old.engine.add_volume(HOME)
        kept = old.engine.add_container(CONTAINER, ContainerState.EXITED, mounts=(home_of("alice"),))
        old.resetter.reset(command)
        old.engine.calls.clear()
        if home == "present":
            old.engine.volumes[volume.name] = volume
            old.engine.containers[kept.id] = kept
        elif home == "replaced":
            old.engine.add_volume(HOME)
        new, _ = _started_again(old, lines=1)
        refusal = _refused(new, command)
        assert (refusal.reason, refusal.message.endswith(says)) == (Reason.INTERRUPTED, True)
        assert refusal.detail.volume == HOME
        assert new.audit.lines[-1].answer == {HOME: home, CONTAINER: "exited" if home == "present" else "gone"}
        assert new.touched == []

    def test_the_next_start_finds_it_closed(self, stage: AgentStage) -> None:
        """It is closed once, and says the same a start later, whatever became of the server since."""
        command = restart_command()
        stage.restarter.restart(command)
        new, _ = _started_again(stage, lines=1)
        first = _refused(new, command)
        new.engine.containers.clear()
        newer, _ = _started_again(new)
        assert (_refused(newer, command)).message == first.message
        assert [line.phase for line in newer.audit.lines] == ["intent", "outcome"]

    def test_of_a_week_ago(self, stage: AgentStage) -> None:
        """An agent that was down for long still closes what it left; its id is forgotten."""
        stage.restarter.restart(restart_command())
        new, _ = _started_again(stage, lines=1, hours=7 * 24)
        assert new.audit.lines[-1].reason is Reason.INTERRUPTED

    def test_docker_is_away(self, stage: AgentStage) -> None:
        """When Docker does not answer, a repetition waits, and gets its answer once Docker is back."""
        command = restart_command()
        stage.restarter.restart(command)
        stage.engine.available = False
        new, again = _started_again(stage, lines=1)
        asking = in_background(lambda: awaited(lambda: new.restarter.restart(command)))
        assert not again.close_done()
        assert [line.phase for line in new.audit.lines] == ["intent"]
        assert new.registry.drain(0), "a repetition that only waits must not hold up a shutdown"
        assert not asking.done()
        stage.engine.available = True
        assert again.close_done()
        with pytest.raises(RequestRefused, match="INTERRUPTED"):
            asking.result(30)
        assert new.audit.lines[-1].answer == {CONTAINER: "running"}

    def test_docker_does_not_say(self, stage: AgentStage) -> None:
        """When Docker fails at the start, the open intent is closed without a response."""
        stage.restarter.restart(restart_command())
        stage.engine.fail_next["container"] = EngineError("no")
        new, _ = _started_again(stage, lines=1)
        assert new.audit.lines[-1].answer == {}

    @pytest.mark.parametrize(("username", "found"), [("alice", {CONTAINER: "running"}), ("", {})])
    def test_the_gateways(self, stage: AgentStage, username: str, found: dict[str, str]) -> None:
        """A create is closed by the container's name; the fetching of an image has nothing to look at."""
        entry = AuditEntry("create", username, "", "gateway", "", "an-id", CONTAINER, "")
        stage.audit.intent(entry)
        new, _ = _started_again(stage)
        assert new.audit.lines[-1].answer == found

    def test_the_removal_of_a_backup(self, stage: AgentStage) -> None:
        """Of which the engine knows nothing; the reset that it came after keeps its own answer."""
        command = reset_command("bob")
        before = stage.resetter.reset(command)
        stage.audit.intent(AuditEntry("prune", "bob", "", "unix", "user:bob", "an-id", "jupyterlab-bob_home", ""))
        new, _ = _started_again(stage)
        last = new.audit.lines[-1]
        assert (last.phase, last.entry.request_id, last.reason) == ("outcome", "an-id", Reason.INTERRUPTED)
        assert last.answer == {}
        assert new.resetter.reset(command) == before
        new.locks.check(command.username)


class TestDockerIsStillAtIt:
    """Docker goes on with a restart whose agent was killed: for half a second, a running server looks stopped."""

    @pytest.fixture
    def stopped(self, stage: AgentStage) -> Container:
        """Alice's server with her home, caught between stop and start."""
        stage.engine.add_volume(HOME)
        container = next(iter(stage.engine.containers.values()))
        changed: Container = stage.engine.update(container, state=ContainerState.EXITED, mounts=(home_of("alice"),))
        return changed

    def _cut_off(
        self, stage: AgentStage, stopped: Container, operation: str = "restart"
    ) -> tuple[AgentStage, Recovery]:
        entry = replace(requests.entry(restart_command(), CONTAINER), object_id=stopped.id.value, operation=operation)
        stage.audit.intent(entry)
        return _started_again(stage, hours=0)

    @pytest.mark.parametrize("operation", ["restart", "start"])
    @pytest.mark.parametrize("validate_only", [False, True])
    def test_nobody_resets_meanwhile(
        self, stage: AgentStage, stopped: Container, operation: str, *, validate_only: bool
    ) -> None:
        """OPERATION_IN_PROGRESS until the container was started, and then SERVER_RUNNING: the home stays."""
        new, again = self._cut_off(stage, stopped, operation)
        reset = reset_command(validate_only=validate_only)
        assert (_refused(new, reset)).reason is Reason.OPERATION_IN_PROGRESS
        assert [line.phase for line in new.audit.lines if line.phase != "denied"] == ["intent"]
        started = new.clock.now() + dt.timedelta(milliseconds=1)
        new.engine.update(stopped, state=ContainerState.RUNNING, started=started)
        assert again.close_done()
        assert new.audit.lines[-1].answer == {CONTAINER: "running"}
        assert (_refused(new, reset_command(validate_only=validate_only))).reason is Reason.SERVER_RUNNING
        assert new.touched == []

    def test_others_are_not_kept_waiting(self, stage: AgentStage, stopped: Container) -> None:
        """When one user's intent is being closed, another user's operation runs."""
        new, _ = self._cut_off(stage, stopped)
        assert (new.resetter.reset(reset_command("bob"))).volume == "jupyterlab-bob_home"

    def test_a_container_that_was_never_started(self, stage: AgentStage, stopped: Container) -> None:
        """Whether Docker was asked nobody knows: once it would have been done, the container's state is what counts."""
        new, again = self._cut_off(stage, stopped)
        new.clock.advance(10 + recovery.START_SECONDS - 1)
        assert (_refused(new, reset_command())).reason is Reason.OPERATION_IN_PROGRESS
        new.clock.advance(1)
        assert again.close_done()
        assert new.audit.lines[-1].answer == {CONTAINER: "exited"}
        assert (new.resetter.reset(reset_command())).removed_containers == (CONTAINER,)

    @pytest.mark.parametrize("error", [EngineError("no"), EngineUnavailable("no")])
    def test_docker_does_not_say(self, stage: AgentStage, stopped: Container, error: EngineError) -> None:
        """When Docker fails at the start, the user of an open intent is OPERATION_IN_PROGRESS."""
        stage.engine.fail_next["container"] = error
        new, again = self._cut_off(stage, stopped)
        assert not again.close_done()
        assert (_refused(new, reset_command())).reason is Reason.OPERATION_IN_PROGRESS

    def test_a_container_that_is_gone(self, stage: AgentStage, stopped: Container) -> None:
        """When the container of an interrupted restart is gone, the user's lock is released and a reset succeeds."""
        stage.engine.containers.clear()
        new, again = self._cut_off(stage, stopped)
        assert again.close_done()
        assert (new.resetter.reset(reset_command())).volume == HOME


def test_an_answer_comes_back_whole() -> None:
    """When a response went through the audit's JSON, every field is the same."""
    now = dt.datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=dt.UTC)
    for started in (now, None):
        result = RestartResult(
            "a", "b" * 64, started, {"bridge": "10.0.0.2"}, (PublishedPort(8888, "tcp", "::1", 30000),)
        )
        assert from_answer("restart", json.loads(json.dumps(answer(result)))) == result


def test_a_fingerprint_stands_for_everything_but_the_id() -> None:
    """Equal for the same request under any id, another for any other parameter or client."""
    assert fingerprint(restart_command()) == fingerprint(restart_command())
    different: list[RestartRequest | ResetRequest] = [
        restart_command(),
        restart_command(stop_timeout=3),
        restart_command("bob"),
        reset_command(),
    ]
    assert len({fingerprint(command) for command in different}) == 4
