"""A create: what is asked of the engine before it, and that the bounds on numbers hold."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent.engine.port import Conflict, NotFound
from hubwarden_agent.engine.spawn_port import ContainerSpec
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.refusals import LOCKED_MESSAGE
from hubwarden_agent.names import Username
from support.agent.gateway import IMAGE, POLICY, GatewayStage, gateway, spawner_body
from support.fakes.engine import FakeEngine


@pytest.mark.parametrize(
    "volume",
    [
        pytest.param({"options": {"type": "none", "o": "bind", "device": "/"}}, id="a folder of the host"),
        pytest.param({"options": {"type": "nfs", "device": ":/x"}}, id="a folder of another host"),
        pytest.param({"options": {"o": "size=1"}}, id="an option"),
        pytest.param({"driver": "sshfs"}, id="a driver"),
        pytest.param({"scope": "global"}, id="a scope"),
    ],
)
async def test_a_volume_that_leads_elsewhere(stage: GatewayStage, fake: FakeEngine, volume: dict[str, Any]) -> None:
    """The user's own volume by name, but not a plain local one: refused, as bind and as mount."""
    fake.add_volume("jupyterlab-alice_home", **volume)
    mount = {"Type": "volume", "Source": "jupyterlab-alice_home", "Target": "/home/jovyan"}
    for host in ({}, {"Binds": [], "Mounts": [mount]}):
        reply = await stage.create(spawner_body(host=host))
        assert reply.status == 400
        assert "plain local" in reply.message
    assert fake.calls == []
    assert stage.audit.phases() == [("denied", Reason.VOLUME_NOT_LOCAL)] * 2


async def test_a_volume_with_a_size_is_plain(stage: GatewayStage, fake: FakeEngine) -> None:
    """It lies where the others lie, and a reset may bring one back."""
    fake.add_volume("jupyterlab-alice_home", options={"size": "10g"})
    assert (await stage.create(spawner_body())).status == 201


async def test_a_name_that_is_taken(stage: GatewayStage, fake: FakeEngine) -> None:
    """409 as in Docker, without the id of what has it, which may be another's; on the record, for Docker was asked."""
    other = fake.add_container("jupyterlab-alice")
    reply = await stage.create(spawner_body())
    assert reply.status == 409
    assert reply.message.startswith('Conflict. The container name "/jupyterlab-alice" is already in use')
    assert other.id.value not in reply.text
    assert list(fake.containers) == [other.id]
    assert stage.audit.phases() == [("intent", None), ("outcome", Reason.CONFLICT)]


async def test_what_the_engine_says_of_a_name_stays_with_it(stage: GatewayStage, fake: FakeEngine) -> None:
    """When a name is taken, Docker's message, which names the other container, is not passed on."""
    fake.fail_next["create_container"] = Conflict("SECRET")
    reply = await stage.create(spawner_body())
    assert reply.status == 409
    assert "SECRET" not in reply.text


async def test_an_image_that_is_not_there(stage: GatewayStage, fake: FakeEngine) -> None:
    """404 as docker-py knows it, so that DockerSpawner can say what is missing."""
    fake.images.clear()
    reply = await stage.create(spawner_body())
    assert (reply.status, reply.message) == (404, f"No such image: {IMAGE}")
    assert fake.containers == {}


async def test_a_network_that_is_not_there(stage: GatewayStage, fake: FakeEngine) -> None:
    """When the network is missing, the response is 404 without Docker's message."""
    fake.fail_next["create_container"] = NotFound("network SECRET not found")
    reply = await stage.create(spawner_body())
    assert (reply.status, reply.message) == (404, "hubwarden: the image or network is not there")


async def test_a_create_asks_for_its_volumes_and_nothing_else(stage: GatewayStage, fake: FakeEngine) -> None:
    """Fifty at once should not ask Docker for what its answer to the create says anyway."""
    await stage.create(spawner_body())
    fake.questions.clear()
    assert (await stage.create(spawner_body("bob"), "jupyterlab-bob")).status == 201
    assert fake.questions == ["volume", "create_container"]


async def test_under_the_users_lock(stage: GatewayStage, fake: FakeEngine) -> None:
    """409 at once, and nothing is asked of the engine."""
    with stage.locks.hold(Username("alice")):
        reply = await stage.create(spawner_body())
    assert (reply.status, reply.message) == (409, LOCKED_MESSAGE)
    assert fake.calls == []


async def test_two_creates_at_once_for_one_user(stage: GatewayStage, fake: FakeEngine) -> None:
    """One gets through, the other finds the lock taken."""
    replies = await asyncio.gather(*(stage.create(spawner_body()) for _ in range(2)))
    assert sorted(reply.status for reply in replies) == [201, 409]
    assert len(fake.containers) == 1


