"""Options that the policy lists by value: the very same value, or a refusal that names the field and the key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hubwarden_agent.engine import docker_spawn
from hubwarden_agent.engine.port import EngineError, Mount
from hubwarden_agent.gateway.create_body import decode
from hubwarden_agent.gateway.policy import plan
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.host_paths import HostPath
from hubwarden_agent.names import ContainerName, Names, Templates
from hubwarden_agent.spawn_policy import SpawnPolicy
from support.agent.gateway import POLICY, allow, spawner_body

NAMES = Names(Templates())
GPU = {"Driver": "", "Count": 1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
LIMIT = {"Name": "nofile", "Soft": 1024, "Hard": 2048}
LOG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
HEALTH = {"Test": ["CMD", "true"], "Interval": 10**9, "Timeout": None, "Retries": None, "StartPeriod": None}
FAST = {"Type": "tmpfs", "Target": "/fast", "TmpfsOptions": {"SizeBytes": 1024**3, "Mode": 0o1777}}
NAMED = replace(
    POLICY,
    host_paths=(
        HostPath("/srv/shared", "/data", "ro"),
        HostPath("/srv/scratch", "/scratch", "rw"),
    ),
    allow=allow(
        ("User", "1000:100"),
        ("Hostname", "lab"),
        ("WorkingDir", "/home/jovyan"),
        ("Entrypoint", ["tini", "--"]),
        ("Healthcheck", {"Test": ["CMD", "true"], "Interval": 10**9}),
        ("HostConfig.ShmSize", 1024**3),
        ("HostConfig.Ulimits", LIMIT),
        ("HostConfig.Ulimits", {"Name": "memlock", "Soft": -1, "Hard": -1}),
        ("HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
        ("HostConfig.LogConfig", LOG),
        ("HostConfig.DeviceRequests", {"Count": 1, "Capabilities": [["gpu"]]}),
        ("HostConfig.Mounts", FAST),
        ("HostConfig.Mounts", {"Type": "tmpfs", "Target": "/plain", "TmpfsOptions": {"SizeBytes": 1024**2}}),
    ),
)

# field -> a value that the policy above lists, values beside it
TOP: dict[str, tuple[Any, list[Any]]] = {
    "User": ("1000:100", ["0", "root", "1000", "1000:0", "1000:100 ", 0, False, ["1000:100"]]),
    "Hostname": ("lab", ["hub", "Lab", "lab.", ["lab"], {"lab": None}]),
    "WorkingDir": ("/home/jovyan", ["/home", "/proc/self/fd/8", "/home/jovyan/x"]),
    "Entrypoint": (["tini", "--"], [["tini"], ["--", "tini"], ["tini", "--", "sh"], ["sh"], "sh", {}, [[]], [None]]),
    "Healthcheck": (
        HEALTH,
        [
            HEALTH | {"Interval": 1},
            HEALTH | {"Test": ["CMD", "sh"]},
            {"Test": ["CMD", "true"]},
            HEALTH | {"Retries": 1},
            HEALTH | {"Retries": False},
            HEALTH | {"Retries": ""},
            HEALTH | {"StartInterval": 1},
            HEALTH | {"StartInterval": None},
            {"StartInterval": None},
            HEALTH | {"test": ["CMD", "true"]},
            ["CMD"],
            {"Test": "true"},
            {"Interval": -1},
            {"StartInterval": 1},
        ],
    ),
}
HOST: dict[str, tuple[Any, list[Any]]] = {
    "ShmSize": (1024**3, [1024**3 + 1, 1, 2**60, "1g", -1, True, False, "", float(1024**3), [1024**3]]),
    "Ulimits": (
        [LIMIT],
        [
            [LIMIT | {"Hard": -1}],
            [LIMIT | {"Name": "nproc"}],
            [{"Name": "nofile", "Soft": 1024}],
            [LIMIT, LIMIT | {"Soft": 1}],
            [{"Name": "nofile", "Soft": "1"}],
            [{"name": "nofile"}],
            [LIMIT | {"Soft": 1024.0}],
        ],
    ),
    "RestartPolicy": (
        {"Name": "on-failure", "MaximumRetryCount": 3},
        [{"Name": "always"}, {"Name": "on-failure"}, {"Name": "unless-stopped", "MaximumRetryCount": 3}, "always"]
        + [{"Name": "no", "MaximumRetryCount": count} for count in (1, False, "")]
        + [{"Name": "always", "MaximumRetryCount": -1}, {"Name": "on-failure", "MaximumRetryCount": 3.0}],
    ),
    "LogConfig": (
        LOG,
        [
            {"Type": "json-file"},
            LOG | {"Type": "syslog"},
            LOG | {"Config": {"max-size": "10m", "max-file": "3", "tag": "x"}},
            LOG | {"Config": {"max-size": "11m", "max-file": "3"}},
            {"Type": "gelf", "Config": {"gelf-address": "udp://attacker:1"}},
            LOG | {"Config": {"max-size": "10m", "max-file": 3}},
            LOG | {"Config": {"max-size": "10m", "max-file": "3", "tag": ""}},
            LOG | {"Config": {"max-size": "10m", "max-file": "3", "tag": None}},
            {"Type": 1},
            {"type": None},
            {"Type": "json-file", "Config": ["max-size"]},
        ],
    ),
    "DeviceRequests": (
        [GPU],
        [
            [GPU | {"Count": -1}],
            [GPU | {"Driver": "nvidia"}],
            [GPU | {"DeviceIDs": ["0"]}],
            [GPU | {"Capabilities": [["gpu", "utility"]]}],
            [GPU, GPU | {"Count": 2}],
            [{}],
            [{"Driver": "", "Count": 0}],
            [{"Count": True, "Capabilities": [["gpu"]]}],
            [GPU | {"Count": 1.0}],
            [GPU | {"DeviceIDs": ""}],
            [GPU | {"Options": {"a": "b"}}],
            [GPU | {"count": None}],
            [GPU | {"Capabilities": ["gpu"]}],
            [{"Capabilities": ["gpu"]}],
        ],
    ),
}
REFUSED = [
    *((field, value, None) for field, (_, others) in TOP.items() for value in others),
    *((f"HostConfig.{field}", None, {field: one}) for field, (_, others) in HOST.items() for one in others),
]
LISTED = [
    *((field, {field: value}, {}) for field, (value, _) in TOP.items()),
    *((field, {}, {field: value}) for field, (value, _) in HOST.items()),
]


def made(policy: SpawnPolicy = NAMED, host: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What the engine is asked to create for a body."""
    body = spawner_body(host=host or {}, **changes)
    return docker_spawn.create_body(plan(decode(body), ContainerName("jupyterlab-alice"), policy, NAMES).spec)


