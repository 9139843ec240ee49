"""Stock DockerSpawner, unmodified, on the gateway: what it sends, and that its whole cycle works."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from docker import APIClient  # noqa: TID251 - what DockerSpawner sends goes through here
from docker.errors import APIError, NotFound  # noqa: TID251 - as above
from docker.types import DeviceRequest  # noqa: TID251 - as above
from dockerspawner import DockerSpawner
from engine.attacks.options import named
from gateway_stage import POLICY, GatewayStage, gateway
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.engine.port import NotFound as PortNotFound
from jupyterhub import orm
from jupyterhub.objects import Hub
from jupyterhub.user import User
from private_engine import Workbench

SCRIPT = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
DIGEST = f"registry.invalid/lab@sha256:{'0' * 64}"
CREATE = "POST /containers/create?name=NAME"
START = ["GET /version", "GET /images/IMAGE/json", "GET /containers/NAME/json", CREATE, "POST /containers/ID/start"]


@dataclass
class Sent:
    """What was sent, ids and names replaced, and the bodies of creates."""

    lines: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def take(self) -> list[str]:
        """The lines since the last time."""
        lines, self.lines = self.lines, []
        return lines


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, bench: Workbench) -> Sent:
    """Records what docker-py sends to the gateway."""
    sent = Sent()
    original = APIClient.send

    def send(client: APIClient, request: Any, **options: Any) -> Any:
        if not threading.current_thread().name.startswith("ThreadPoolExecutor"):  # the Spawner's own
            return original(client, request, **options)
        path = re.sub(r"^/v1\.\d\d", "", request.path_url)
        path = re.sub(r"[0-9a-f]{64}", "ID", path.replace(bench.image, "IMAGE"))
        sent.lines.append(f"{request.method} {re.sub(r'jupyterlab-[a-z0-9-]+', 'NAME', path)}")
        if "/containers/create" in path:
            sent.bodies.append(json.loads(request.body))
        return original(client, request, **options)

    monkeypatch.setattr(APIClient, "send", send)
    return sent


@pytest.fixture
async def stage(bench: Workbench, engine: DockerEngine, tmp_path: Path) -> AsyncIterator[GatewayStage]:
    """A gateway in front of the private engine."""
    policy = replace(POLICY, images=(bench.image, DIGEST), publish="127.0.0.1", networks=("bridge", "hubwarden-test"))
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("shared\n")
    async with gateway(engine, tmp_path, spawn=named(policy, str(tmp_path / "shared"))) as stage:
        yield stage


Spawn = Callable[..., DockerSpawner]


@pytest.fixture
def spawn(bench: Workbench, stage: GatewayStage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spawn]:
    """Makes Spawners whose Docker is the gateway; a Hub has one client for all of them."""
    monkeypatch.setenv("DOCKER_HOST", stage.url)
    monkeypatch.setattr(DockerSpawner, "_client", None)
    session = orm.new_session_factory("sqlite:///:memory:")()

    def make(username: str = "", server_name: str = "", **options: Any) -> DockerSpawner:
        row = orm.User(name=username or bench.username())
        session.add(row)
        if server_name:
            session.add(orm.Spawner(name=server_name, user=row))
        session.commit()
        spawner = User(row)._new_spawner(
            server_name,
            spawner_class=DockerSpawner,
            hub=Hub(),
            **{
                "image": bench.image,
                "prefix": "jupyterlab",
                "cmd": SCRIPT,
                "volumes": {"jupyterlab-{username}_home": "/home/jovyan"},
                **options,
            },
        )
        spawner.api_token = "token-of-the-server"
        bench.forget_volume(f"jupyterlab-{spawner.escaped_name}_home")
        bench.forget_container(spawner.container_name)
        return spawner

    yield make
    if DockerSpawner._client is not None:
        DockerSpawner._client.close()
    session.close()
    session.get_bind().dispose()


@pytest.mark.parametrize("username", ["", "john.doe-x", "Ana@Example.org", "木村"])
async def test_a_cycle_that_keeps_the_container(spawn: Spawn, sent: Sent, bench: Workbench, username: str) -> None:
    """`remove = False`: start, poll, stop, start again the same container with its own token, stop."""
    spawner = spawn(username)
    ip, port = await spawner.start()
    assert (ip, port) == ("127.0.0.1", _published(bench, spawner))
    assert sent.take() == [*START, "GET /containers/ID/json"]
    assert await spawner.poll() is None
    first = spawner.object_id
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


async def test_every_option_that_the_policy_names(spawn: Spawn, bench: Workbench, tmp_path: Path) -> None:
    """`extra_create_kwargs`, `extra_host_config` and mounts of each kind, as a Hub's configuration has them."""
    spawner = spawn(
        extra_create_kwargs={
            "user": "1000:100",
            "hostname": "lab",
            "working_dir": "/tmp",
            "entrypoint": ["/bin/sh", "-c"],
            "healthcheck": {"test": ["CMD", "true"], "interval": 10**9},
        },
        extra_host_config={
            "shm_size": "128m",
            "ulimits": [{"name": "nofile", "soft": 1024, "hard": 2048}],
            "restart_policy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "log_config": {"type": "json-file", "config": {"max-size": "10m", "max-file": "3"}},
        },
        read_only_volumes={str(tmp_path / "shared"): "/shared"},
        mounts=[{"type": "tmpfs", "source": "", "target": "/fast", "tmpfs_size": "1m", "tmpfs_mode": 0o1777}],
    )
    spawner.cmd = [f"[ $(cat /shared/file) = shared ] && {SCRIPT[-1]}"]
    await spawner.start()
    container = bench.client.containers.get(spawner.container_name)
    assert await spawner.poll() is None
    where = "id -u; id -g; hostname; pwd; ulimit -n; df -m /dev/shm /fast | tail -n 2; touch /shared/x || echo refused"
    status, raw = container.exec_run(["/bin/sh", "-c", where])
    output = raw.decode() if isinstance(raw, bytes) else ""
    assert (status, output.split()[:5]) == (0, ["1000", "100", "lab", "/tmp", "1024"])
    assert "refused" in output
    rows = [line.split() for line in output.splitlines() if line.endswith(("shm", "fast"))]
    sizes = {row[-1]: row[1] for row in rows}
    assert sizes == {"/dev/shm": "128", "/fast": "1"}
    host = container.attrs["HostConfig"]
    assert (host["RestartPolicy"]["Name"], host["LogConfig"]["Config"]["max-size"]) == ("on-failure", "10m")
    assert container.attrs["State"]["Health"]
    await spawner.stop()


