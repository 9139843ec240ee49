"""Changes to the Hub's own containers: Docker is asked first whose they are, under the user's lock and rate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hubwarden_agent.engine.port import Conflict, ContainerState
from hubwarden_agent.errors import Reason
from hubwarden_agent.names import Username
from support.agent.gateway import GatewayStage, spawner_body
from support.fakes.engine import FakeEngine


@pytest.fixture
async def made(stage: GatewayStage, fake: FakeEngine) -> str:
    """The id of alice's container, made through the gateway."""
    identifier = str((await stage.create(spawner_body())).json["Id"])
    fake.questions.clear()
    stage.audit.lines.clear()
    return identifier


async def change(stage: GatewayStage, how: str, reference: str) -> int:
    """Start, stop or remove; the status."""
    method, end = ("DELETE", "?v=True") if how == "remove" else ("POST", f"/{how}")
    return (await stage.request(method, f"/v1.44/containers/{reference}{end}")).status


async def test_a_renamed_container_is_nobodys(stage: GatewayStage, fake: FakeEngine) -> None:
    """When a container's name stops agreeing with its labels, it does not exist for the Hub."""
    labels = {"hubwarden.owner": "bob", "hubwarden.server": "", "hubwarden.agent": "jupyterlab-{username}"}
    container = fake.add_container("jupyterlab-bob", labels=labels)
    assert await change(stage, "stop", container.id.value) == 204
    fake.update(container, name="renamed")
    assert await change(stage, "stop", container.id.value) == 404


async def test_it_is_changed_under_its_users_lock_and_rate(stage: GatewayStage, fake: FakeEngine, made: str) -> None:
    """When a container is changed while its user's lock is held, or too often, it is refused."""
    with stage.locks.hold(Username("alice")):
        assert await change(stage, "stop", made) == 409
    assert [await change(stage, "start", made) for _ in range(31)] == [204] * 30 + [429]
    assert fake.questions.count("start_container") == 30


async def test_its_volumes_are_checked_before_every_start(stage: GatewayStage, fake: FakeEngine, made: str) -> None:
    """When a volume was replaced between the check before the create and the create, the start is refused."""
    (volume,) = fake.volumes.values()
    fake.volumes[volume.name] = replace(volume, options={"device": "/", "o": "bind", "type": "none"})
    assert await change(stage, "start", made) == 400
    assert ("start_container", made) not in fake.calls
    assert stage.audit.phases() == [("intent", None), ("outcome", Reason.VOLUME_NOT_LOCAL)]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (ContainerState.RUNNING, "stop the container before removing it"),
        (ContainerState.REMOVING, "is already in progress"),
        (None, "is already in progress"),
    ],
)
async def test_why_it_cannot_be_removed_is_looked_up(
    stage: GatewayStage, fake: FakeEngine, made: str, state: ContainerState | None, message: str
) -> None:
    """When Docker refuses a removal, the answer is about the state that the container has by then."""
    (container,) = fake.containers.values()

    def happening() -> None:
        if state is None:
            fake.containers.clear()
        else:
            fake.update(container, state=state)

    fake.before["remove_container"] = happening
    fake.fail_next["remove_container"] = Conflict("SECRET")
    reply = await stage.request("DELETE", f"/v1.44/containers/{made}?v=True")
    assert reply.status == 409
    assert message in reply.message
    assert fake.questions == ["container", "remove_container", "container"]
