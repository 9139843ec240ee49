"""What a restart is: what stops it before anything is asked of Docker, and what is true once it was done."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from hubwarden_agent import ownership
from hubwarden_agent.engine.port import Container, ContainerState, EngineError, EngineUnavailable, NotFound
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.names import ServerName, Templates, Username
from hubwarden_agent.operations.requests import RestartRequest, RestartResult
from support.agent.core import ALICE, CONTAINER, SECRET, AgentStage, restart_command
from support.waiting.conditions import wait_for
from support.waiting.threads import in_background

RUNNING = {ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING}


@pytest.fixture
def stage() -> AgentStage:
    """No containers yet."""
    return AgentStage()


def _refused(stage: AgentStage, command: RestartRequest) -> RequestRefused:
    with pytest.raises(RequestRefused) as refused:
        stage.restarter.restart(command)
    assert SECRET not in str(refused.value)
    return refused.value


class TestDenials:
    """Each leaves everything as it was."""

    @pytest.mark.parametrize("validate_only", [False, True])
    @pytest.mark.parametrize(
        "labelled", ["no", "own", "another user", "another server", "another agent", "broken", "swarm"]
    )
    @pytest.mark.parametrize("state", ContainerState)
    def test_every_state_and_every_owner(
        self, stage: AgentStage, state: ContainerState, labelled: str, *, validate_only: bool
    ) -> None:
        """Own (by label, or unlabelled by name) and running, paused or restarting: allowed. All else is refused."""
        own = ownership.labels(ALICE, ServerName(""), stage.names)
        labels = {
            "no": {},
            "own": own,
            "another user": {**own, "hubwarden.owner": "bob"},
            "another server": {**own, "hubwarden.server": "lab"},
            "another agent": {**own, "hubwarden.agent": "other-{username}"},
            "broken": {"hubwarden.owner": "alice"},
            "swarm": {**own, "com.docker.swarm.task.id": "q9v1mb5k2h0c"},
        }[labelled]
        stage.engine.add_container(CONTAINER, state, labels=labels)
        command = restart_command(validate_only=validate_only)
        if labelled in {"no", "own"} and state in RUNNING:
            stage.restarter.restart(command)
            assert bool(stage.touched) is not validate_only
            return
        expected = {
            "no": Reason.SERVER_NOT_RUNNING,
            "own": Reason.SERVER_NOT_RUNNING,
            "swarm": Reason.MANAGED_ELSEWHERE,
        }.get(labelled, Reason.NOT_OWNED)
        assert (_refused(stage, command)).reason is expected
        assert stage.touched == []
        assert [phase for phase, _ in stage.audit.phases()] == ([] if validate_only else ["denied"])

    @pytest.mark.parametrize("labelled", [False, True])
    @pytest.mark.parametrize("validate_only", [False, True])
    def test_mounts_outside_the_policy(self, stage: AgentStage, *, labelled: bool, validate_only: bool) -> None:
        """When the policy's check refuses a container's mounts, it is not restarted, labelled or not."""

        def check(username: Username, container: Container) -> None:
            raise RequestRefused(Reason.NAME_MISMATCH, f"{username.value} {container.name}")

        stage.engine.add_container(
            CONTAINER, labels=ownership.labels(ALICE, ServerName(""), stage.names) if labelled else {}
        )
        with pytest.raises(RequestRefused, match=f"alice {CONTAINER}") as refused:
            dataclasses.replace(stage.restarter, check_mounts=check).restart(
                restart_command(validate_only=validate_only)
            )
        assert refused.value.reason is Reason.NAME_MISMATCH
        assert stage.touched == []

    def test_a_missing_container(self, stage: AgentStage) -> None:
        """CONTAINER_NOT_FOUND, with the name that was looked for."""
        refusal = _refused(stage, restart_command())
        assert (refusal.reason, refusal.detail.container) == (Reason.CONTAINER_NOT_FOUND, CONTAINER)

    def test_hub_and_agent_disagree(self, stage: AgentStage) -> None:
        """NAME_MISMATCH before Docker is asked anything; the answer does not repeat what the Hub believed."""
        stage.engine.add_container(CONTAINER)
        stage.engine.available = False
        refusal = _refused(stage, restart_command(expected_container="jupyterlab-bob"))
        assert refusal.reason is Reason.NAME_MISMATCH
        assert "bob" not in str(refusal) + str(refusal.detail)

    def test_named_servers_can_be_off(self) -> None:
        """Without a template for named servers there is no container to name."""
        stage = AgentStage(templates=Templates(named_container=""))
        assert (_refused(stage, restart_command(server_name="lab"))).reason is Reason.INVALID_REQUEST

    def test_docker_is_away(self, stage: AgentStage) -> None:
        """DOCKER_UNAVAILABLE, Docker's words only as the cause."""
        stage.engine.available = False
        refusal = _refused(stage, restart_command())
        assert refusal.reason is Reason.DOCKER_UNAVAILABLE
        assert SECRET in str(refusal.__cause__)

    def test_no_intent_no_action(self, stage: AgentStage) -> None:
        """With an audit that cannot be written nothing is asked of Docker, and nothing is spent."""
        stage.engine.add_container(CONTAINER)
        stage.audit.broken = True
        assert (_refused(stage, restart_command())).reason is Reason.AUDIT_UNAVAILABLE
        assert stage.touched == []
        assert stage.restart_budget.remaining("alice") == 6

    def test_the_budget(self) -> None:
        """Spent: RATE_LIMITED with the seconds to wait, per user, and not for others."""
        stage = AgentStage(restarts="1/minute")
        stage.engine.add_container(CONTAINER)
        stage.engine.add_container("jupyterlab-bob")
        stage.restarter.restart(restart_command())
        refusal = _refused(stage, restart_command())
        assert (refusal.reason, refusal.retry_after) == (Reason.RATE_LIMITED, 60)
        stage.restarter.restart(restart_command("bob"))
        stage.clock.advance(60)
        stage.restarter.restart(restart_command())

    def test_refusals_and_validations_cost_nothing(self) -> None:
        """After a refusal, a validation and a replay the one restart of the budget is still there."""
        stage = AgentStage(restarts="2/minute")
        _refused(stage, restart_command())
        container = stage.engine.add_container(CONTAINER, ContainerState.EXITED)
        _refused(stage, restart_command())
        stage.engine.update(container, state=ContainerState.RUNNING)
        stage.restarter.restart(restart_command(validate_only=True))
        command = restart_command()
        for _ in range(3):
            stage.restarter.restart(command)
        stage.restarter.restart(restart_command())
        assert (_refused(stage, restart_command())).reason is Reason.RATE_LIMITED