async def test_no_record_no_container(stage: GatewayStage, fake: FakeEngine) -> None:
    """When the audit cannot be written, nothing is created."""
    stage.audit.broken = True
    assert (await stage.create(spawner_body())).status == 503
    assert fake.calls == []


async def test_as_many_containers_as_there_may_be(stage: GatewayStage, fake: FakeEngine) -> None:
    """Under parallel creates there is never one more; stopped ones count, other agents' do not."""
    fake.add_container("another", labels={"hubwarden.agent": "lab-{username}"})
    users = [f"user{number}" for number in range(9)]
    replies = await asyncio.gather(*(stage.create(spawner_body(user), f"jupyterlab-{user}") for user in users))
    statuses = [reply.status for reply in replies]
    assert statuses.count(201) == POLICY.max_containers
    assert statuses.count(429) == len(users) - POLICY.max_containers
    refused = next(reply for reply in replies if reply.status == 429)
    assert "spawn.max_containers" in refused.message
    assert int(refused.headers["retry-after"]) > 0


async def test_as_many_volumes_as_there_may_be(fake: FakeEngine, tmp_path: Path) -> None:
    """Volumes that the policy could name count, also those made by hand; who has a volume already needs no room."""
    for name in ("jupyterlab-x_home", "jupyterlab-x-2dy_workspace", "jupyterlab-x-_home", "jupyterlab-x_cache", "data"):
        fake.add_volume(name)
    async with gateway(fake, tmp_path, spawn=replace(POLICY, max_volumes=4)) as stage:
        asked = (stage.create(spawner_body(user), f"jupyterlab-{user}") for user in ("a", "b", "c", "d"))
        replies = await asyncio.gather(*asked)
        assert sorted(reply.status for reply in replies) == [201, 201, 429, 429]
        assert "spawn.max_volumes" in next(reply for reply in replies if reply.status == 429).message
        assert (await stage.create(spawner_body("x"), "jupyterlab-x")).status == 201
        assert len(fake.volumes) == 5 + 2


async def test_a_create_that_fails_gives_its_room_back(stage: GatewayStage, fake: FakeEngine) -> None:
    """When a create fails, its place in the quota is released."""
    for _ in range(POLICY.max_containers + 1):
        fake.fail_next["create_container"] = Conflict("x")
        assert (await stage.create(spawner_body())).status == 409
    assert (await stage.create(spawner_body())).status == 201


async def test_creates_per_minute(fake: FakeEngine, tmp_path: Path) -> None:
    """Above the rate a create is a 429 before the engine is asked anything, until time has passed."""
    async with gateway(fake, tmp_path, spawn=replace(POLICY, max_containers=100)) as stage:
        users = [f"user{number}" for number in range(11)]
        statuses = [(await stage.create(spawner_body(user), f"jupyterlab-{user}")).status for user in users]
        assert statuses == [201] * 10 + [429]
        stage.clock.advance(60)
        assert (await stage.create(spawner_body("user10"), "jupyterlab-user10")).status == 201


async def test_a_create_that_the_engine_would_refuse_spends_the_rate(stage: GatewayStage, fake: FakeEngine) -> None:
    """Asking the engine costs it something, whatever it answers: nobody asks more often than the rate."""
    fake.images.clear()
    statuses = [(await stage.create(spawner_body())).status for _ in range(11)]
    assert statuses == [404] * 10 + [429]


async def test_a_refused_create_costs_nothing(stage: GatewayStage, fake: FakeEngine) -> None:
    """What the policy refuses does not spend the rate."""
    for _ in range(20):
        assert (await stage.create(spawner_body(Image="evil"))).status == 400
    assert (await stage.create(spawner_body())).status == 201
    assert len(fake.calls) == 1


async def test_what_the_engine_is_given_is_the_specification(stage: GatewayStage, fake: FakeEngine) -> None:
    """The engine sees a value of ours; the answer holds the id and no warnings; both are on the record."""
    given: list[ContainerSpec] = []
    original = stage.engine.create_container

    def create_container(spec: ContainerSpec) -> Any:
        given.append(spec)
        return original(spec)

    stage.engine.create_container = create_container
    reply = await stage.create(spawner_body(server_name="Lab"), "jupyterlab-alice--lab")
    assert reply.status == 201
    (spec,) = given
    assert spec.labels["hubwarden.server"] == "Lab"
    assert reply.json == {"Id": next(iter(fake.containers)).value, "Warnings": []}
    assert stage.audit.phases() == [("intent", None), ("outcome", None)]
    entry = stage.audit.lines[0].entry
    assert (entry.operation, entry.username, entry.server_name) == ("create", "alice", "Lab")
    assert (entry.object, entry.object_id) == ("jupyterlab-alice--lab", "")
