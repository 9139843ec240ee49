"""Stock DockerSpawner, unmodified, on the gateway: what it sends, and that its whole cycle works."""

from __future__ import annotations

import asyncio

import pytest
from docker.errors import NotFound  # noqa: TID251 - what DockerSpawner gets
from dockerspawner import DockerSpawner
from support.agent.gateway import GatewayStage
from support.docker.private_engine import Workbench
from support.scenarios.spawning import Sent, Spawn
from support.waiting.conditions import wait_for

CREATE = "POST /containers/create?name=NAME"
START = ["GET /version", "GET /images/IMAGE/json", "GET /containers/NAME/json", CREATE, "POST /containers/ID/start"]


@pytest.mark.parametrize("username", ["", "john.doe-x", "Ana@Example.org", "木村"])
async def test_a_cycle_that_keeps_the_container(spawn: Spawn, sent: Sent, bench: Workbench, username: str) -> None:
    """`remove = False`: start, poll, stop, start again the same container with its own token, stop."""
    spawner = spawn(username)
    ip, port = await spawner.start()
    assert (ip, port) == ("127.0.0.1", _published(bench, spawner))
    assert sent.take() == [*START, "GET /containers/ID/json"]
    assert await spawner.poll() is None
    first = spawner.object_id
    await _catches_sigterm(bench, first)
    await spawner.stop()
    assert sent.take() == ["GET /containers/NAME/json", "POST /containers/ID/stop"]
    assert "ExitCode=0" in str(await spawner.poll())
    spawner.api_token = "another"
    await spawner.start()
    assert spawner.object_id == first
    assert spawner.api_token == "token-of-the-server"
    assert CREATE not in sent.take()
    await spawner.stop()
    assert bench.client.containers.get(spawner.container_name).status == "exited"


async def test_a_cycle_that_removes_the_container(spawn: Spawn, sent: Sent, bench: Workbench) -> None:
    """`remove = True`: the container goes, the volume stays, and the next start makes another."""
    spawner = spawn(remove=True)
    await spawner.start()
    first = spawner.object_id
    sent.take()
    await spawner.stop()
    assert sent.take() == [
        "POST /containers/ID/stop",
        "DELETE /containers/ID?v=True&link=False&force=False",
    ]
    await _gone(bench, first)
    assert await spawner.poll() == 0
    await spawner.start()
    second = spawner.object_id
    assert second != first
    await spawner.stop()
    await _gone(bench, second)
    bench.client.volumes.get(f"jupyterlab-{spawner.escaped_name}_home")


async def test_named_servers_and_other_options(spawn: Spawn, sent: Sent, bench: Workbench) -> None:
    """Limits, a read-only volume, a mount, a label, and a server's own name."""
    username = bench.username()
    workspace = f"jupyterlab-{username}_workspace"
    bench.forget_volume(workspace)
    spawner = spawn(
        username,
        "My Lab",
        mem_limit="256M",
        cpu_limit=0.5,
        mounts=[{"source": "jupyterlab-{username}_workspace", "target": "/workspace", "read_only": True}],
        extra_create_kwargs={"labels": {"team": "physics"}},
        extra_host_config={"pids_limit": 100},
    )
    await spawner.start()
    attributes = bench.client.containers.get(f"jupyterlab-{username}--my-20lab").attrs
    host = attributes["HostConfig"]
    assert (host["Memory"], host["PidsLimit"]) == (256 * 1024**2, 100)
    assert (host["CpuQuota"] or host["NanoCpus"] // 10_000) == 50_000
    assert attributes["Config"]["Labels"]["team"] == "physics"
    assert attributes["Config"]["Labels"]["hubwarden.server"] == "My Lab"
    mounts = {mount["Destination"]: (mount["Name"], mount["RW"]) for mount in attributes["Mounts"]}
    assert mounts["/workspace"] == (workspace, False)
    assert sent.bodies[0]["HostConfig"]["CpuPeriod"] == 100_000
    await spawner.stop()


async def test_a_network_of_its_own(spawn: Spawn, bench: Workbench) -> None:
    """With a network's name DockerSpawner uses the address on it, and publishes nothing."""
    network = bench.client.networks.create("hubwarden-test")
    try:
        spawner = spawn(network_name="hubwarden-test", remove=True)
        ip, port = await spawner.start()
        network.reload()
        assert ip in {address["IPv4Address"].split("/")[0] for address in network.attrs["Containers"].values()}
        assert port == spawner.port
        identifier = spawner.object_id
        await spawner.stop()
        await _gone(bench, identifier)
    finally:
        network.remove()


async def test_what_a_create_consists_of(spawn: Spawn, sent: Sent) -> None:
    """The recording that the schema was made for: the keys of a stock DockerSpawner's create, by default."""
    spawner = spawn()
    await spawner.start()
    await spawner.stop()
    (body,) = sent.bodies
    assert set(body) == {
        "ExposedPorts",
        "Tty",
        "OpenStdin",
        "StdinOnce",
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "Env",
        "Cmd",
        "Image",
        "Volumes",
        "NetworkDisabled",
        "HostConfig",
    }
    assert set(body["HostConfig"]) == {
        "Memory",
        "NetworkMode",
        "Binds",
        "PortBindings",
        "Links",
        "CpuPeriod",
        "Mounts",
    }
    assert (body["HostConfig"]["Memory"], body["HostConfig"]["Links"]) == (0, [])
    names = {variable.partition("=")[0] for variable in body["Env"]}
    assert {"JUPYTERHUB_USER", "JUPYTERHUB_SERVER_NAME", "JUPYTERHUB_API_TOKEN"} <= names


async def test_the_agent_goes_away_while_a_server_runs(
    spawn: Spawn, spawn_stage: GatewayStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the engine does, DockerSpawner must not be told that its container is gone: poll raises instead."""
    spawner = spawn()
    await spawner.start()

    def fail(_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(spawn_stage.engine, "container", fail)
    with pytest.raises(Exception, match="503"):
        await spawner.poll()
    monkeypatch.undo()
    assert spawner.object_id


async def _catches_sigterm(bench: Workbench, identifier: str) -> None:
    """Wait until the script's trap is set, which on a busy machine comes some time after the start."""
    container = bench.client.containers.get(identifier)
    look = ["grep", "-q", "^SigCgt:.*[4-7c-f]...$", "/proc/1/status"]
    await asyncio.to_thread(wait_for, lambda: container.exec_run(look)[0] == 0, "the script's trap")


async def _gone(bench: Workbench, identifier: str) -> None:
    """Wait until Docker has removed an AutoRemove container, which it does after its answer to a stop."""

    def is_gone() -> bool:
        try:
            bench.client.containers.get(identifier)
        except NotFound:
            return True
        return False

    await asyncio.to_thread(wait_for, is_gone, "the container's removal")


def _published(bench: Workbench, spawner: DockerSpawner) -> int:
    ports = bench.client.containers.get(spawner.container_name).attrs["NetworkSettings"]["Ports"]
    return int(ports[f"{spawner.port}/tcp"][0]["HostPort"])
