"""DockerSpawner's options on the gateway: what the policy names works, and what it does not is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, NotFound  # noqa: TID251 - what DockerSpawner gets
from docker.types import DeviceRequest  # noqa: TID251 - what its configuration holds
from hubwarden_agent.engine.port import NotFound as PortNotFound
from support.agent.gateway import GatewayStage
from support.docker.private_engine import Workbench
from support.scenarios.spawning import DIGEST, SCRIPT, Sent, Spawn


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
    where = "id -u; id -g; hostname; pwd; ulimit -n; df -m /dev/shm /fast | tail -n 2; touch /shared/x 2>&1 || true"
    status, raw = container.exec_run(["/bin/sh", "-c", where])
    output = raw.decode() if isinstance(raw, bytes) else ""
    assert (status, output.split()[:5]) == (0, ["1000", "100", "lab", "/tmp", "1024"])
    assert "Read-only file system" in output
    rows = [line.split() for line in output.splitlines() if line.endswith(("shm", "fast"))]
    sizes = {row[-1]: row[1] for row in rows}
    assert sizes == {"/dev/shm": "128", "/fast": "1"}
    host = container.attrs["HostConfig"]
    assert (host["RestartPolicy"]["Name"], host["LogConfig"]["Config"]["max-size"]) == ("on-failure", "10m")
    assert container.attrs["State"]["Health"]
    await spawner.stop()


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"extra_create_kwargs": {"user": "root"}}, "User .*spawn.allow"),
    ({"extra_host_config": {"privileged": True}}, "Privileged"),
    ({"extra_host_config": {"shm_size": "64g"}}, "ShmSize .*spawn.allow"),
    (
        {"extra_host_config": {"device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])]}},
        "DeviceRequests .*spawn.allow",
    ),
    ({"extra_host_config": {"cap_add": ["SYS_ADMIN"]}}, "CapAdd"),
    ({"extra_host_config": {"network_mode": "host"}, "use_internal_ip": True}, "NetworkMode"),
    ({"links": {"hub": "hub"}}, "Links .*spawn.networks"),
    ({"volumes": {"/": "/host"}}, "Binds .*spawn.host_paths"),
    ({"volumes": {"jupyterlab-victim_home": "/home/jovyan"}}, "Binds .*spawn.volumes"),
    ({"mem_limit": "100G"}, "Memory .*spawn.max_memory"),
    ({"cpu_limit": 64}, "CpuQuota .*spawn.max_cpus"),
    ({"network_name": "hub-internal"}, "NetworkMode .*spawn.networks"),
    ({"image": "attacker/image:1", "pull_policy": "skip"}, "Image .*spawn.images"),
)


async def test_options_that_the_policy_does_not_name(spawn: Spawn) -> None:
    """The Hub's log has docker-py's error, with the field and the key; nothing was made."""
    for options, field in REFUSED:
        spawner = spawn(**options)
        with pytest.raises(APIError, match=field) as refused:
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


async def test_a_command_after_the_start(spawn: Spawn, sent: Sent, spawn_stage: GatewayStage) -> None:
    """`post_start_cmd`: DockerSpawner waits for it, and it is on the record."""
    spawner = spawn(post_start_cmd="true")
    await spawner.start()
    assert [line for line in sent.take() if "exec" in line] == [
        "POST /containers/ID/exec",
        "POST /exec/ID/start",
    ]
    assert [line.entry.operation for line in spawn_stage.audit.lines if line.phase == "outcome"] == [
        "create",
        "start",
        "exec",
    ]
    await spawner.stop()
    another = spawn(post_start_cmd="touch /tmp/x")
    with pytest.raises(APIError, match=r"spawn\.exec"):
        await another.start()
    await another.stop()


async def test_an_exec_that_somebody_else_made(spawn: Spawn, spawn_stage: GatewayStage, bench: Workbench) -> None:
    """Its id, if it became known, starts nothing through the gateway: tickets are the gateway's own."""
    spawner = spawn()
    await spawner.start()
    theirs = bench.client.api.exec_create(spawner.container_id, ["touch", "/theirs"], privileged=True)["Id"]
    reply = await spawn_stage.request(
        "POST", f"/v1.44/exec/{theirs}/start", b'{"Tty":false,"Detach":false}', {"Content-Type": "application/json"}
    )
    assert reply.status == 404
    assert not bench.client.api.exec_inspect(theirs)["Running"]
    assert bench.client.containers.get(spawner.container_name).exec_run(["ls", "/theirs"]).exit_code != 0
    await spawner.stop()


@pytest.mark.parametrize("policy", ["always", "ifnotpresent"])
async def test_images_are_pulled_by_tag_and_digest(
    spawn: Spawn, sent: Sent, spawn_stage: GatewayStage, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """When `pull_policy` asks for it, a listed image that is not there is pulled; here no registry has it."""
    pulled: list[str] = []

    def pull(reference: str) -> None:
        pulled.append(reference)
        raise PortNotFound("there is no registry")

    monkeypatch.setattr(spawn_stage.engine, "pull_image", pull)
    with pytest.raises(NotFound):
        await spawn(image=DIGEST, pull_policy=policy).start()
    assert pulled == [DIGEST]
    assert "POST /images/create" in " ".join(sent.take())
    with pytest.raises(APIError, match=r"spawn\.(pull|images)"):
        await spawn(image="attacker/image:1", pull_policy=policy).start()
    assert pulled == [DIGEST]


async def test_an_image_from_the_options_form(spawn: Spawn, bench: Workbench) -> None:
    """`allowed_images` is the Hub's choice among what the policy lists; what the Hub allows beyond it is refused."""
    spawner = spawn(allowed_images={"ours": bench.image, "theirs": "attacker/image:1"})
    assert "theirs" in spawner.options_form
    spawner.user_options = spawner.options_from_form({"image": ["theirs"]})
    with pytest.raises(APIError, match=r"spawn\.images"):
        await spawner.start()
    spawner.user_options = spawner.options_from_form({"image": ["ours"]})
    await spawner.start()
    await spawner.stop()


async def test_internal_ssl_is_not_available(spawn: Spawn, sent: Sent, tmp_path: Path) -> None:
    """It would need archives written into containers and volumes made by name: refused, see decision 0013."""
    (tmp_path / "key.pem").write_text("key")
    spawner = spawn(move_certs_image="busybox:1.30.1")
    with pytest.raises(APIError, match=r"spawn\.images"):
        await spawner.move_certs({"keyfile": str(tmp_path / "key.pem")})
    spawner.pull_policy = "skip"
    with pytest.raises(APIError, match="endpoint") as refused:
        await spawner.move_certs({"keyfile": str(tmp_path / "key.pem")})
    assert refused.value.status_code == 403
    assert sent.take()[-1] == "POST /volumes/create"
