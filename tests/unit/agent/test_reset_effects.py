"""What a reset does: what is gone and what stays, whatever happens at the same time, and what is on the record."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Container, ContainerState, EngineError, EngineUnavailable, Volume
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.names import VolumeName
from hubwarden_agent.operations import reset as reset_module
from hubwarden_agent.operations.requests import ResetRequest
from hubwarden_agent.ownership import is_local
from support.agent.core import CONTAINER, HOME, SECRET, AgentStage, reset_command, restart_command
from support.fakes.engine import home_of
from support.waiting.conditions import wait_for
from support.waiting.threads import in_background

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


class TestReset:
    def test_only_own_stopped_containers_and_the_home_go(self, stage: AgentStage) -> None:
        """By id, containers first; workspace, cache and everything of others stay."""
        first = _holder(stage, CONTAINER)
        second = _holder(stage, "jupyterlab-alice--lab", environment=("JUPYTERHUB_SERVER_NAME=lab",))
        others = [
            stage.engine.add_volume(f"jupyterlab-{rest}") for rest in ("alice_workspace", "alice_cache", "bob_home")
        ]
        answer = stage.resetter.reset(reset_command())
        assert stage.touched == [
            ("remove_container", first.id.value),
            ("remove_container", second.id.value),
            ("remove_volume", HOME),
        ]
        assert list(stage.engine.volumes.values()) == others
        assert answer.removed_containers == (first.name, second.name)
        assert (answer.backup_id, answer.size_bytes, answer.completed_at) == ("", -1, stage.clock.now())

    def test_the_intent_names_everything(self, stage: AgentStage) -> None:
        """Written before the first removal: names and ids of volume and containers, then the outcome."""
        holder = _holder(stage, CONTAINER)
        seen: list[int] = []
        stage.engine.before["remove_container"] = lambda: seen.append(len(stage.audit.lines))
        stage.resetter.reset(reset_command())
        assert seen == [1]
        entry = stage.audit.lines[0].entry
        assert entry.object == f"{HOME} {CONTAINER}"
        assert entry.object_id.split(" ")[1] == holder.id.value
        assert stage.audit.phases() == [("intent", None), ("outcome", None)]

    def test_it_waits_for_a_removal(self, stage: AgentStage, monkeypatch: pytest.MonkeyPatch) -> None:
        """When an own container is being removed, the reset waits until it is gone."""
        leaving = _holder(stage, CONTAINER, ContainerState.REMOVING)
        monkeypatch.setattr(stage.clock, "sleep", lambda _: stage.engine.containers.pop(leaving.id))
        stage.resetter.reset(reset_command())
        assert stage.touched == [("remove_volume", HOME)]

    def test_it_does_not_wait_for_ever(self, stage: AgentStage) -> None:
        """When the removal hangs, the reset is refused with OPERATION_IN_PROGRESS once `REMOVING_PATIENCE` is over."""
        begun = stage.clock.monotonic()
        _holder(stage, CONTAINER, ContainerState.REMOVING)
        assert _refused(stage, reset_command()).reason is Reason.OPERATION_IN_PROGRESS
        assert stage.clock.monotonic() - begun >= reset_module.REMOVING_PATIENCE
        assert stage.touched == []

    @pytest.mark.parametrize(
        "fields",
        [{"labels": {"quota": "5g"}}, {"options": {"size": "5g"}}, {"labels": {"a": "b"}, "options": {"size": "1"}}],
    )
    def test_labels_and_options_come_back(self, stage: AgentStage, fields: dict[str, object]) -> None:
        """A volume that an operator gave something is created again with it; a plain one is not."""
        old = stage.engine.add_volume(HOME, **fields)
        stage.resetter.reset(reset_command())
        new = stage.engine.volumes[VOLUME]
        assert (new.labels, new.options) == (old.labels, old.options)
        assert new.created != old.created

    def test_the_driver_comes_back(self) -> None:
        """When a volume of another driver has neither labels nor options, it is created again with that driver."""
        stage = AgentStage(policy=ResetPolicy(allow_non_local=True))
        stage.engine.add_volume(HOME, driver="nfs")
        stage.resetter.reset(reset_command())
        assert stage.touched == [("remove_volume", HOME), ("create_volume", HOME)]
        assert stage.engine.volumes[VOLUME].driver == "nfs"

    def test_a_driver_that_is_gone(self) -> None:
        """When the driver cannot create the volume again, the reset fails, on the record."""
        stage = AgentStage(policy=ResetPolicy(allow_non_local=True))
        stage.engine.add_volume(HOME, driver="nfs")
        stage.engine.fail_next["create_volume"] = EngineError(SECRET)
        assert _refused(stage, reset_command()).reason is Reason.DOCKER_ERROR
        assert stage.audit.phases()[-1] == ("outcome", Reason.DOCKER_ERROR)


class TestRaces:
    def test_a_container_takes_the_volume(self, stage: AgentStage) -> None:
        """Somebody mounts the volume at the last moment: VOLUME_IN_USE, the volume is whole."""
        stage.engine.before["remove_volume"] = lambda: _holder(stage, "late")
        assert (_refused(stage, reset_command())).reason is Reason.VOLUME_IN_USE
        assert VOLUME in stage.engine.volumes
        assert stage.audit.phases()[-1] == ("outcome", Reason.VOLUME_IN_USE)

    def test_an_own_container_is_started(self, stage: AgentStage) -> None:
        """It runs when its removal is asked for: VOLUME_IN_USE, container and volume are whole."""
        holder = _holder(stage, CONTAINER)
        stage.engine.before["remove_container"] = lambda: stage.engine.update(holder, state=ContainerState.RUNNING)
        assert (_refused(stage, reset_command())).reason is Reason.VOLUME_IN_USE
        assert VOLUME in stage.engine.volumes
        assert holder.id in stage.engine.containers

    def test_an_own_container_is_gone_already(self, stage: AgentStage) -> None:
        """What somebody else removed need not be removed."""
        holder = _holder(stage, CONTAINER)
        stage.engine.before["remove_container"] = lambda: stage.engine.containers.pop(holder.id)
        stage.resetter.reset(reset_command())
        assert VOLUME not in stage.engine.volumes

    def test_the_volume_is_another_one_now(self, stage: AgentStage) -> None:
        """Same name, another time of creation: it is not what was looked at, and it is left alone."""
        _holder(stage, CONTAINER)
        stage.engine.before["remove_container"] = lambda: stage.engine.add_volume(HOME)
        assert (_refused(stage, reset_command())).reason is Reason.VOLUME_NOT_FOUND
        assert VOLUME in stage.engine.volumes

    @pytest.mark.parametrize("error", [EngineUnavailable(SECRET), EngineError(SECRET)])
    def test_docker_fails_but_the_volume_is_gone(self, stage: AgentStage, error: EngineError) -> None:
        """Docker's answer was lost (a big home takes longer than the timeout): what is there decides."""
        stage.engine.fail_next["remove_volume"] = error
        stage.engine.before["remove_volume"] = lambda: stage.engine.volumes.pop(VOLUME)
        assert (stage.resetter.reset(reset_command())).volume == HOME
        assert stage.audit.phases()[-1] == ("outcome", None)

    @pytest.mark.parametrize(
        ("error", "reason"),
        [(EngineUnavailable(SECRET), Reason.DOCKER_UNAVAILABLE), (EngineError(SECRET), Reason.DOCKER_ERROR)],
    )
    def test_docker_fails_and_the_volume_stays(self, stage: AgentStage, error: EngineError, reason: Reason) -> None:
        """The failure is reported, on the record, and nothing else is removed."""
        stage.engine.fail_next["remove_volume"] = error
        assert (_refused(stage, reset_command())).reason is reason
        assert VOLUME in stage.engine.volumes
        assert stage.audit.phases()[-1] == ("outcome", reason)

    def test_a_recreated_volume_that_differs_is_reported(self, stage: AgentStage) -> None:
        """Docker answers silently with a volume that somebody made meanwhile: DOCKER_ERROR, not a false success."""
        stage.engine.add_volume(HOME, labels={"quota": "5g"})
        stage.engine.before["create_volume"] = lambda: stage.engine.add_volume(HOME)
        assert (_refused(stage, reset_command())).reason is Reason.DOCKER_ERROR