class TestValidateOnly:
    def test_it_changes_takes_spends_and_writes_nothing(self) -> None:
        """The answer shows what is there now; any number of times."""
        stage = AgentStage(restarts="1/hour")
        container = stage.engine.add_container(CONTAINER, addresses={"bridge": "10.0.0.9"})
        for _ in range(3):
            answer = stage.restarter.restart(restart_command(validate_only=True))
            assert answer == RestartResult.of(container)
        assert (stage.touched, stage.audit.lines) == ([], [])
        stage.restarter.restart(restart_command())

    def test_it_reports_a_held_lock_and_a_spent_budget(self) -> None:
        """When the lock is held or the budget is spent, `validate_only` fails as the real call would."""
        stage = AgentStage(restarts="1/hour")
        stage.engine.add_container(CONTAINER)
        validate = restart_command(validate_only=True)
        with stage.locks.hold(ALICE):
            assert (_refused(stage, validate)).reason is Reason.OPERATION_IN_PROGRESS
        stage.restarter.restart(restart_command())
        assert (_refused(stage, validate)).reason is Reason.RATE_LIMITED


class TestRestart:
    def test_by_id_on_the_record(self, stage: AgentStage) -> None:
        """One call, on the id; the intent names container and id, and the outcome follows."""
        before = stage.engine.add_container(CONTAINER)
        after = stage.restarter.restart(restart_command())
        assert stage.touched == [("restart_container", before.id.value)]
        assert stage.audit.phases() == [("intent", None), ("outcome", None)]
        entry = stage.audit.lines[0].entry
        assert (entry.object, entry.object_id) == (CONTAINER, before.id.value)
        assert after.container_id == before.id.value
        assert after.started_at != before.started
        assert after.addresses != before.addresses

    def test_the_intent_comes_before_the_call(self, stage: AgentStage) -> None:
        """At the moment Docker is asked the intent is written and no outcome is."""
        stage.engine.add_container(CONTAINER)
        seen: list[list[tuple[str, Reason | None]]] = []
        stage.engine.before["restart_container"] = lambda: seen.append(stage.audit.phases())
        stage.restarter.restart(restart_command())
        assert seen == [[("intent", None)]]

    def test_a_container_that_takes_over_the_name_is_not_touched(self, stage: AgentStage) -> None:
        """From the inspection on the id counts: what has the name now stays alone."""
        before = stage.engine.add_container(CONTAINER)
        impostor = dataclasses.replace(before, id=stage.engine.add_container("other").id)

        def swap() -> None:
            del stage.engine.containers[before.id]
            stage.engine.containers[impostor.id] = impostor

        stage.engine.before["restart_container"] = swap
        assert (_refused(stage, restart_command())).reason is Reason.RESTART_FAILED
        assert stage.engine.containers[impostor.id] == impostor

    def test_named_servers_are_apart(self, stage: AgentStage) -> None:
        """A server's name, lower-cased and escaped, picks its own container."""
        stage.engine.add_container(CONTAINER)
        lab = stage.engine.add_container("jupyterlab-alice--my-20lab")
        stage.restarter.restart(restart_command(server_name="My Lab"))
        assert stage.touched == [("restart_container", lab.id.value)]