@pytest.mark.parametrize(
    ("options", "named_field"),
    [
        ({"extra_create_kwargs": {"user": "root"}}, "User .*spawn.users"),
        ({"extra_host_config": {"privileged": True}}, "Privileged"),
        ({"extra_host_config": {"shm_size": "64g"}}, "ShmSize .*spawn.shm_sizes"),
        ({"extra_host_config": {"device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])]}}, "spawn.device"),
        ({"extra_host_config": {"cap_add": ["SYS_ADMIN"]}}, "CapAdd"),
        ({"extra_host_config": {"network_mode": "host"}, "use_internal_ip": True}, "NetworkMode"),
        ({"links": {"hub": "hub"}}, "Links .*spawn.networks"),
        ({"volumes": {"/": "/host"}}, "Binds .*spawn.host_paths"),
        ({"volumes": {"jupyterlab-victim_home": "/home/jovyan"}}, "Binds .*spawn.volumes"),
        ({"mem_limit": "100G"}, "Memory .*spawn.max_memory"),
        ({"cpu_limit": 64}, "CpuQuota .*spawn.max_cpus"),
        ({"network_name": "hub-internal"}, "NetworkMode .*spawn.networks"),
        ({"image": "attacker/image:1", "pull_policy": "skip"}, "Image .*spawn.images"),
    ],
)
async def test_an_option_that_the_policy_does_not_name(spawn: Spawn, options: dict[str, Any], named_field: str) -> None:
    """The Hub's log has docker-py's error, with the field and the key; nothing was made."""
    spawner = spawn(**options)
    with pytest.raises(APIError, match=named_field) as refused:
        await spawner.start()
    assert refused.value.status_code == 400
    assert await spawner.get_object() is None


async def test_a_device_request_that_the_policy_names(spawn: Spawn, bench: Workbench) -> None:
    """It reaches the engine as it was asked for; whether there is such a device is the engine's to say."""
    spawner = spawn(extra_host_config={"device_requests": [DeviceRequest(count=1, capabilities=[["gpu"]])]})
    with pytest.raises(APIError, match="hubwarden"):  # this engine has none
        await spawner.start()
    (request,) = bench.client.containers.get(spawner.container_name).attrs["HostConfig"]["DeviceRequests"]
    assert (request["Count"], request["Capabilities"]) == (1, [["gpu"]])


async def test_a_command_after_the_start(spawn: Spawn, sent: Sent, stage: GatewayStage) -> None:
    """`post_start_cmd`: DockerSpawner waits for it, and it is on the record."""
    spawner = spawn(post_start_cmd="true")
    await spawner.start()
    assert [line for line in sent.take() if "exec" in line] == [
        "POST /containers/ID/exec",
        "POST /exec/ID/start",
    ]
    assert [line.entry.operation for line in stage.audit.lines if line.phase == "outcome"] == [
        "create",
        "start",
        "exec",
    ]
    await spawner.stop()
    another = spawn(post_start_cmd="touch /tmp/x")
    with pytest.raises(APIError, match=r"spawn\.exec"):
        await another.start()
    await another.stop()


async def test_an_exec_that_somebody_else_made(spawn: Spawn, stage: GatewayStage, bench: Workbench) -> None:
    """Its id, if it became known, starts nothing through the gateway: tickets are the gateway's own."""
    spawner = spawn()
    await spawner.start()
    theirs = bench.client.api.exec_create(spawner.container_id, ["touch", "/theirs"], privileged=True)["Id"]
    reply = await stage.request(
        "POST", f"/v1.44/exec/{theirs}/start", b'{"Tty":false,"Detach":false}', {"Content-Type": "application/json"}
    )
    assert reply.status == 404
    assert not bench.client.api.exec_inspect(theirs)["Running"]
    assert bench.client.containers.get(spawner.container_name).exec_run(["ls", "/theirs"]).exit_code != 0
    await spawner.stop()


@pytest.mark.parametrize("policy", ["always", "ifnotpresent"])
async def test_images_are_pulled_by_tag_and_digest(
    spawn: Spawn, sent: Sent, stage: GatewayStage, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """`pull_policy`: the engine is asked for the policy's own spelling. Here it has no registry, so the start fails."""
    pulled: list[str] = []

    async def pull(reference: str) -> None:
        pulled.append(reference)
        raise PortNotFound("there is no registry")

    monkeypatch.setattr(stage.engine, "pull_image", pull)
    with pytest.raises(NotFound):
        await spawn(image=DIGEST, pull_policy=policy).start()
    assert pulled == [DIGEST]
    assert "POST /images/create" in " ".join(sent.take())
    with pytest.raises(NotFound, match=r"spawn\.images"):
        await spawn(image="attacker/image:1", pull_policy=policy).start()
    assert pulled == [DIGEST]


async def test_an_image_from_the_options_form(spawn: Spawn, bench: Workbench) -> None:
    """`allowed_images` is the Hub's choice among what the policy lists; what the Hub allows beyond it is refused."""
    spawner = spawn(allowed_images={"ours": bench.image, "theirs": "attacker/image:1"})
    assert "theirs" in spawner.options_form
    spawner.user_options = spawner.options_from_form({"image": ["theirs"]})
    with pytest.raises(NotFound, match=r"spawn\.images"):
        await spawner.start()
    spawner.user_options = spawner.options_from_form({"image": ["ours"]})
    await spawner.start()
    await spawner.stop()


async def test_internal_ssl_is_not_available(spawn: Spawn, sent: Sent, tmp_path: Path) -> None:
    """It would need archives written into containers and volumes made by name: refused, see decision 0013."""
    (tmp_path / "key.pem").write_text("key")
    spawner = spawn(move_certs_image="busybox:1.30.1")
    with pytest.raises(NotFound, match=r"spawn\.images"):
        await spawner.move_certs({"keyfile": str(tmp_path / "key.pem")})
    spawner.pull_policy = "skip"
    with pytest.raises(APIError, match="endpoint") as refused:
        await spawner.move_certs({"keyfile": str(tmp_path / "key.pem")})
    assert refused.value.status_code == 403
    assert sent.take()[-1] == "POST /volumes/create"


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
    spawn: Spawn, stage: GatewayStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the engine does, DockerSpawner must not be told that its container is gone: poll raises instead."""
    spawner = spawn()
    await spawner.start()

    async def fail(_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(stage.engine, "container", fail)
    with pytest.raises(Exception, match="503"):
        await spawner.poll()
    monkeypatch.undo()
    assert spawner.object_id


async def _gone(bench: Workbench, identifier: str) -> None:
    """Docker removes an AutoRemove container in its own time, behind the answer to a stop."""
    for _ in range(100):
        try:
            bench.client.containers.get(identifier)
        except NotFound:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the container is still there")


def _published(bench: Workbench, spawner: DockerSpawner) -> int:
    ports = bench.client.containers.get(spawner.container_name).attrs["NetworkSettings"]["Ports"]
    return int(ports[f"{spawner.port}/tcp"][0]["HostPort"])
