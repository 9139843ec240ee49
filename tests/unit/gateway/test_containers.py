"""Only the Hub's own containers exist; touching one takes its user's lock and leaves a record."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hubwarden_agent.engine.port import (
    Conflict,
    Container,
    ContainerState,
    EngineError,
    Mount,
    NotFound,
    PublishedPort,
)
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway import app
from hubwarden_agent.gateway.refusals import LOCKED_MESSAGE
from hubwarden_agent.host_paths import HostPath
from hubwarden_agent.names import Username
from support.agent.gateway import POLICY, GatewayStage, gateway
from support.fakes.engine import FakeEngine
from support.waiting.conditions import until

SCHEME = "jupyterlab-{username}"
ALICE = Username("alice")


def labels(owner: str = "alice", server: str = "", agent: str = SCHEME) -> Mapping[str, str]:
    """Our labels."""
    return {"hubwarden.owner": owner, "hubwarden.server": server, "hubwarden.agent": agent}


def calls_on(reference: str) -> list[tuple[str, str]]:
    """Every call about a container that exists."""
    path = f"/v1.44/containers/{reference}"
    return [("GET", f"{path}/json"), ("POST", f"{path}/start"), ("POST", f"{path}/stop"), ("DELETE", f"{path}?v=True")]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        pytest.param("postgres", {}, id="somebody else's"),
        pytest.param("jupyterlab-alice", {}, id="without labels"),
        pytest.param("jupyterlab-alice", {"hubwarden.owner": "alice"}, id="with one label of three"),
        pytest.param("jupyterlab-alice", labels(agent="lab-{username}"), id="another agent's"),
        pytest.param("jupyterlab-alice", labels(owner="bob"), id="labels of another user"),
        pytest.param("jupyterlab-alice", labels(server="x"), id="labels of another server"),
        pytest.param("jupyterlab-alice", labels(owner=""), id="labels without a user"),
        pytest.param("renamed", labels(), id="renamed behind our back"),
    ],
)
async def test_what_is_not_ours_does_not_exist(
    stage: GatewayStage, fake: FakeEngine, name: str, given: Mapping[str, str]
) -> None:
    """By name and by id, for every call: a 404 worded as Docker's, and nothing is done."""
    container = fake.add_container(name, labels=given, environment=("SECRET=1",))
    for reference in (name, container.id.value):
        for method, target in calls_on(reference):
            reply = await stage.request(method, target)
            assert (reply.status, reply.message) == (404, f"No such container: {reference}")
    assert fake.calls == []


async def test_what_is_not_there_does_not_exist(stage: GatewayStage) -> None:
    """When a container is missing, every call on it is 404 in Docker's words."""
    for method, target in calls_on("jupyterlab-alice"):
        reply = await stage.request(method, target)
        assert (reply.status, reply.message) == (404, "No such container: jupyterlab-alice")


async def test_the_beginning_of_an_id_is_no_reference(stage: GatewayStage, fake: FakeEngine) -> None:
    """Docker resolves it, and so the container that comes back is not the one that was named."""
    container = fake.add_container("jupyterlab-alice", labels=labels())
    short = container.id.value[:12]

    def resolve(_: object) -> Container:
        return container

    fake.container = resolve  # type: ignore[method-assign, assignment] # as Docker does it
    for method, target in calls_on(short):
        assert (await stage.request(method, target)).status == 404


@pytest.fixture
def running(fake: FakeEngine) -> Container:
    """Alice's running server."""
    return fake.add_container(
        "jupyterlab-alice",
        labels=labels(),
        image="example.org/lab:1",
        image_id="sha256:1",
        environment=("JUPYTERHUB_API_TOKEN=secret",),
        command=("jupyterhub-singleuser",),
        addresses={"hub-net": "10.0.0.2"},
        exposed_ports=("8888/tcp",),
        ports=(PublishedPort(8888, "tcp", "127.0.0.1", 32768),),
        started=dt.datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=dt.UTC),
    )


