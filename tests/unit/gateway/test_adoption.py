"""`spawn.adopt = "by-name"`: whose a container is that nobody labelled, and everything that stays nobody's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent import ownership
from hubwarden_agent.engine.port import Container, ContainerState, EngineError, EngineUnavailable, Mount
from hubwarden_agent.errors import Reason
from hubwarden_agent.host_paths import HostPath
from hubwarden_agent.names import Username
from support.agent.gateway import IMAGE, POLICY, GatewayStage, gateway, spawner_body
from support.fakes.engine import FakeEngine

NAME, HOME = "jupyterlab-alice", "jupyterlab-alice_home"
MOUNT = Mount("volume", "/home/jovyan", volume=HOME)
PATH = f"/v1.44/containers/{NAME}"


@pytest.fixture
async def stage(fake: FakeEngine, tmp_path: Path) -> AsyncIterator[GatewayStage]:
    """A gateway that adopts, over the fake engine."""
    async with gateway(fake, tmp_path, spawn=replace(POLICY, adopt="by-name", publish="127.0.0.1")) as stage:
        yield stage


def spawned(fake: FakeEngine, name: str = NAME, **changes: Any) -> Container:
    """Alice's server as an old Hub made it through the raw socket; `host` changes `host_config`."""
    host = {"NetworkMode": "bridge", "Binds": [f"{HOME}:/home/jovyan:rw"], **changes.pop("host", {})}
    fields = {
        "image": IMAGE,
        "environment": ("PATH=/bin", "JUPYTERHUB_USER=alice", "JUPYTERHUB_SERVER_NAME=", "JUPYTERHUB_API_TOKEN=t"),
        "mounts": (MOUNT,),
        "host_config": host,
    }
    fake.add_volume(HOME)
    return fake.add_container(name, **{**fields, **changes})


def _environment(user: str, server: str = "") -> dict[str, Any]:
    return {"environment": (f"JUPYTERHUB_USER={user}", f"JUPYTERHUB_SERVER_NAME={server}")}


DENIED: dict[str, dict[str, Any]] = {
    "an image that is not listed": {"image": "example.org/lab:2"},
    "an image by its id": {"image": "sha256:" + "1" * 64},
    "no environment": {"environment": ()},
    "no server in it": {"environment": ("JUPYTERHUB_USER=alice",), "name": "jupyterlab-alice--x"},
    "another user in it": _environment("bob"),
    "two users in it": {"environment": ("JUPYTERHUB_USER=alice", "JUPYTERHUB_USER=bob", "JUPYTERHUB_SERVER_NAME=")},
    "another server in it": _environment("alice", "lab"),
    "a user that no user can be": _environment("a/b"),
    "a name that only begins so": {"name": "jupyterlab-alice2"},
    "a label of ours": {"labels": {"hubwarden.owner": "alice"}},
    "a Swarm task": {"labels": {"com.docker.swarm.task.id": "q9v1mb5k2h0c"}},
    "another agent's labels": {
        "labels": {"hubwarden.owner": "alice", "hubwarden.server": "", "hubwarden.agent": "lab-{username}"}
    },
    "another user's volume": {"host": {"Binds": ["jupyterlab-bob_home:/home/jovyan:rw"]}},
    "a folder of the host": {"host": {"Binds": ["/srv:/srv:ro"]}},
    "a mount that is not in its configuration": {"mounts": (MOUNT, Mount("bind", "/srv", source="/srv"))},
    "a volume that is not in its configuration": {
        "mounts": (MOUNT, Mount("volume", "/x", volume="jupyterlab-bob_home"))
    },
    "its home at another path": {
        "host": {"Binds": [f"{HOME}:/home/jovyan/work:rw"]},
        "mounts": (Mount("volume", "/home/jovyan/work", volume=HOME),),
    },
    "its home at a path that its configuration does not show": {"mounts": (Mount("volume", "/dev", volume=HOME),)},
    "a network that is not listed": {"host": {"NetworkMode": "backbone"}},
    "the host's network": {"host": {"NetworkMode": "host"}},
    "another's network": {"host": {"NetworkMode": f"container:{'a' * 64}"}},
    "a second network": {"host": {"Networks": ["backbone"]}},
    "no configuration at all": {"host_config": {}},
    "privileged": {"host": {"Privileged": True}},
    "a capability": {"host": {"CapAdd": ["SYS_ADMIN"]}},
    "a device": {"host": {"Devices": [{"PathOnHost": "/dev/kmsg"}]}},
    "the host's processes": {"host": {"PidMode": "host"}},
    "unmasked paths": {"host": {"MaskedPaths": "not all of Docker's"}},
    "published at another address": {"host": {"PortBindings": {"8888/tcp": [{"HostIp": "10.0.0.1", "HostPort": ""}]}}},
    "published at every address": {"host": {"PortBindings": {"8888/tcp": [{"HostIp": "", "HostPort": ""}]}}},
    "published at a fixed port": {"host": {"PortBindings": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}]}}},
    "something that nobody has heard of": {"host": {"Novelty": 1}},
}


