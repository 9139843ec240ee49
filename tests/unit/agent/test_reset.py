"""What a reset is: what stops it before anything is removed, and that validating is free."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hubwarden_agent import ownership
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Container, ContainerState
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.names import ServerName, VolumeName
from hubwarden_agent.operations.requests import ResetRequest
from support.agent.core import ALICE, CONTAINER, HOME, SECRET, AgentStage, reset_command
from support.fakes.engine import home_of

VOLUME = VolumeName(HOME)


@pytest.fixture
def stage() -> AgentStage:
    """A user with a home."""
    stage = AgentStage()
    stage.engine.add_volume(HOME)
    return stage


def _holder(stage: AgentStage, name: str, state: ContainerState = ContainerState.EXITED, **fields: object) -> Container:
    holder: Container = stage.engine.add_container(name, state, mounts=(home_of("alice"),), **fields)
    return holder


def _refused(stage: AgentStage, command: ResetRequest) -> RequestRefused:
    with pytest.raises(RequestRefused) as refused:
        stage.resetter.reset(command)
    assert SECRET not in str(refused.value)
    return refused.value


class TestDenials:
    """Each leaves everything as it was."""

    @pytest.mark.parametrize("validate_only", [False, True])
    @pytest.mark.parametrize("own", ["by name", "by label", "foreign", "another's label"])
    @pytest.mark.parametrize("state", sorted(set(ContainerState) - {ContainerState.REMOVING}))
    def test_every_state_and_every_owner(
        self, stage: AgentStage, state: ContainerState, own: str, *, validate_only: bool
    ) -> None:
        """Own and stopped: removed with the volume. Own and running: SERVER_RUNNING. Not own: VOLUME_IN_USE."""
        labels = ownership.labels(ALICE, ServerName(""), stage.names)
        labels = {"by label": labels, "another's label": {**labels, "hubwarden.owner": "bob"}}.get(own, {})
        name = "backup-job" if own == "foreign" else CONTAINER
        _holder(stage, name, state, labels=labels)
        command = reset_command(validate_only=validate_only)
        mine = own.startswith("by ")
        if mine and state in {ContainerState.EXITED, ContainerState.DEAD, ContainerState.CREATED}:
            assert (stage.resetter.reset(command)).removed_containers == (CONTAINER,)
            assert (VOLUME in stage.engine.volumes) is validate_only
            return
        refusal = _refused(stage, command)
        assert refusal.reason is (Reason.SERVER_RUNNING if mine else Reason.VOLUME_IN_USE)
        assert refusal.detail.holders == (name,)
        assert stage.touched == []
        assert [phase for phase, _ in stage.audit.phases()] == ([] if validate_only else ["denied"])

    def test_no_volume(self) -> None:
        """When the user has no home volume, the refusal is VOLUME_NOT_FOUND and names it."""
        refusal = _refused(AgentStage(), reset_command())
        assert (refusal.reason, refusal.detail.volume) == (Reason.VOLUME_NOT_FOUND, HOME)

    def test_hub_and_agent_disagree(self, stage: AgentStage) -> None:
        """NAME_MISMATCH, without Docker being asked or the Hub's belief repeated."""
        refusal = _refused(stage, reset_command(expected_volume="jupyterlab-alice_workspace"))
        assert refusal.reason is Reason.NAME_MISMATCH
        assert "workspace" not in str(refusal.detail)
        assert stage.touched == []

    @pytest.mark.parametrize(
        "fields",
        [
            {"driver": "nfs"},
            {"scope": "global"},
            {"options": {"type": "none", "o": "bind", "device": "/srv/homes/alice"}},
            {"options": {"type": "nfs"}},
            {"options": {"device": "/dev/sdb1"}},
            {"options": {"O": "bind"}},
        ],
    )
    def test_a_volume_that_is_not_local(self, stage: AgentStage, fields: dict[str, object]) -> None:
        """Removing it would not erase what the user sees: VOLUME_NOT_LOCAL, unless the operator allows it."""
        stage.engine.add_volume(HOME, **fields)
        assert (_refused(stage, reset_command())).reason is Reason.VOLUME_NOT_LOCAL
        assert stage.touched == []
        allowed = AgentStage(policy=ResetPolicy(allow_non_local=True))
        allowed.engine.add_volume(HOME, **fields)
        allowed.resetter.reset(reset_command(validate_only=True))

    def test_policy_keeps_stopped_containers(self) -> None:
        """`stopped_container = "refuse"`: CONTAINER_KEPT with its name."""
        stage = AgentStage(policy=ResetPolicy(stopped_container="refuse"))
        stage.engine.add_volume(HOME)
        _holder(stage, CONTAINER)
        refusal = _refused(stage, reset_command())
        assert (refusal.reason, refusal.detail.holders) == (Reason.CONTAINER_KEPT, (CONTAINER,))
        assert stage.touched == []

    def test_a_spawn_that_is_under_way(self, stage: AgentStage) -> None:
        """A container created just now is about to be started: OPERATION_IN_PROGRESS."""
        _holder(stage, CONTAINER, ContainerState.CREATED, created=stage.clock.now())
        assert (_refused(stage, reset_command())).reason is Reason.OPERATION_IN_PROGRESS
        stage.clock.advance(61)
        stage.resetter.reset(reset_command())

    def test_no_intent_no_action(self, stage: AgentStage) -> None:
        """With an audit that cannot be written nothing is removed, and neither budget is spent."""
        _holder(stage, CONTAINER)
        stage.audit.broken = True
        assert (_refused(stage, reset_command())).reason is Reason.AUDIT_UNAVAILABLE
        assert stage.touched == []
        assert (stage.user_budget.remaining("alice"), stage.total_budget.remaining("")) == (3, 60)

    @pytest.mark.parametrize(
        ("limits", "reason"),
        [({"resets": "1/hour"}, Reason.RATE_LIMITED), ({"resets_total": "1/hour"}, Reason.RESET_BUDGET_SPENT)],
    )
    def test_either_budget(self, limits: dict[str, str], reason: Reason) -> None:
        """The user's budget or the agent's: refused with the time to wait, nothing removed, by validate_only too."""
        stage = AgentStage(**limits)  # type: ignore[arg-type] # names of text fields
        stage.engine.add_volume(HOME)
        stage.resetter.reset(reset_command())
        stage.engine.add_volume(HOME)
        for validate_only in (False, True):
            refusal = _refused(stage, reset_command(validate_only=validate_only))
            assert (refusal.reason, refusal.retry_after) == (reason, 3600)
        assert VOLUME in stage.engine.volumes

    def test_the_total_is_for_all_users(self) -> None:
        """A stolen Hub cannot wipe one home after the other."""
        stage = AgentStage(resets_total="2/hour")
        for user in ("alice", "bob", "carol"):
            stage.engine.add_volume(f"jupyterlab-{user}_home")
        stage.resetter.reset(reset_command("alice"))
        stage.resetter.reset(reset_command("bob"))
        assert (_refused(stage, reset_command("carol"))).reason is Reason.RESET_BUDGET_SPENT

    def test_refusals_and_validations_cost_nothing(self) -> None:
        """After a refusal, a validation and a replay what is left of the budget is what it was."""
        stage = AgentStage(resets="2/hour", resets_total="2/hour")
        _refused(stage, reset_command())
        command = reset_command()
        stage.engine.add_volume(HOME)
        stage.resetter.reset(reset_command(validate_only=True))
        for _ in range(3):
            stage.resetter.reset(command)
        stage.engine.add_volume(HOME)
        stage.resetter.reset(reset_command())


