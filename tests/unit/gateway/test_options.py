"""Options that the policy lists by value: the very same value, or a refusal that names the field and the key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hubwarden_agent.engine import docker_json
from hubwarden_agent.engine.options import (
    DeviceRequest,
    HealthCheck,
    LogConfig,
    Options,
    RestartPolicy,
    Tmpfs,
    Ulimit,
)
from hubwarden_agent.engine.port import EngineError, Mount
from hubwarden_agent.gateway.create_body import decode
from hubwarden_agent.gateway.policy import plan
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.host_paths import HostPath
from hubwarden_agent.names import ContainerName, Names, Templates
from hubwarden_agent.spawn_policy import SpawnPolicy
from support.agent.gateway import POLICY, spawner_body

NAMES = Names(Templates())
NAMED = replace(
    POLICY,
    host_paths=(
        HostPath("/srv/shared", "/data", read_only=True),
        HostPath("/srv/scratch", "/scratch", read_only=False),
    ),
    tmpfs=(Tmpfs("/fast", 1024**3, 0o1777), Tmpfs("/plain", 1024**2)),
    users=("1000:100",),
    hostnames=("lab",),
    working_dirs=("/home/jovyan",),
    entrypoints=(("tini", "--"),),
    healthchecks=(HealthCheck(("CMD", "true"), interval=10**9),),
    shm_sizes=(1024**3,),
    ulimits=(Ulimit("nofile", 1024, 2048), Ulimit("memlock", -1, -1)),
    restart_policies=(RestartPolicy("on-failure", 3),),
    log_configs=(LogConfig("json-file", (("max-file", "3"), ("max-size", "10m"))),),
    device_requests=(DeviceRequest(count=1, capabilities=(("gpu",),)),),
)
GPU = {"Driver": "", "Count": 1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
LIMIT = {"Name": "nofile", "Soft": 1024, "Hard": 2048}
LOG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
HEALTH = {"Test": ["CMD", "true"], "Interval": 10**9, "Timeout": None, "Retries": None, "StartPeriod": None}

# field -> key, a value that the policy above lists, and what becomes of it, values beside it
TOP: dict[str, tuple[str, Any, list[Any]]] = {
    "User": ("users", "1000:100", ["0", "root", "1000", "1000:0", "1000:100 "]),
    "Hostname": ("hostnames", "lab", ["hub", "Lab", "lab."]),
    "WorkingDir": ("working_dirs", "/home/jovyan", ["/home", "/proc/self/fd/8", "/home/jovyan/x"]),
    "Entrypoint": ("entrypoints", ["tini", "--"], [["tini"], ["--", "tini"], ["tini", "--", "sh"], ["sh"]]),
    "Healthcheck": (
        "healthchecks",
        HEALTH,
        [
            HEALTH | {"Interval": 1},
            HEALTH | {"Test": ["CMD", "sh"]},
            {"Test": ["CMD", "true"]},
            HEALTH | {"Retries": 1},
        ],
    ),
}
HOST: dict[str, tuple[str, Any, list[Any]]] = {
    "ShmSize": ("shm_sizes", 1024**3, [1024**3 + 1, 1, 2**60]),
    "Ulimits": (
        "ulimits",
        [LIMIT],
        [
            [LIMIT | {"Hard": -1}],
            [LIMIT | {"Name": "nproc"}],
            [{"Name": "nofile", "Soft": 1024}],
            [LIMIT, LIMIT | {"Soft": 1}],
        ],
    ),
    "RestartPolicy": (
        "restart_policies",
        {"Name": "on-failure", "MaximumRetryCount": 3},
        [{"Name": "always"}, {"Name": "on-failure"}, {"Name": "unless-stopped", "MaximumRetryCount": 3}],
    ),
    "LogConfig": (
        "log_configs",
        LOG,
        [
            {"Type": "json-file"},
            LOG | {"Type": "syslog"},
            LOG | {"Config": {"max-size": "10m", "max-file": "3", "tag": "x"}},
            LOG | {"Config": {"max-size": "11m", "max-file": "3"}},
            {"Type": "gelf", "Config": {"gelf-address": "udp://attacker:1"}},
        ],
    ),
    "DeviceRequests": (
        "device_requests",
        [GPU],
        [
            [GPU | {"Count": -1}],
            [GPU | {"Driver": "nvidia"}],
            [GPU | {"DeviceIDs": ["0"]}],
            [GPU | {"Capabilities": [["gpu", "utility"]]}],
            [GPU, GPU | {"Count": 2}],
            [{}],
            [{"Driver": "", "Count": 0}],
        ],
    ),
}
REFUSED = [
    *((field, key, value, None) for field, (key, _, others) in TOP.items() for value in others),
    *((f"HostConfig.{field}", key, None, {field: one}) for field, (key, _, others) in HOST.items() for one in others),
]
LISTED = [
    *((field, {field: value}, {}) for field, (_, value, _) in TOP.items()),
    *((field, {}, {field: value}) for field, (_, value, _) in HOST.items()),
]


def made(policy: SpawnPolicy = NAMED, host: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What the engine is asked to create for a body."""
    body = spawner_body(host=host or {}, **changes)
    return docker_json.create_body(plan(decode(body), ContainerName("jupyterlab-alice"), policy, NAMES).spec)