async def test_an_inspect_shows_what_dockerspawner_reads(stage: GatewayStage, running: Container) -> None:
    """And nothing else: no host configuration, no mounts, no paths."""
    reply = await stage.request("GET", "/v1.44/containers/jupyterlab-alice/json")
    assert reply.status == 200
    assert reply.json == {
        "Id": running.id.value,
        "Name": "/jupyterlab-alice",
        "Created": "2026-01-01T00:00:02Z",
        "Image": "sha256:1",
        "State": {
            "Status": "running",
            "Running": True,
            "Paused": False,
            "Restarting": False,
            "OOMKilled": False,
            "Dead": False,
            "ExitCode": 0,
            "Error": "",
            "StartedAt": "2026-01-02T03:04:05.000600Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Config": {
            "Env": ["JUPYTERHUB_API_TOKEN=secret"],
            "Cmd": ["jupyterhub-singleuser"],
            "Image": "example.org/lab:1",
            "Labels": dict(labels()),
            "ExposedPorts": {"8888/tcp": {}},
        },
        "HostConfig": {"AutoRemove": False},
        "NetworkSettings": {
            "Networks": {"hub-net": {"IPAddress": "10.0.0.2"}},
            "Ports": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]},
        },
    }


@pytest.mark.parametrize(
    ("state", "alive"),
    [
        (ContainerState.CREATED, False),
        (ContainerState.RUNNING, True),
        (ContainerState.PAUSED, True),
        (ContainerState.RESTARTING, True),
        (ContainerState.REMOVING, False),
        (ContainerState.EXITED, False),
        (ContainerState.DEAD, False),
    ],
)
async def test_running_is_what_docker_calls_running(
    stage: GatewayStage, fake: FakeEngine, state: ContainerState, *, alive: bool
) -> None:
    """Docker's own `Running` is true for paused and restarting containers."""
    fake.add_container("jupyterlab-alice", state, labels=labels())
    reply = await stage.request("GET", "/v1.44/containers/jupyterlab-alice/json")
    assert reply.json["State"]["Running"] is alive


async def test_what_docker_says_of_a_failure_stays_with_docker(stage: GatewayStage, fake: FakeEngine) -> None:
    """DockerSpawner puts `State.Error` into what a Hub shows; there is one, but not Docker's own words."""
    fake.add_container("jupyterlab-alice", ContainerState.EXITED, labels=labels(), error="OCI: /var/lib/docker/SECRET")
    reply = await stage.request("GET", "/v1.44/containers/jupyterlab-alice/json")
    assert reply.json["State"]["Error"]
    assert "SECRET" not in reply.text


@pytest.mark.usefixtures("running")
async def test_under_the_users_lock_only_an_inspect_gets_through(stage: GatewayStage, fake: FakeEngine) -> None:
    """409 at once, in the words that the Hub's mixin knows; other users are not concerned."""
    fake.add_container("jupyterlab-bob", labels=labels("bob"))
    with stage.locks.hold(ALICE):
        (inspect, *changes) = calls_on("jupyterlab-alice")
        assert (await stage.request(*inspect)).status == 200
        for method, target in changes:
            reply = await stage.request(method, target)
            assert (reply.status, reply.message) == (409, LOCKED_MESSAGE)
        assert fake.calls == []
        assert (await stage.request("POST", "/v1.44/containers/jupyterlab-bob/stop")).status == 204


async def test_a_stop_holds_the_lock_until_it_ends(stage: GatewayStage, fake: FakeEngine, running: Container) -> None:
    """Also when the client does not wait for it; meanwhile an inspect answers."""
    release = stage.engine.hold["stop_container"] = threading.Event()
    target = f"/v1.44/containers/{running.id}/stop"
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    await writer.drain()
    await until(lambda: bool(fake.calls))
    writer.close()
    del reader
    await asyncio.sleep(0.05)
    assert (await stage.request("POST", target)).status == 409
    assert (await stage.request("GET", f"/v1.44/containers/{running.id}/json")).status == 200
    release.set()
    await until(lambda: stage.audit.phases()[-1] == ("outcome", None))
    assert (await stage.request("POST", target)).status == 204