class TestValidateOnly:
    def test_it_changes_takes_spends_and_writes_nothing(self, stage: AgentStage) -> None:
        """When a reset is `validate_only`, the response names what would be removed, and nothing changes."""
        _holder(stage, CONTAINER)
        for _ in range(10):
            answer = stage.resetter.reset(reset_command(validate_only=True))
            assert (answer.volume, answer.removed_containers) == (HOME, (CONTAINER,))
        assert (stage.touched, stage.audit.lines) == ([], [])

    def test_it_reports_a_held_lock(self, stage: AgentStage) -> None:
        """When the user's lock is held, `validate_only` is OPERATION_IN_PROGRESS."""
        with stage.locks.hold(ALICE):
            refusal = _refused(stage, reset_command(validate_only=True))
        assert refusal.reason is Reason.OPERATION_IN_PROGRESS

    def test_it_does_not_wait_for_a_removal(self, stage: AgentStage) -> None:
        """An own container on its way out: OPERATION_IN_PROGRESS at once."""
        _holder(stage, CONTAINER, ContainerState.REMOVING)
        refusal = _refused(stage, reset_command(validate_only=True))
        assert refusal.reason is Reason.OPERATION_IN_PROGRESS


class TestHolders:
    """Which questions to Docker it takes to know whose the holders of a home are."""

    def test_labelled_holders_are_not_inspected(self, stage: AgentStage) -> None:
        """When labels say whose the holders are, the list is all that is asked for."""
        labels = ownership.labels(ALICE, ServerName(""), stage.names)
        _holder(stage, CONTAINER, labels=labels)
        stage.resetter.reset(reset_command(validate_only=True))
        assert stage.engine.questions == ["volume", "containers_holding"]

    def test_a_list_that_still_says_running(self, stage: AgentStage, monkeypatch: pytest.MonkeyPatch) -> None:
        """When Docker's list still says running and an inspect says exited, the server counts as stopped."""
        labels = ownership.labels(ALICE, ServerName(""), stage.names)
        holder = _holder(stage, CONTAINER, ContainerState.EXITED, labels=labels)
        late = replace(holder, state=ContainerState.RUNNING)
        monkeypatch.setattr(stage.engine, "containers_holding", lambda _: (late,))
        assert stage.resetter.reset(reset_command()).removed_containers == (CONTAINER,)

    def test_a_named_server_without_labels(self, stage: AgentStage) -> None:
        """When a container has no labels, its environment says that it is the user's named server."""
        name = f"{CONTAINER}--lab"
        _holder(stage, name, environment=("JUPYTERHUB_SERVER_NAME=lab",))
        answer = stage.resetter.reset(reset_command(validate_only=True))
        assert answer.removed_containers == (name,)

    def test_a_holder_that_goes_away_meanwhile(self, stage: AgentStage) -> None:
        """When a container is gone before it is inspected, it holds nothing."""
        gone = _holder(stage, "backup-job")
        stage.engine.before["container"] = lambda: stage.engine.containers.pop(gone.id)
        assert (stage.resetter.reset(reset_command(validate_only=True))).removed_containers == ()
