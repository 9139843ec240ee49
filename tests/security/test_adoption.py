"""`spawn.adopt = "by-name"` on the real engine: what looks like a user's server, and what it has beside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker.types import LogConfig, Ulimit  # noqa: TID251 - what an old Hub or a person asked the engine for
from hubwarden_agent.engine.docker_engine import DockerEngine
from support.agent.gateway import POLICY, GatewayStage, gateway
from support.docker.private_engine import Workbench


class Old:
    """A user's server as it was made through the raw socket, with whatever a test adds to it."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.user = bench.username()
        self.name = f"jupyterlab-{self.user}"
        self.home = f"{self.name}_home"
        bench.forget_volume(self.home)
        bench.forget_volume("hubwarden-test-others")

    def made(self, **options: Any) -> Any:
        """Made as docker-py and DockerSpawner do, not started."""
        mounts = {self.home: "/home/jovyan", **options.pop("more_mounts", {})}
        environment = {"JUPYTERHUB_USER": self.user, "JUPYTERHUB_SERVER_NAME": "", "JUPYTERHUB_API_TOKEN": "secret"}
        given = {"environment": environment, "network_mode": "bridge", "mem_limit": "64m", **options}
        return self._bench.container(self.name, mounts=mounts, start=False, **given)


@pytest.fixture
def old(bench: Workbench) -> Old:
    """A user whom nobody knows yet."""
    return Old(bench)


@pytest.fixture
async def stage(bench: Workbench, engine: DockerEngine, tmp_path: Path) -> AsyncIterator[GatewayStage]:
    """A gateway that adopts."""
    policy = replace(POLICY, images=(bench.image,), publish="127.0.0.1", adopt="by-name")
    async with gateway(engine, tmp_path, spawn=policy) as stage:
        yield stage


ROOT_OF_THE_HOST: dict[str, dict[str, Any]] = {
    "privileged": {"privileged": True},
    "a capability": {"cap_add": ["SYS_ADMIN"]},
    "a device": {"devices": ["/dev/null:/dev/x:rwm"]},
    "a device rule": {"device_cgroup_rules": ["a *:* rwm"]},
    "the host's processes": {"pid_mode": "host"},
    "the host's messages": {"ipc_mode": "host"},
    "the host's name": {"uts_mode": "host"},
    "the host's users": {"userns_mode": "host"},
    "the host's network": {"network_mode": "host"},
    "no profile": {"security_opt": ["seccomp=unconfined"]},
    "no AppArmor": {"security_opt": ["no-new-privileges", "apparmor=unconfined"]},
    "a kernel setting": {"sysctls": {"net.ipv4.ip_forward": "1"}},
    "a folder of the host": {"more_mounts": {"/srv": "/srv"}},
    "somebody's volume": {"more_mounts": {"hubwarden-test-others": "/x"}},
    "a group of the host": {"group_add": ["0"]},
    "another cgroup": {"cgroup_parent": "/hubwarden-test"},
    "not to be killed": {"oom_score_adj": -500},
    "a limit lifted": {"ulimits": [Ulimit(name="nofile", soft=10**6, hard=10**6)]},
    "started by the engine": {"restart_policy": {"Name": "always"}},
    "published for everybody": {"ports": {"8888/tcp": None}},
    "another host's names": {"extra_hosts": {"hub": "10.0.0.1"}},
    "another user": {"environment": {"JUPYTERHUB_USER": "somebody", "JUPYTERHUB_SERVER_NAME": ""}},
    "no user": {"environment": {}},
    "a label of ours": {"labels": {"hubwarden.owner": "somebody"}},
}


@pytest.mark.parametrize("what", ROOT_OF_THE_HOST)
async def test_what_the_gateway_would_not_create_is_not_adopted(stage: GatewayStage, old: Old, what: str) -> None:
    """A name, a user and a home that are right do not help: it does not exist, and is not started."""
    made = old.made(**ROOT_OF_THE_HOST[what])
    for method, suffix in (("GET", "/json"), ("POST", "/start"), ("POST", "/stop"), ("DELETE", "?v=True")):
        for reference in (old.name, made.id):
            assert (await stage.request(method, f"/v1.44/containers/{reference}{suffix}")).status == 404
    made.reload()
    assert made.status == "created"


UNHARMED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "with limits": {"cpu_period": 100_000, "cpu_quota": 50_000, "pids_limit": 100, "mem_reservation": "32m"},
    "without limits": {"mem_limit": 0},
    "published as the policy says": {"ports": {"8888/tcp": ("127.0.0.1", None)}},
    "with labels and a log of its own": {"labels": {"team": "x"}, "log_config": LogConfig(config={"max-size": "1m"})},
    "without new privileges": {"security_opt": ["no-new-privileges"]},
}


@pytest.mark.parametrize("what", UNHARMED)
async def test_the_twins(stage: GatewayStage, old: Old, what: str) -> None:
    """What Docker's inspect of an ordinary server holds does not stand in the way, from a start to a stop."""
    made = old.made(**UNHARMED[what])
    for state in ("created", "running"):
        shown = await stage.request("GET", f"/v1.44/containers/{old.name}/json")
        assert (shown.status, shown.json["Id"], shown.json["State"]["Status"]) == (200, made.id, state)
        assert (await stage.request("POST", f"/v1.44/containers/{made.id}/start")).status == 204
    assert (await stage.request("POST", f"/v1.44/containers/{made.id}/stop")).status == 204


@pytest.mark.parametrize("key", ["MaskedPaths", "ReadonlyPaths"])
async def test_the_kernels_own_paths(stage: GatewayStage, bench: Workbench, old: Old, key: str) -> None:
    """Laid open by an empty list, which looks like nothing that anybody asked for."""
    api = bench.client.api
    host = api.create_host_config(network_mode="bridge")
    bench.forget_container(old.name)
    bodies = ((host, 200), ({**host, key: []}, 404))
    for asked, status in bodies:
        body = {"Image": bench.image, "Env": [f"JUPYTERHUB_USER={old.user}"], "HostConfig": asked}
        made = api.create_container_from_config(body, old.name)
        assert (await stage.request("GET", f"/v1.44/containers/{old.name}/json")).status == status
        api.remove_container(made["Id"])


async def test_a_second_network(stage: GatewayStage, bench: Workbench, old: Old) -> None:
    """Connected to another network after its create, it reaches more than the policy lets a server reach."""
    made = old.made()
    assert (await stage.request("GET", f"/v1.44/containers/{old.name}/json")).status == 200
    network = bench.client.networks.create(f"hubwarden-test-{old.user}")
    try:
        network.connect(made)
        assert (await stage.request("GET", f"/v1.44/containers/{old.name}/json")).status == 404
        network.disconnect(made)
    finally:
        network.remove()


async def test_a_home_that_is_a_folder_of_the_host(
    stage: GatewayStage, bench: Workbench, old: Old, tmp_path: Path
) -> None:
    """By its name the user's own volume; by its options any folder."""
    bench.volume(old.home, driver_opts={"type": "none", "o": "bind", "device": str(tmp_path)})
    old.made()
    assert (await stage.request("GET", f"/v1.44/containers/{old.name}/json")).status == 404