async def test_there_is_always_a_worker_for_a_request_that_only_reads(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many stops as there may be, none of which ends: one more is refused and may come back, an inspect answers."""
    monkeypatch.setattr(app, "CHANGES", 3)
    users = ("a", "b", "c", "d")
    containers = [fake.add_container(f"jupyterlab-{user}", labels=labels(user)) for user in users]
    async with gateway(fake, tmp_path) as stage:
        release = stage.engine.hold["stop_container"] = threading.Event()
        stops = [
            asyncio.create_task(stage.request("POST", f"/v1.44/containers/{one.id}/stop")) for one in containers[:3]
        ]
        await until(lambda: len(fake.calls) == 3)
        refused = await stage.request("POST", f"/v1.44/containers/{containers[3].id}/stop")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert (await stage.request("GET", f"/v1.44/containers/{containers[3].id}/json")).status == 200
        release.set()
        assert [(await stop).status for stop in stops] == [204] * 3
        assert (await stage.request("POST", f"/v1.44/containers/{containers[3].id}/stop")).status == 204
        assert ("denied", Reason.TOO_BUSY) in stage.audit.phases()


async def test_changes_act_on_the_id_and_leave_a_record(
    stage: GatewayStage, fake: FakeEngine, running: Container
) -> None:
    """Stop, start and remove by name: each acts on the id, between an intent and an outcome that name it."""
    for method, target in (calls_on("jupyterlab-alice")[i] for i in (2, 1, 2, 3)):
        assert (await stage.request(method, target)).status == 204
    identifier = running.id.value
    assert fake.calls == [
        ("stop_container", identifier),
        ("start_container", identifier),
        ("stop_container", identifier),
        ("remove_container", identifier),
    ]
    assert [line.entry.operation for line in stage.audit.lines if line.phase == "intent"] == [
        "stop",
        "start",
        "stop",
        "remove",
    ]
    for line in stage.audit.lines:
        assert (line.entry.username, line.entry.object, line.entry.object_id) == (
            "alice",
            "jupyterlab-alice",
            identifier,
        )
        assert (line.entry.client, line.reason) == ("gateway", None)


async def test_changes_per_minute(stage: GatewayStage, fake: FakeEngine, running: Container) -> None:
    """Above the rate a start, stop or removal is a 429 without a record or a call, for this user alone."""
    target = f"/v1.44/containers/{running.id}/start"
    statuses = [(await stage.request("POST", target)).status for _ in range(31)]
    assert statuses == [204] * 30 + [429]
    assert len(fake.calls) == 30
    other = fake.add_container("jupyterlab-bob", labels=labels(owner="bob"))
    assert (await stage.request("POST", f"/v1.44/containers/{other.id}/start")).status == 204
    stage.clock.advance(60)
    assert (await stage.request("POST", target)).status == 204


HELD = Mount("volume", "/home/jovyan", volume="jupyterlab-alice_home")
LISTED = Mount("bind", "/shared", read_only=True, source="/srv/shared")


@pytest.mark.parametrize(
    ("mount", "status"),
    [
        (HELD, 204),
        (replace(HELD, read_only=True), 204),
        (LISTED, 204),
        (Mount("volume", "/data", volume="0f" * 32), 204),  # which the image declares
        (replace(HELD, target="/home/jovyan/work"), 400),
        (replace(HELD, target="/dev"), 400),
        (replace(HELD, volume="jupyterlab-bob_home"), 400),
        (replace(LISTED, read_only=False), 400),
        (replace(LISTED, target="/home/jovyan"), 400),
        (replace(LISTED, source="/srv"), 400),
        (Mount("tmpfs", "/fast"), 400),
    ],
)
async def test_a_start_of_what_an_earlier_policy_allowed(
    fake: FakeEngine, tmp_path: Path, mount: Mount, status: int
) -> None:
    """When a kept container mounts something the policy does not list now, its start is refused, on the record."""
    spawn = replace(POLICY, host_paths=(HostPath("/srv/shared", "/shared", "ro"),))
    kept = fake.add_container("jupyterlab-alice", labels=labels(), state=ContainerState.EXITED, mounts=(mount,))
    async with gateway(fake, tmp_path, spawn=spawn) as stage:
        assert (await stage.request("POST", f"/v1.44/containers/{kept.id}/start")).status == status
        assert fake.calls == ([("start_container", kept.id.value)] if status == 204 else [])
        assert stage.audit.phases()[-1] == ("outcome", None if status == 204 else Reason.NAME_MISMATCH)


async def test_no_record_no_action(stage: GatewayStage, fake: FakeEngine, running: Container) -> None:
    """When the audit cannot be written, nothing is done."""
    stage.audit.broken = True
    reply = await stage.request("POST", f"/v1.44/containers/{running.id}/stop")
    assert reply.status == 503
    assert fake.calls == []


async def test_a_request_that_only_reads_never_waits_for_the_audit(stage: GatewayStage, running: Container) -> None:
    """When the audit's disk stalls, a stop waits for it, and an inspect is answered."""
    release = stage.audit.hold = threading.Event()
    stop = asyncio.ensure_future(stage.request("POST", f"/v1.44/containers/{running.id}/stop"))
    assert (await stage.request("GET", f"/v1.44/containers/{running.id}/json")).status == 200
    assert not stop.done()
    release.set()
    assert (await stop).status == 204
    assert stage.audit.phases() == [("intent", None), ("outcome", None)]


async def test_removing_a_running_container(stage: GatewayStage, running: Container) -> None:
    """When a running container is removed, the response is 409; force is not offered."""
    reply = await stage.request("DELETE", f"/v1.44/containers/{running.id}?v=True&link=False&force=False")
    assert reply.status == 409
    assert "stop the container before" in reply.message
    assert stage.audit.phases() == [("intent", None), ("outcome", Reason.SERVER_RUNNING)]


async def test_what_goes_away_in_between(stage: GatewayStage, fake: FakeEngine, running: Container) -> None:
    """When a container is gone by the time it is acted on, the response is 404, on the record."""
    seen = iter([running, None])
    fake.container = lambda _: next(seen)  # type: ignore[method-assign, assignment] # first there, then gone
    fake.fail_next["start_container"] = NotFound("gone")
    reply = await stage.request("POST", f"/v1.44/containers/{running.id}/start")
    assert (reply.status, reply.message) == (404, f"No such container: {running.id}")
    assert stage.audit.phases() == [("intent", None), ("outcome", Reason.CONTAINER_NOT_FOUND)]


async def test_what_a_container_needs_is_gone(stage: GatewayStage, fake: FakeEngine, running: Container) -> None:
    """When Docker does not find a container's network, the response does not say that there is no such container."""
    fake.fail_next["start_container"] = NotFound("network SECRET not found")
    reply = await stage.request("POST", f"/v1.44/containers/{running.id}/start")
    assert (reply.status, "network" in reply.message, "SECRET" in reply.text) == (404, True, False)
    assert stage.audit.phases() == [("intent", None), ("outcome", Reason.NOT_FOUND)]


async def test_a_start_that_fails(stage: GatewayStage, fake: FakeEngine, running: Container) -> None:
    """500, without what the engine said, and the lock is free again."""
    fake.fail_next["start_container"] = EngineError("OCI runtime SECRET")
    target = f"/v1.44/containers/{running.id}/start"
    reply = await stage.request("POST", target)
    assert reply.status == 500
    assert "SECRET" not in reply.text
    assert (await stage.request("POST", target)).status == 204


async def test_removing_a_container_that_is_being_removed(
    stage: GatewayStage, fake: FakeEngine, running: Container
) -> None:
    """An AutoRemove container goes by itself after a stop: 409 in Docker's words, which DockerSpawner tolerates."""
    fake.update(running, state=ContainerState.EXITED)
    fake.fail_next["remove_container"] = Conflict("SECRET")
    reply = await stage.request("DELETE", f"/v1.44/containers/{running.id}?v=True&link=False&force=False")
    assert (reply.status, reply.message) == (409, f"removal of container {running.id} is already in progress")