def refusal(policy: SpawnPolicy = NAMED, host: dict[str, Any] | None = None, **changes: Any) -> GatewayRefusal:
    """The refusal of a body."""
    with pytest.raises(GatewayRefusal) as refused:
        made(policy, host, **changes)
    return refused.value


@pytest.mark.parametrize(("field", "key", "top", "host"), REFUSED)
def test_a_value_that_is_not_the_listed_one(field: str, key: str, top: Any, host: dict[str, Any] | None) -> None:
    """However near it is: refused, with the field, the sort of value and the key; the value itself is for the log."""
    refused = refusal(host=host, **({} if host else {field: top}))
    value = top if host is None else next(iter(host.values()))
    kind = {str: "text", int: "a number"}.get(type(value), "a")
    assert refused.message.startswith(f"hubwarden: {field} ({kind}")
    assert refused.message.endswith(f"is not one that the policy lists (spawn.{key})")
    assert refused.value


@pytest.mark.parametrize(("field", "top", "host"), LISTED)
def test_by_default_no_value_is_listed(field: str, top: dict[str, Any], host: dict[str, Any]) -> None:
    """When the policy lists no value for an option, every value is refused."""
    assert field in refusal(POLICY, host, **top).message


@pytest.mark.parametrize(("field", "top", "host"), LISTED)
def test_a_listed_value_reaches_the_engine_as_it_is(field: str, top: dict[str, Any], host: dict[str, Any]) -> None:
    """And nothing else does that was not there without it."""
    value, body, plain = (top or host)[field], made(host=host, **top), made()
    shown = (body["HostConfig"] if host else body).pop(field)
    assert shown == ({key: one for key, one in value.items() if one is not None} if field == "Healthcheck" else value)
    assert body == plain


@pytest.mark.parametrize(
    ("top", "host"),
    [
        ({"User": "", "Hostname": "", "WorkingDir": "", "Entrypoint": [], "Healthcheck": {}}, {}),
        ({"Entrypoint": None, "Healthcheck": {"Test": None}}, {"Ulimits": [], "DeviceRequests": [], "ShmSize": 0}),
        ({}, {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "LogConfig": {"Type": "", "Config": {}}}),
    ],
)
def test_what_asks_for_nothing_is_always_allowed(top: dict[str, Any], host: dict[str, Any]) -> None:
    """When an option asks for the default, it is allowed and left out."""
    assert made(POLICY, host, **top) == made(POLICY)


def test_a_restart_policy_does_not_go_with_auto_remove() -> None:
    """Docker refuses the two together in words of its own."""
    host = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "AutoRemove": True}
    assert "AutoRemove" in refusal(host=host).message


def test_the_same_limit_twice() -> None:
    """Which of two would hold is nothing to rely on."""
    assert "twice" in refusal(host={"Ulimits": [LIMIT, LIMIT]}).message


