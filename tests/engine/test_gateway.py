"""docker-py through the gateway to a real engine, judged by what the engine shows behind the gateway's back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from docker import APIClient  # noqa: TID251 - the client that DockerSpawner uses
from docker.errors import APIError, NotFound  # noqa: TID251 - the client that DockerSpawner uses
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.names import Username, VolumeName
from support.agent.gateway import POLICY, GatewayStage, gateway, spawner_body
from support.docker.private_engine import Workbench

Result = TypeVar("Result")
SCRIPT = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]


class Hub:
    """What a Hub has: docker-py on the gateway's socket, and a user nobody else has."""

    def __init__(self, stage: GatewayStage, bench: Workbench) -> None:
        self.stage = stage
        self.bench = bench
        self.user = bench.username()
        self.name = f"jupyterlab-{self.user}"
        self.home = f"jupyterlab-{self.user}_home"
        self._clients: list[APIClient] = []
        bench.forget_volume(self.home)
        bench.forget_container(self.name)

    async def ask(self, question: Callable[[Any], Result]) -> Result:
        """Ask the gateway something, from a thread."""
        if not self._clients:
            self._clients.append(await asyncio.to_thread(APIClient, self.stage.url, version="auto"))
        return await asyncio.to_thread(question, self._clients[0])

    async def create(self, *, user: str = "", host: dict[str, Any] | None = None, **options: Any) -> str:
        """A create as DockerSpawner asks for it; the answer's id."""
        user = user or self.user
        name = f"jupyterlab-{user}"

        def create(api: Any) -> str:
            config = {
                "binds": {f"{name}_home": {"bind": "/home/jovyan", "mode": "rw"}},
                "network_mode": "bridge",
                "links": {},
            }
            created = api.create_container(
                self.bench.image,
                SCRIPT,
                name=name,
                environment={"JUPYTERHUB_USER": user, "JUPYTERHUB_SERVER_NAME": "", "SECRET": "token"},
                volumes=["/home/jovyan"],
                ports={"8888/tcp": None},
                host_config=api.create_host_config(**(config | (host or {}))),
                **options,
            )
            return str(created["Id"])

        return await self.ask(create)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()


@pytest.fixture
async def hub(bench: Workbench, engine: DockerEngine, tmp_path: Path) -> AsyncIterator[Hub]:
    """A Hub on a gateway in front of the private engine."""
    policy = replace(POLICY, images=(bench.image,), publish="127.0.0.1")
    async with gateway(engine, tmp_path, spawn=policy) as stage:
        hub = Hub(stage, bench)
        yield hub
        hub.close()


