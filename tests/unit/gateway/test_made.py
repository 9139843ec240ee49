"""What the gateway made it need not ask for: Docker cannot change whose a container is, nor what it mounts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hubwarden_agent.engine.port import Conflict, ContainerState
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.made import Made, Owned
from hubwarden_agent.names import ContainerId, ServerName, Username
from support.agent.gateway import POLICY, GatewayStage, gateway, spawner_body
from support.fakes.engine import FakeEngine
from support.waiting.threads import at_once


def owned(number: int) -> Owned:
    """Alice's container of this number."""
    return Owned(ContainerId(f"{number:064x}"), f"jupyterlab-alice-{number}", Username("alice"), ServerName(""), ())


class TestMemory:
    def test_only_a_whole_id_is_known(self) -> None:
        """A name can be given to another container, and the beginning of an id may be another's."""
        made, container = Made(2), owned(1)
        made.note(container)
        assert made.get(container.id.value) is container
        assert made.get(container.name) is None
        assert made.get(container.id.value[:12]) is None

    def test_the_oldest_goes_first(self) -> None:
        """There are never more than there may be containers."""
        made, containers = Made(2), [owned(number) for number in range(3)]
        for container in containers:
            made.note(container)
        assert [made.get(container.id.value) for container in containers] == [None, *containers[1:]]

    def test_what_is_gone_is_forgotten(self) -> None:
        """When a container is gone, it is forgotten; forgetting it twice is no error."""
        made, container = Made(2), owned(1)
        made.note(container)
        for _ in range(2):
            made.forget(container.id)
        assert made.get(container.id.value) is None

    def test_threads_note_and_forget_at_once(self) -> None:
        """There are never more than there may be, and none is lost that was noted last."""
        made, numbers = Made(3), itertools.count()

        def attempt() -> None:
            for _ in range(500):
                container = owned(next(numbers))
                made.note(container)
                made.get(container.id.value)
                made.forget(container.id)
                made.note(container)

        assert at_once(8, attempt) == [None] * 8
        assert len(made._containers) == 3  # noqa: SLF001 - what is kept in memory shows nowhere else


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


async def test_what_was_made_here_is_changed_without_a_question(
    stage: GatewayStage, fake: FakeEngine, made: str
) -> None:
    """By its id nothing is asked but what its volumes are; the record says whose it is as ever."""
    for how in ("start", "stop", "remove"):
        assert await change(stage, how, made) == 204
    assert fake.questions == ["volume", "start_container", "stop_container", "remove_container"]
    for line in stage.audit.lines:
        assert (line.entry.username, line.entry.object, line.entry.object_id) == ("alice", "jupyterlab-alice", made)


async def test_by_its_name_it_is_asked_for(stage: GatewayStage, fake: FakeEngine, made: str) -> None:
    """When a container is asked for by name, its present id is looked up."""
    assert await change(stage, "stop", "jupyterlab-alice") == 204
    assert fake.questions == ["container", "stop_container"]
    assert fake.calls[-1] == ("stop_container", made)


async def test_its_volumes_are_looked_at_before_every_start(stage: GatewayStage, fake: FakeEngine, made: str) -> None:
    """Another can have made one between the look before the create and the create."""
    (volume,) = fake.volumes.values()
    fake.volumes[volume.name] = replace(volume, options={"device": "/", "o": "bind", "type": "none"})
    assert await change(stage, "start", made) == 400
    assert ("start_container", made) not in fake.calls
    assert stage.audit.phases() == [("intent", None), ("outcome", Reason.VOLUME_NOT_LOCAL)]


async def test_another_agent_asks(fake: FakeEngine, tmp_path: Path) -> None:
    """What is remembered ends with the process; the next one asks whose it is, and goes on."""
    (tmp_path / "next").mkdir()
    async with gateway(fake, tmp_path) as first:
        made = str((await first.create(spawner_body())).json["Id"])
    fake.questions.clear()
    async with gateway(fake, tmp_path / "next") as second:
        assert await change(second, "stop", made) == 204
    assert fake.questions == ["container", "stop_container"]


async def test_what_others_made_is_asked_for_each_time(stage: GatewayStage, fake: FakeEngine) -> None:
    """Whoever labels a container, or renames it, is not us."""
    labels = {"hubwarden.owner": "bob", "hubwarden.server": "", "hubwarden.agent": "jupyterlab-{username}"}
    container = fake.add_container("jupyterlab-bob", labels=labels)
    assert await change(stage, "stop", container.id.value) == 204
    fake.update(container, name="renamed")
    assert await change(stage, "stop", container.id.value) == 404


async def test_a_new_name_does_not_take_it_from_its_user(stage: GatewayStage, fake: FakeEngine, made: str) -> None:
    """Whoever renames it on the host: its id is still the Hub's, and a start is still on the record as its user's."""
    (container,) = fake.containers.values()
    fake.update(container, name="renamed")
    assert await change(stage, "stop", made) == 204
    assert await change(stage, "stop", "renamed") == 404
    assert stage.audit.lines[0].entry.username == "alice"


async def test_it_is_changed_under_its_users_lock_and_rate(stage: GatewayStage, fake: FakeEngine, made: str) -> None:
    """When such a container is changed, its user's lock and rate apply."""
    with stage.locks.hold(Username("alice")):
        assert await change(stage, "stop", made) == 409
    assert [await change(stage, "start", made) for _ in range(31)] == [204] * 30 + [429]
    assert fake.questions.count("start_container") == 30


async def test_what_is_gone_is_asked_for_again(stage: GatewayStage, fake: FakeEngine, made: str) -> None:
    """404 on the record the first time; after that it does not exist, and nothing is to be recorded but the refusal."""
    fake.containers.clear()
    assert await change(stage, "stop", made) == 404
    assert stage.audit.phases() == [("intent", None), ("outcome", Reason.CONTAINER_NOT_FOUND)]
    fake.questions.clear()
    assert await change(stage, "stop", made) == 404
    assert fake.questions == ["container"]


async def test_what_was_removed_does_not_exist(stage: GatewayStage, fake: FakeEngine, made: str) -> None:
    """When a container was removed, it is forgotten and answers as missing."""
    assert await change(stage, "remove", made) == 204
    fake.questions.clear()
    assert await change(stage, "remove", made) == 404
    assert fake.questions == ["container"]


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
    """As it is once Docker has refused, which may be another state than before; it may be gone by then."""
    (container,) = fake.containers.values()

    def happening() -> None:
        if state is None:
            fake.containers.clear()
        else:
            fake.update(container, state=state)

    fake.before["container"] = happening
    fake.fail_next["remove_container"] = Conflict("SECRET")
    reply = await stage.request("DELETE", f"/v1.44/containers/{made}?v=True")
    assert reply.status == 409
    assert message in reply.message
    assert fake.questions == ["remove_container", "container"]


async def test_more_than_there_may_be_are_asked_for(fake: FakeEngine, tmp_path: Path) -> None:
    """The bound is the policy's: with room for one, the second create forgets the first."""
    async with gateway(fake, tmp_path, spawn=replace(POLICY, max_containers=1)) as stage:
        first = str((await stage.create(spawner_body())).json["Id"])
        fake.containers.clear()
        second = str((await stage.create(spawner_body("bob"), "jupyterlab-bob")).json["Id"])
        fake.questions.clear()
        assert await change(stage, "stop", second) == 204
        assert fake.questions == ["stop_container"]
        assert await change(stage, "stop", first) == 404
        assert fake.questions == ["stop_container", "container"]