def refusal(policy: SpawnPolicy = NAMED, host: dict[str, Any] | None = None, **changes: Any) -> GatewayRefusal:
    """The refusal of a body."""
    with pytest.raises(GatewayRefusal) as refused:
        made(policy, host, **changes)
    return refused.value


@pytest.mark.parametrize(("field", "top", "host"), REFUSED)
def test_a_value_that_is_not_the_listed_one(field: str, top: Any, host: dict[str, Any] | None) -> None:
    """However near it is: refused, with the field, the sort of value and the key; the value itself is for the log."""
    refused = refusal(host=host, **({} if host else {field: top}))
    value = top if host is None else next(iter(host.values()))
    kind = {str: "text", bool: "true", int: "a number"}.get(type(value), "a")
    assert refused.message.startswith(f"hubwarden: {field} ({kind}")
    assert refused.message.endswith("is not one that the policy lists (spawn.allow)")
    assert refused.value is not None


@pytest.mark.parametrize(("field", "top", "host"), LISTED)
def test_by_default_no_value_is_listed(field: str, top: dict[str, Any], host: dict[str, Any]) -> None:
    """When the policy lists no value for an option, every value is refused."""
    assert field in refusal(POLICY, host, **top).message


@pytest.mark.parametrize(("field", "top", "host"), LISTED)
def test_a_listed_value_reaches_the_engine_as_it_is(field: str, top: dict[str, Any], host: dict[str, Any]) -> None:
    """And nothing else does that was not there without it."""
    value, body, plain = (top or host)[field], made(host=host, **top), made()
    shown = (body["HostConfig"] if host else body).pop(field)
    assert shown == ({key: one or 0 for key, one in value.items()} if field == "Healthcheck" else value)
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