@pytest.mark.parametrize("why", DENIED)
async def test_not_adopted(stage: GatewayStage, fake: FakeEngine, why: str) -> None:
    """It does not exist: inspect, start, stop and remove say 404, and nothing is asked of the engine."""
    container = spawned(fake, **DENIED[why])
    for reference in (container.name, container.id.value):
        path = f"/v1.44/containers/{reference}"
        for method, target in (
            ("GET", f"{path}/json"),
            ("POST", f"{path}/start"),
            ("POST", f"{path}/stop"),
            ("DELETE", f"{path}?v=True"),
        ):
            reply = await stage.request(method, target)
            assert (reply.status, reply.message) == (404, f"No such container: {reference}"), (why, method)
    assert fake.calls == []


@pytest.mark.parametrize(
    "volume", [{"options": {"type": "none", "o": "bind", "device": "/"}}, {"driver": "sshfs"}], ids=str
)
async def test_a_home_that_leads_elsewhere_is_not_adopted(
    stage: GatewayStage, fake: FakeEngine, volume: dict[str, Any]
) -> None:
    """By name it is the user's own volume, but it is a folder of this or another host."""
    spawned(fake)
    fake.add_volume(HOME, **volume)
    assert (await stage.request("GET", f"{PATH}/json")).status == 404


async def test_off_by_default(fake: FakeEngine, tmp_path: Path) -> None:
    """Without the key the very same container does not exist."""
    spawned(fake)
    async with gateway(fake, tmp_path) as stage:
        assert stage.spawn.adopt == "off"
        assert (await stage.request("GET", f"{PATH}/json")).status == 404


async def test_adopted(stage: GatewayStage, fake: FakeEngine) -> None:
    """The user's, under the user's lock and on the record, with the token that a Hub resumes with; until removed."""
    container = spawned(fake)
    shown = await stage.request("GET", f"{PATH}/json")
    assert (shown.status, shown.json["Id"]) == (200, container.id.value)
    assert "JUPYTERHUB_API_TOKEN=t" in shown.json["Config"]["Env"]
    with stage.locks.hold(Username("alice")):
        assert (await stage.request("POST", f"{PATH}/stop")).status == 409
    for method, suffix in (("POST", "/stop"), ("POST", "/start"), ("POST", "/stop"), ("DELETE", "?v=True")):
        assert (await stage.request(method, f"{PATH}{suffix}")).status == 204
    recorded = {line.entry.username for line in stage.audit.lines if line.phase == "intent"}
    assert recorded == {"alice"}
    assert (await stage.create(spawner_body())).status == 201
    (made,) = fake.containers.values()
    assert made.labels["hubwarden.owner"] == "alice"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"name": "jupyterlab-alice--my-20lab", **_environment("alice", "My Lab")}, id="a named server"),
        pytest.param({"mounts": (MOUNT, Mount("volume", "/data", volume="0f" * 32))}, id="a volume of the image's"),
        pytest.param(
            {"host": {"PortBindings": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}}}, id="published"
        ),
        pytest.param({"labels": {"maintainer": "someone"}}, id="labels of others"),
        pytest.param({"state": ContainerState.EXITED}, id="stopped and kept"),
    ],
)
async def test_also_adopted(stage: GatewayStage, fake: FakeEngine, fields: dict[str, Any]) -> None:
    """What a stock DockerSpawner and its images bring along does not stand in the way."""
    container = spawned(fake, **fields)
    assert (await stage.request("GET", f"/v1.44/containers/{container.name}/json")).status == 200
    assert ownership.owns(Username("alice"), container, stage.names), "a reset has to agree"