@pytest.mark.parametrize(
    ("bind", "mount"),
    [
        ("/srv/shared:/data", {"Source": "/srv/shared"}),
        ("/srv/shared:/data:rw", {"Source": "/srv/shared", "ReadOnly": False}),
        ("/srv/scratch:/data:rw", {"Source": "/srv/scratch"}),
        ("/srv/shared/x:/data:ro", {"Source": "/srv/shared/x", "ReadOnly": True}),
        ("/srv/shared/:/data:ro", {"Source": "/srv/shared/", "ReadOnly": True}),
        ("/srv//shared:/data:ro", {"Source": "/srv//shared", "ReadOnly": True}),
        ("/srv/./shared:/data:ro", {"Source": "/srv/./shared", "ReadOnly": True}),
        ("/srv:/data:ro", {"Source": "/srv", "ReadOnly": True}),
        ("/:/data:ro", {"Source": "/", "ReadOnly": True}),
        ("/var/run/docker.sock:/data:ro", {"Source": "/var/run/docker.sock", "ReadOnly": True}),
    ],
)
def test_a_host_path_that_is_not_the_listed_one(bind: str, mount: dict[str, Any]) -> None:
    """When path or target differ, or write access is asked for in place of read-only, a mount is refused."""
    assert "spawn.host_paths" in refusal(Volumes={}, host={"Binds": [bind]}).message
    mounts = [{"Type": "bind", "Target": "/data", **mount}]
    assert "spawn.host_paths" in refusal(Volumes={}, host={"Binds": [], "Mounts": mounts}).message


@pytest.mark.parametrize(
    "host",
    [
        {"Binds": ["/srv/shared:/data:ro"]},
        {"Binds": [], "Mounts": [{"Type": "bind", "Source": "/srv/shared", "Target": "/data", "ReadOnly": True}]},
    ],
)
def test_a_listed_host_path_is_mounted_alone(host: dict[str, Any]) -> None:
    """Without what is mounted below it, and without what will be: those are other paths."""
    (mount,) = made(Volumes={}, host=host)["HostConfig"]["Mounts"]
    options = {"Propagation": "rprivate", "NonRecursive": True}
    assert mount == {
        "Type": "bind", "Source": "/srv/shared", "Target": "/data", "ReadOnly": True, "BindOptions": options,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"Target": "/fast"},
        {"Target": "/fast", "TmpfsOptions": {"SizeBytes": 1024**3}},
        {"Target": "/fast", "TmpfsOptions": {"SizeBytes": 1024**3 + 1, "Mode": 0o1777}},
        {"Target": "/else", "TmpfsOptions": {"SizeBytes": 1024**3, "Mode": 0o1777}},
        {"Target": "/plain"},
        {"Target": "/plain", "TmpfsOptions": {"SizeBytes": 1024**2, "Mode": 0o777}},
        {"Target": "/plain", "TmpfsOptions": {"SizeBytes": 1024**2}, "ReadOnly": True},
        {"Target": "/plain", "TmpfsOptions": {"SizeBytes": 1024**2}, "Source": "x"},
    ],
)
def test_a_file_system_in_memory_that_is_not_the_listed_one(fields: dict[str, Any]) -> None:
    """When a tmpfs differs from the listed one in path, size or mode, it is refused."""
    assert "spawn.tmpfs" in refusal(host={"Mounts": [{"Type": "tmpfs", **fields}]}).message


def test_a_listed_file_system_in_memory() -> None:
    """When a tmpfs is listed, it is mounted writable, at its path and with its size."""
    mount = {"Type": "tmpfs", "Target": "/plain", "TmpfsOptions": {"SizeBytes": 1024**2}}
    mounts = made(host={"Mounts": [mount]})["HostConfig"]["Mounts"]
    assert mounts[1] == mount | {"ReadOnly": False}


@pytest.mark.parametrize("mount", [Mount("bind", "/a"), Mount("tmpfs", "/a"), Mount("npipe", "/a", source="x")])
def test_the_engines_side_refuses_a_mount_that_is_nothing(mount: Mount) -> None:
    """A bind without a path, a file system without a bound, another kind: an error of ours, and nothing is asked."""
    spec = plan(decode(spawner_body()), ContainerName("jupyterlab-alice"), NAMED, NAMES).spec
    with pytest.raises(EngineError, match="only named volumes"):
        docker_json.create_body(replace(spec, mounts=(mount,)))


def test_no_option_is_asked_for_by_default() -> None:
    """A body of stock DockerSpawner's makes a specification without options."""
    assert plan(decode(spawner_body()), ContainerName("jupyterlab-alice"), POLICY, NAMES).spec.options == Options()
