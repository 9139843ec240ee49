"""The same create through the gateway and straight to the engine: what comes of both differs only where it has to.

The bodies are docker-py's own, for combinations of what DockerSpawner sets that are dealt from a seed. `DIFFERENCES` is
the closed list: a path that is not in it, or a difference there of another kind, fails.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import pytest
from docker import APIClient  # noqa: TID251 - the client whose bodies these are
from docker.types import Mount as DockerMount  # noqa: TID251 - the client whose bodies these are
from support.agent.gateway import POLICY
from support.scenarios.attacks.case import create, replaced
from support.scenarios.attacks.harness import AttackHarness

HOME, WORKSPACE = "jupyterlab-@user@_home", "jupyterlab-@user@_workspace"
SHARES, COMBINATIONS = 3, 240
IDENTITY = {"JUPYTERHUB_USER": "@user@", "JUPYTERHUB_SERVER_NAME": "", "JUPYTERHUB_API_TOKEN": "secret"}

CONFIG: Mapping[str, tuple[Any, ...]] = {
    "command": (["sh", "-c", "sleep 60"], "sleep 60", ["sleep", "6 0", ""]),
    "environment": ({}, {"A": "b"}, {"EMPTY": "", "SPACE": "a b=c"}, {"UNSET": None, "LETTERS": "木村"}),
    "ports": ({"8888/tcp": None}, {"8888/tcp": None, "9000/udp": None}, None),
    "labels": (None, {"team": "physics"}),
    "user": (None, "1000:100"),
    "hostname": (None, "lab"),
    "working_dir": (None, "/tmp"),
    "entrypoint": (None, ["/bin/sh", "-c"], "/bin/sh -c"),
    "healthcheck": (None, {"test": ["CMD", "true"], "interval": 10**9}),
}
"""Arguments of docker-py's `create_container`."""

HOST: Mapping[str, tuple[Any, ...]] = {
    "mem_limit": (None, 0, "64m", "1g", 7_000_001),
    "cpu": (None, (100_000, 50_000), (50_000, 100_000), (100_000, 200_000)),
    "pids_limit": (None, 100, 512),
    "auto_remove": (None, False, True),
    "binds": (
        {},
        {HOME: {"bind": "/home/jovyan", "mode": "rw"}},
        {HOME: {"bind": "/home/jovyan", "mode": "ro"}},
        {HOME: {"bind": "/home/jovyan", "mode": "rw"}, WORKSPACE: {"bind": "/workspace", "mode": "ro"}},
        {HOME: {"bind": "/home/jovyan", "mode": "rw"}, "@folder@": {"bind": "/shared", "mode": "ro"}},
    ),
    "mounts": (
        [],
        [DockerMount("/workspace", WORKSPACE)],
        [DockerMount("/workspace", WORKSPACE, read_only=True)],
        [DockerMount("/fast", "", type="tmpfs", tmpfs_size="1m", tmpfs_mode=0o1777)],
        [DockerMount("/shared", "@folder@", type="bind", read_only=True)],
        [DockerMount("/shared", "@folder@", type="bind", read_only=True, propagation="rprivate")],
    ),
    "shm_size": (None, "128m", 128 * 1024**2),
    "ulimits": (
        None,
        [],
        [{"name": "nofile", "soft": 1024, "hard": 2048}],
        [{"Name": "memlock", "Soft": -1, "Hard": -1}],
    ),
    "restart_policy": (None, {"Name": "on-failure", "MaximumRetryCount": 3}),
    "log_config": (None, {"type": "json-file", "config": {"max-size": "10m", "max-file": "3"}}),
    "device_requests": (None, [{"count": 1, "capabilities": [["gpu"]]}]),
    "port_bindings": (None, {8888: ("127.0.0.1",)}),
    "links": ({}, None),
}
"""Arguments of docker-py's `create_host_config`; `cpu` is period and quota."""

Differs = Callable[[Any, Any], bool]


def _any(_direct: object, _through: object) -> bool:
    return True


def _never(_direct: object, _through: object) -> bool:
    return False


def _limit(maximum: int) -> Differs:
    """The policy's maximum where nothing was asked for; and what was asked for otherwise."""
    return lambda direct, through: not direct and through == maximum


DIFFERENCES: Mapping[str, Differs] = {
    # Of one container and no other.
    **dict.fromkeys(("Id", "Created", "GraphDriver.Data.LowerDir", "GraphDriver.Data.MergedDir"), _any),
    **dict.fromkeys(("GraphDriver.Data.UpperDir", "GraphDriver.Data.WorkDir"), _any),
    "Config.Hostname": lambda direct, through: "lab" not in (direct, through),
    # Ours: whose it is, and what every container gets.
    "Config.Labels.hubwarden.owner": lambda direct, through: direct is None and through.startswith("user"),
    "Config.Labels.hubwarden.server": lambda direct, through: (direct, through) == (None, ""),
    "Config.Labels.hubwarden.agent": lambda direct, through: (direct, through) == (None, "jupyterlab-{username}"),
    "HostConfig.SecurityOpt": lambda direct, through: (direct, through) == (None, ["no-new-privileges"]),
    # The policy's limits.
    "HostConfig.Memory": _limit(POLICY.max_memory),
    "HostConfig.MemorySwap": lambda direct, through: direct in (0, 2 * through) or direct == -1,
    "HostConfig.PidsLimit": _limit(POLICY.max_pids),
    "HostConfig.CpuPeriod": lambda direct, through: direct in (0, 50_000) and through == 100_000,
    "HostConfig.CpuQuota": lambda direct, through: (direct, through) in ((0, 200_000), (100_000, 200_000)),
    # The same volumes at the same places (`Mounts` is compared as it is), asked for in one way only.
    "HostConfig.Binds": lambda direct, through: bool(direct) != bool(through) or not direct,
    "HostConfig.Mounts": _any,
    "Config.Volumes": lambda direct, through: direct and through is None,
    # Nobody attaches.
    "Config.AttachStdout": lambda direct, through: (direct, through) == (True, False),
    "Config.AttachStderr": lambda direct, through: (direct, through) == (True, False),
    # Empty in another way.
    "HostConfig.PortBindings": lambda direct, through: not direct and not through,
    "HostConfig.Ulimits": lambda direct, through: not direct and not through,
    "HostConfig.Links": lambda direct, through: not direct and not through,
}