@pytest.mark.parametrize(("mode", "status"), [("ro", 200), ("rw", 404)])
async def test_what_the_policy_lists_is_adopted(fake: FakeEngine, tmp_path: Path, mode: str, status: int) -> None:
    """A path of the host with this very mode, and nothing more than that: as in a create."""
    shared = Mount("bind", "/shared", read_only=mode == "ro", source="/srv/shared")
    binds = {"Binds": [f"{HOME}:/home/jovyan:rw", f"/srv/shared:/shared:{mode}"]}
    spawned(fake, host=binds, mounts=(MOUNT, shared))
    spawn = replace(POLICY, adopt="by-name", host_paths=(HostPath("/srv/shared", "/shared", "ro"),))
    async with gateway(fake, tmp_path, spawn=spawn) as stage:
        assert (await stage.request("GET", f"{PATH}/json")).status == status


async def test_adopted_ones_count(stage: GatewayStage, fake: FakeEngine) -> None:
    """They take up room, as labelled ones do; what is not adopted does not."""
    for number in range(POLICY.max_containers):
        user = f"user{number}"
        home = Mount("volume", "/home/jovyan", volume=f"jupyterlab-{user}_home")
        binds = {"Binds": [f"{home.volume}:/home/jovyan:rw"]}
        spawned(fake, f"jupyterlab-{user}", mounts=(home,), host=binds, **_environment(user))
    assert (await stage.create(spawner_body())).status == 429
    fake.update(next(iter(fake.containers.values())), image="example.org/other:1")
    assert (await stage.create(spawner_body())).status == 201


async def test_one_that_cannot_be_read_counts(fake: FakeEngine, tmp_path: Path) -> None:
    """When an unlabelled container cannot be read, it takes up room, and others are still created."""
    fake.add_container("foreign")
    async with gateway(fake, tmp_path, spawn=replace(POLICY, adopt="by-name", max_containers=2)) as stage:
        for user, status in (("alice", 201), ("bob", 429)):
            fake.fail_next["container"] = EngineError("not a time")
            assert (await stage.create(spawner_body(user), f"jupyterlab-{user}")).status == status


async def test_docker_does_not_answer_a_count(stage: GatewayStage, fake: FakeEngine) -> None:
    """When Docker does not answer while containers are counted, nothing is created."""
    fake.add_container("foreign")
    fake.fail_next["container"] = EngineUnavailable("gone")
    assert (await stage.create(spawner_body())).status == 503
    assert fake.calls == []


async def test_a_volume_that_was_replaced_after_the_create(stage: GatewayStage, fake: FakeEngine) -> None:
    """Checked again before the start, when the container holds it: refused, on the record, and not started."""
    fake.before["create_container"] = lambda: fake.add_volume(
        HOME, options={"type": "none", "o": "bind", "device": "/"}
    )
    assert (await stage.create(spawner_body())).status == 201
    reply = await stage.request("POST", f"{PATH}/start")
    assert (reply.status, "plain local" in reply.message) == (400, True)
    assert [call for call, _ in fake.calls] == ["create_container"]
    assert stage.audit.phases()[-1] == ("outcome", Reason.VOLUME_NOT_LOCAL)