async def test_a_container_from_create_to_remove(hub: Hub) -> None:
    """Create, inspect, start, inspect, stop, remove: what docker-py gets, and what the engine has."""
    identifier = await hub.create(host={"port_bindings": {8888: ("127.0.0.1",)}})
    real = hub.bench.client.containers.get(hub.name)
    assert real.id == identifier
    assert (await hub.ask(lambda api: api.inspect_container(hub.name)))["State"]["Status"] == "created"
    await hub.ask(lambda api: api.start(identifier))
    shown = await hub.ask(lambda api: api.inspect_container(identifier))
    real.reload()
    assert shown["State"]["Running"] is True
    assert shown["State"]["StartedAt"][:26] == real.attrs["State"]["StartedAt"][:26]
    assert (
        shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        == (real.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"])
    )
    assert "SECRET=token" in shown["Config"]["Env"]
    assert (await hub.ask(lambda api: api.port(identifier, 8888)))[0]["HostIp"] == "127.0.0.1"
    with pytest.raises(APIError) as conflict:
        await hub.ask(lambda api: api.remove_container(identifier, v=True))
    assert conflict.value.status_code == 409
    await hub.ask(lambda api: api.stop(identifier))
    await hub.ask(lambda api: api.remove_container(identifier, v=True))
    with pytest.raises(NotFound):
        await hub.ask(lambda api: api.inspect_container(hub.name))
    assert hub.bench.client.volumes.get(hub.home).attrs["Driver"] == "local"


async def test_what_the_engine_is_left_with(hub: Hub) -> None:
    """Limits of the policy where none were asked for, no privileges, our labels, one volume."""
    await hub.create(host={"mem_limit": 0})
    attributes = hub.bench.client.containers.get(hub.name).attrs
    host = attributes["HostConfig"]
    assert host["Memory"] == POLICY.max_memory
    assert host["PidsLimit"] == POLICY.max_pids
    assert (host["CpuQuota"] or host["NanoCpus"] // 10_000) == 200_000
    assert host["Privileged"] is False
    assert "no-new-privileges" in host["SecurityOpt"]
    assert not host["CapAdd"]
    assert not host["Binds"]
    assert [(m["Type"], m["Name"], m["Destination"]) for m in attributes["Mounts"]] == [
        ("volume", hub.home, "/home/jovyan")
    ]
    assert attributes["Config"]["Labels"]["hubwarden.owner"] == hub.user
    assert attributes["Name"] == f"/{hub.name}"


@pytest.mark.parametrize(
    "host",
    [
        {"privileged": True},
        {"binds": ["/:/host"]},
        {"binds": ["/var/run/docker.sock:/var/run/docker.sock"]},
        {"volumes_from": ["x"]},
        {"pid_mode": "host"},
        {"network_mode": "host"},
        {"cap_add": ["SYS_ADMIN"]},
        {"security_opt": ["apparmor=unconfined"]},
        {"devices": ["/dev/null:/dev/null:rwm"]},
        {"mem_limit": "64g"},
    ],
    ids=str,
)
async def test_ways_out(hub: Hub, host: dict[str, Any]) -> None:
    """docker-py gets a 400, and the engine has no container. The harmless twin is every other test here."""
    with pytest.raises(APIError) as refused:
        await hub.create(host=host)
    assert refused.value.status_code == 400
    with pytest.raises(NotFound):
        hub.bench.client.containers.get(hub.name)


async def test_a_volume_that_somebody_made_a_folder_of_the_host(hub: Hub, tmp_path: Path) -> None:
    """The user's own volume by name: not mounted, and so the folder stays empty."""
    hub.bench.volume(hub.home, driver_opts={"type": "none", "o": "bind", "device": str(tmp_path)})
    with pytest.raises(APIError, match="plain local"):
        await hub.create()
    with pytest.raises(NotFound):
        hub.bench.client.containers.get(hub.name)


async def test_a_volume_that_is_made_a_folder_of_the_host_at_the_last_moment(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and the create: the container is there, and is not started with it."""
    create = hub.stage.engine.create_container

    def overtaken(spec: Any) -> Any:
        options = {"type": "none", "o": "bind", "device": str(tmp_path)}
        hub.bench.client.volumes.create(hub.home, driver_opts=options)
        return create(spec)

    monkeypatch.setattr(hub.stage.engine, "create_container", overtaken)
    identifier = await hub.create()
    with pytest.raises(APIError, match="plain local"):
        await hub.ask(lambda api: api.start(identifier))
    assert hub.bench.client.containers.get(identifier).status == "created"


async def test_a_volume_is_not_replaced_between_create_and_start(hub: Hub, tmp_path: Path) -> None:
    """What the check before a start rests on: the engine keeps a volume that a container holds, from its create on."""
    identifier = await hub.create()
    volume = hub.bench.client.volumes.get(hub.home)
    for force in (False, True):
        with pytest.raises(APIError, match="in use"):
            volume.remove(force=force)
    hub.bench.client.volumes.create(hub.home, driver_opts={"type": "none", "o": "bind", "device": str(tmp_path)})
    assert hub.bench.client.volumes.get(hub.home).attrs["Options"] is None
    await hub.ask(lambda api: api.start(identifier))


async def test_containers_that_are_not_the_hubs(hub: Hub) -> None:
    """By name, by id and by the beginning of an id: they do not exist, and stay as they are."""
    other = hub.bench.container(f"other-{hub.user}")
    own = await hub.create()
    for reference in (other.name, other.id, own[:12]):
        calls: list[Callable[[Any], object]] = [
            lambda api, reference=reference: api.inspect_container(reference),  # type: ignore[misc] # bound at once
            lambda api, reference=reference: api.start(reference),  # type: ignore[misc] # bound at once
            lambda api, reference=reference: api.stop(reference),  # type: ignore[misc] # bound at once
            lambda api, reference=reference: api.remove_container(reference, v=True),  # type: ignore[misc] # bound at once
        ]
        for call in calls:
            with pytest.raises(NotFound, match="No such container"):
                await hub.ask(call)
    other.reload()
    assert other.status == "running"


async def test_what_docker_py_raises(hub: Hub) -> None:
    """The classes that DockerSpawner and its users expect."""
    with pytest.raises(APIError, match=r"spawn\.images") as unlisted:
        await hub.ask(lambda api: api.inspect_image("hubwarden-none:1"))
    assert unlisted.value.status_code == 403
    assert (await hub.ask(lambda api: api.inspect_image(hub.bench.image)))["Id"].startswith("sha256:")
    with pytest.raises(APIError) as refused:
        await hub.ask(lambda api: api.containers())
    assert refused.value.status_code == 403
    await hub.create()
    with pytest.raises(APIError, match="already in use") as conflict:
        await hub.create()
    assert conflict.value.status_code == 409
    with hub.stage.locks.hold(Username(hub.user)), pytest.raises(APIError, match="under way") as locked:
        await hub.ask(lambda api: api.start(hub.name))
    assert locked.value.status_code == 409


async def test_what_was_made_here_and_renamed_on_the_host(hub: Hub) -> None:
    """When a container was renamed on the host, it does not exist for the Hub, neither by its names nor by its id."""
    identifier = await hub.create()
    renamed = f"{hub.name}-renamed"
    hub.bench.forget_container(renamed)
    hub.bench.client.containers.get(identifier).rename(renamed)
    for reference in (renamed, hub.name, identifier):
        with pytest.raises(NotFound):
            await hub.ask(partial(APIClient.stop, container=reference))
    assert {phase for phase, _ in hub.stage.audit.phases()[2:]} == {"denied"}


async def test_what_was_made_here_and_removed_on_the_host(hub: Hub) -> None:
    """When a container was removed on the host, a change of it is 404, on the record."""
    identifier = await hub.create()
    hub.bench.client.containers.get(identifier).remove()
    with pytest.raises(NotFound, match="No such container"):
        await hub.ask(lambda api: api.start(identifier))
    assert [phase for phase, _ in hub.stage.audit.phases()] == ["intent", "outcome", "denied"]


async def test_a_create_of_an_image_that_is_not_there(hub: Hub, engine: DockerEngine, tmp_path: Path) -> None:
    """Docker refuses it before it makes anything, and docker-py raises what DockerSpawner's users expect."""
    (tmp_path / "other").mkdir()
    missing = "hubwarden-none:1"
    async with gateway(engine, tmp_path / "other", spawn=replace(POLICY, images=(missing,))) as stage:
        reply = await stage.create(spawner_body(hub.user, Image=missing), hub.name)
    assert (reply.status, reply.message) == (404, f"No such image: {missing}")
    assert engine.volume(VolumeName(hub.home)) is None


async def test_a_pull_of_an_image_that_is_there(hub: Hub) -> None:
    """When the engine has the image, docker-py reads that it is up to date."""
    repository, tag = hub.bench.image.rsplit(":", 1)
    assert "Image is up to date" in await hub.ask(lambda api: api.pull(repository, tag))


async def test_the_number_of_containers_holds_under_parallel_creates(
    bench: Workbench, engine: DockerEngine, tmp_path: Path
) -> None:
    """Ten at once where there is room for three: three are created."""
    users = [bench.username() for _ in range(10)]
    for user in users:
        bench.forget_volume(f"jupyterlab-{user}_home")
        bench.forget_container(f"jupyterlab-{user}")
    existing = len(bench.client.containers.list(all=True, filters={"label": "hubwarden.agent=jupyterlab-{username}"}))
    policy = replace(POLICY, images=(bench.image,), max_containers=existing + 3)
    async with gateway(engine, tmp_path, spawn=policy) as stage:
        replies = await asyncio.gather(
            *(stage.create(spawner_body(user, Image=bench.image), f"jupyterlab-{user}") for user in users)
        )
    assert sorted(reply.status for reply in replies) == [201] * 3 + [429] * 7
    made = bench.client.containers.list(all=True, filters={"label": "hubwarden.agent=jupyterlab-{username}"})
    assert len(made) == existing + 3