class TestRestartAgainstReset:
    """One lock: the race that destroyed a running server's home cannot happen."""

    def test_a_reset_during_a_restart(self, stage: AgentStage) -> None:
        """The moment in which a restart's container is stopped is not for a reset to see."""
        container = _holder(stage, CONTAINER, ContainerState.RUNNING)
        released = stage.engine.hold["restart_container"] = threading.Event()
        restarting = in_background(lambda: stage.restarter.restart(restart_command()))
        wait_for(lambda: stage.touched, "it")
        stage.engine.update(container, state=ContainerState.EXITED)
        assert (_refused(stage, reset_command())).reason is Reason.OPERATION_IN_PROGRESS
        released.set()
        restarting.result(30)
        assert VOLUME in stage.engine.volumes
        assert stage.engine.containers[container.id].state is ContainerState.RUNNING

    def test_a_restart_during_a_reset(self, stage: AgentStage) -> None:
        """And the other way round, for every server of the user; another user is free."""
        stage.engine.add_container("jupyterlab-bob")
        released = stage.engine.hold["remove_volume"] = threading.Event()
        resetting = in_background(lambda: stage.resetter.reset(reset_command()))
        wait_for(lambda: stage.touched, "it")
        for server in ("", "lab"):
            with pytest.raises(RequestRefused) as refused:
                stage.restarter.restart(restart_command(server_name=server))
            assert refused.value.reason is Reason.OPERATION_IN_PROGRESS
        stage.restarter.restart(restart_command("bob"))
        released.set()
        resetting.result(30)


@pytest.mark.parametrize("changed", ["driver", "scope", "options"])
def test_only_a_plain_local_volume_is_local(changed: str) -> None:
    """Each of driver, scope and options is looked at; a size is still plain."""
    plain = Volume(VOLUME, "local", "local", "", options={"size": "1g"})
    assert is_local(plain)
    values: dict[str, object] = {"driver": "x", "scope": "global", "options": {"size": "1g", "device": "/"}}
    odd = dataclasses.replace(plain, **{changed: values[changed]})  # type: ignore[arg-type] # one of the three
    assert not is_local(odd)