@pytest.mark.parametrize("host", [{"Ulimits": [LIMIT, LIMIT]}, {"DeviceRequests": [GPU, GPU]}])
def test_the_same_entry_twice(host: dict[str, Any]) -> None:
    """Which of two would hold is nothing to rely on."""
    assert "twice" in refusal(host=host).message


@pytest.mark.parametrize("value", [{"Name": "nofile"}, LIMIT, "", 0, {}])
def test_entries_that_are_in_no_array(value: Any) -> None:
    """When limits or device requests are not in an array, they are refused by name."""
    assert refusal(host={"Ulimits": value}).message == "hubwarden: HostConfig.Ulimits must be an array"
    assert "(null) is not one that" in refusal(host={"Ulimits": [None]}).message


def test_what_is_sent_is_the_operators_copy() -> None:
    """When a request writes its value in another order, Docker gets the operator's value, not the request's."""
    spelt = {"Config": {"max-file": "3", "max-size": "10m"}, "Type": "json-file"}
    shown = made(host={"LogConfig": spelt})["HostConfig"]["LogConfig"]
    assert (shown, list(shown)) == (LOG, ["Type", "Config"])
    assert shown is not spelt


@pytest.mark.parametrize("field", ["HostConfig.Privileged", "HostConfig", "Image", "HostConfig.Mounts", "Privileged"])
def test_the_engines_side_refuses_a_field_that_is_no_option(field: str) -> None:
    """When a specification has an option that is not in the closed table, nothing is asked of Docker."""
    spec = plan(decode(spawner_body()), ContainerName("jupyterlab-alice"), NAMED, NAMES).spec
    with pytest.raises(EngineError, match="option"):
        docker_spawn.create_body(replace(spec, options={field: True}))


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
    assert "spawn.allow" in refusal(host={"Mounts": [{"Type": "tmpfs", **fields}]}).message


def test_a_listed_file_system_in_memory() -> None:
    """When a tmpfs is listed, it is mounted writable, at its path and with its size."""
    mount = {"Type": "tmpfs", "Target": "/plain", "TmpfsOptions": {"SizeBytes": 1024**2, "Mode": 0}}
    mounts = made(host={"Mounts": [mount]})["HostConfig"]["Mounts"]
    assert mounts[1] == mount | {"ReadOnly": False}


@pytest.mark.parametrize("mount", [Mount("bind", "/a"), Mount("tmpfs", "/a"), Mount("npipe", "/a", source="x")])
def test_the_engines_side_refuses_a_mount_that_is_nothing(mount: Mount) -> None:
    """A bind without a path, a file system without a bound, another kind: an error of ours, and nothing is asked."""
    spec = plan(decode(spawner_body()), ContainerName("jupyterlab-alice"), NAMED, NAMES).spec
    with pytest.raises(EngineError, match="only named volumes"):
        docker_spawn.create_body(replace(spec, mounts=(mount,)))


def test_no_option_is_asked_for_by_default() -> None:
    """A body of stock DockerSpawner's makes a specification without options."""
    assert plan(decode(spawner_body()), ContainerName("jupyterlab-alice"), POLICY, NAMES).spec.options == {}