class TestWhatDockerMayDo:
    """The verdict is about what is there afterwards, not about what Docker answered."""

    def test_gone(self, stage: AgentStage) -> None:
        """An AutoRemove container whose start fails is deleted: RESTART_FAILED, on the record."""
        container = stage.engine.add_container(CONTAINER, auto_remove=True)
        stage.engine.before["restart_container"] = lambda: stage.engine.containers.pop(container.id)
        refusal = _refused(stage, restart_command())
        assert (refusal.reason, refusal.detail.container) == (Reason.RESTART_FAILED, CONTAINER)
        assert stage.audit.phases()[-1] == ("outcome", Reason.RESTART_FAILED)

    @pytest.mark.parametrize("state", sorted(set(ContainerState) - {ContainerState.RUNNING}))
    def test_not_running(self, stage: AgentStage, state: ContainerState) -> None:
        """Anything but running afterwards is RESTART_FAILED."""
        container = stage.engine.add_container(CONTAINER)
        stage.engine.fail_next["restart_container"] = EngineError(SECRET)
        stage.engine.before["restart_container"] = lambda: stage.engine.update(container, state=state)
        assert (_refused(stage, restart_command())).reason is Reason.RESTART_FAILED

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (EngineUnavailable(SECRET), Reason.DOCKER_UNAVAILABLE),
            (EngineError(SECRET), Reason.DOCKER_ERROR),
            (NotFound(SECRET), Reason.DOCKER_ERROR),
        ],
    )
    def test_runs_on_as_before(self, stage: AgentStage, error: EngineError, reason: Reason) -> None:
        """It never stopped: a failure that says so, and not RESTART_FAILED."""
        stage.engine.add_container(CONTAINER)
        stage.engine.fail_next["restart_container"] = error
        refusal = _refused(stage, restart_command())
        assert (refusal.reason, refusal.__cause__) == (reason, error)

    def test_an_error_after_all_went_well(self, stage: AgentStage) -> None:
        """Docker's answer was lost but the container was started anew: success."""
        container = stage.engine.add_container(CONTAINER)
        stage.engine.fail_next["restart_container"] = EngineUnavailable(SECRET)
        later = stage.clock.now()
        stage.engine.before["restart_container"] = lambda: stage.engine.update(container, started=later)
        assert (stage.restarter.restart(restart_command())).started_at == later


def test_an_inspect_is_not_held_up(stage: AgentStage) -> None:
    """While one user's restart hangs, another's goes through and is done first."""
    stage.engine.add_container(CONTAINER)
    bob = stage.engine.add_container("jupyterlab-bob")
    released = stage.engine.hold["restart_container"] = threading.Event()
    slow = in_background(lambda: stage.restarter.restart(restart_command()))
    wait_for(lambda: stage.touched, "it")
    assert (stage.restarter.restart(restart_command("bob", validate_only=True))) == RestartResult.of(bob)
    assert not slow.done()
    released.set()
    slow.result(30)


def test_commands_hold_values_only() -> None:
    """A command cannot be changed after it was parsed."""
    command = restart_command()
    with pytest.raises(dataclasses.FrozenInstanceError):
        command.username = Username("bob")  # type: ignore[misc] # that is the point