def dealt() -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The combinations: first each value of each option beside defaults, then whole hands from a seed."""
    random = Random(1960)  # noqa: S311 - dealing, not hiding
    first = ({key: values[0] for key, values in CONFIG.items()}, {key: values[0] for key, values in HOST.items()})
    yield first
    for index, table in enumerate((CONFIG, HOST)):
        for key, values in table.items():
            for value in values[1:]:
                hand = [dict(first[0]), dict(first[1])]
                hand[index][key] = value
                yield hand[0], hand[1]
    while True:
        hand = [{key: random.choice(values) for key, values in table.items()} for table in (CONFIG, HOST)]
        if hand[1]["restart_policy"]:  # which Docker refuses beside it
            hand[1]["auto_remove"] = None
        if any(mount["Source"] in hand[1]["binds"] for mount in hand[1]["mounts"]):  # each has one target
            hand[1]["mounts"] = []
        yield hand[0], hand[1]


HANDS = [hand for hand, _ in zip(dealt(), range(COMBINATIONS), strict=False)]
SINGLE = 1 + sum(len(values) - 1 for table in (CONFIG, HOST) for values in table.values())
"""How many of them come before the whole hands."""


@pytest.mark.parametrize("share", range(SHARES))
async def test_what_comes_of_one_option(ground: AttackHarness, share: int) -> None:
    """When one option has another value than the default, it arrives as it was sent, and nothing else changes."""
    await _compare(ground, HANDS[:SINGLE][share::SHARES])


@pytest.mark.full
@pytest.mark.slow("makes 65 containers twice")
@pytest.mark.parametrize("share", range(SHARES))
async def test_what_comes_of_a_create(ground: AttackHarness, share: int) -> None:
    """When options are combined, none is lost or changed on its way, and nothing that nobody asked for comes in."""
    await _compare(ground, HANDS[SINGLE:][share::SHARES])


async def _compare(ground: AttackHarness, hands: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
    """Make each container through the gateway and at the engine itself, and compare what the engine shows of both."""
    api = await asyncio.to_thread(APIClient, ground.stage.url, version="1.44")
    seen: set[str] = set()
    for config, host in hands:
        body = replaced(json.dumps(_body(api, ground.tokens["image"], config, host)).encode(), ground.tokens)
        through = await _made(ground, body, by_gateway=True)
        direct = await _made(ground, body, by_gateway=False)
        found = _differences(direct, through)
        wrong = {path: pair for path, pair in found.items() if not DIFFERENCES.get(path, _never)(*pair)}
        assert wrong == {}, f"{config} {host}"
        seen |= set(found)
    assert {"Id", "HostConfig.SecurityOpt", "Config.Labels.hubwarden.owner"} <= seen
    api.close()


def _body(api: APIClient, image: str, config: Mapping[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: value for key, value in host.items() if key != "cpu" and value is not None}
    if host["cpu"]:
        options |= {"cpu_period": host["cpu"][0], "cpu_quota": host["cpu"][1]}
    given = dict(config) | {"environment": {**IDENTITY, **config["environment"]}}
    targets = [bind["bind"] for bind in host["binds"].values()]
    made = api.create_container_config(
        image, host_config=api.create_host_config(network_mode="bridge", **options), volumes=targets or None, **given
    )
    return {key: value for key, value in made.items() if value is not None}  # as docker-py sends it


async def _made(ground: AttackHarness, body: bytes, *, by_gateway: bool) -> dict[str, Any]:
    """What the engine shows of the container that comes of the body, before it is removed again."""
    data = create(body).encoded(ground.tokens)
    if by_gateway:
        reply = await ground.stage.raw(data)
        status, document = reply.status, reply.json
    else:
        status, document = await ground.engine(data)
    assert status == 201, f"{document} for {body!r}"
    _, shown = await ground.ask("GET", f"/containers/{document['Id']}/json")
    await ground.ask("DELETE", f"/containers/{document['Id']}?force=1")
    return dict(shown)


def _differences(direct: Any, through: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Paths at which the two differ. Mounts are a set, and an array is compared as a whole."""
    if isinstance(direct, dict) and isinstance(through, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in {*direct, *through}:
            found |= _differences(direct.get(key), through.get(key), f"{path}.{key}" if path else key)
        return found
    if path == "Mounts":
        direct, through = (
            {json.dumps(_shown_mount(one), sort_keys=True) for one in side} for side in (direct, through)
        )
    if path == "Config.Env":
        direct, through = sorted(direct), sorted(through)
    return {path: (direct, through)} if direct != through else {}


def _shown_mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    """`Mode` only repeats how a mount was asked for (`rw`, `z`); `RW` is what holds."""
    return {key: value for key, value in mount.items() if key != "Mode"}
