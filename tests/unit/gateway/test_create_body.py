"""The schema of a create body: what docker-py sends for DockerSpawner is understood, everything else is refused."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from docker import APIClient  # noqa: TID251 - what it sends is what the schema is about
from docker.types import HostConfig as DockerHostConfig  # noqa: TID251 - what it sends is what the schema is about
from docker.types import Mount as DockerMount  # noqa: TID251 - what it sends is what the schema is about
from docker.types.containers import ContainerConfig  # noqa: TID251 - what it sends is what the schema is about
from hubwarden_agent.engine.options import DEFAULTS, HOST
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.create_body import CreateBody, HostConfig, PortBinding, decode
from hubwarden_agent.gateway.mounts import MountRequest
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.gateway.schema import Object
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.agent.gateway import result_or_refusal, spawner_body


def keys_of(model: type[Object]) -> set[str]:
    """The keys that an object may have."""
    return {field.alias or name for name, field in model.model_fields.items()}


BODY, HOST_CONFIG = keys_of(CreateBody), keys_of(HostConfig)
UNSUPPORTED = "is not supported, whatever the policy lists"
KINDS = {bool: "true or false", int: "a number", str: "text", list: "an array", dict: "an object"}


def refusal_of(document: object) -> str:
    """The message with which a document is refused, as a 400."""
    with pytest.raises(GatewayRefusal) as refused:
        decode(document)
    assert refused.value.reason is Reason.INVALID_REQUEST
    return refused.value.message


@pytest.mark.parametrize("document", [None, [], "", 1, True, [{}]])
def test_a_body_that_is_no_object(document: object) -> None:
    """When the create body is not a JSON object, it is refused."""
    assert refusal_of(document) == "hubwarden: the request body must be an object"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("image", "image"),
        ("IMAGE", "IMAGE"),
        ("Hostconfig", "Hostconfig"),
        ("Privileged", "Privileged"),
        ("\u0130mage", r"'\u0130mage'"),
        ("Ima\u0261e", r"'Ima\u0261e'"),
        ("a\nb", r"'a\nb'"),
        ("", "''"),
        ("OnBuild", "OnBuild"),
        ("StopTimeout", "StopTimeout"),
    ],
)
def test_unknown_and_oddly_cased_keys(key: str, shown: str) -> None:
    """A key that is not in the table, byte for byte, is refused, and shown in ASCII."""
    assert refusal_of({**spawner_body(), key: None}) == f"hubwarden: {shown} (null) {UNSUPPORTED}"


def test_a_long_key_is_shown_in_part() -> None:
    """When an unknown key is long, the message shows only its beginning."""
    assert len(refusal_of({"x" * 10_000: 1})) < 150


# Everything that docker-py can put into HostConfig, but what the schema takes. Each with a value that it would send.
DANGEROUS_HOST_CONFIG: dict[str, Any] = {
    "Privileged": True,
    "CapAdd": ["SYS_ADMIN"],
    "CapDrop": ["ALL"],
    "Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}],
    "DeviceCgroupRules": ["a *:* rwm"],
    "SecurityOpt": ["seccomp=unconfined"],
    "PidMode": "host",
    "IpcMode": "host",
    "UTSMode": "host",
    "UsernsMode": "host",
    "CgroupnsMode": "host",
    "CgroupParent": "/",
    "Cgroup": "container:x",
    "VolumesFrom": ["x"],
    "VolumeDriver": "local",
    "Tmpfs": {"/tmp": ""},
    "Sysctls": {"kernel.shmmax": "1"},
    "Runtime": "runc",
    "GroupAdd": ["0"],
    "MaskedPaths": [],
    "ReadonlyPaths": [],
    "Annotations": {"a": "b"},
    "OomKillDisable": True,
    "OomScoreAdj": -1000,
    "MemorySwap": -1,
    "MemorySwappiness": 100,
    "MemoryReservation": 1,
    "KernelMemory": 1,
    "StorageOpt": {"size": "1t"},
    "PublishAllPorts": True,
    "ExtraHosts": ["hub:10.0.0.1"],
    "Dns": ["10.0.0.1"],
    "DnsOptions": ["use-vc"],
    "DnsSearch": ["example.org"],
    "ReadonlyRootfs": True,
    "Init": True,
    "InitPath": "/init",
    "Isolation": "process",
    "LxcConf": [],
    "ContainerIDFile": "/tmp/id",
    "ConsoleSize": [1, 1],
    "CpuShares": 2**18,
    "CpusetCpus": "0",
    "CpusetMems": "0",
    "CPURealtimePeriod": 1,
    "CPURealtimeRuntime": 1,
    "CpuCount": 1,
    "CpuPercent": 1,
    "NanoCpus": 10**12,
    "BlkioWeight": 1000,
    "BlkioWeightDevice": [],
    "BlkioDeviceReadBps": [],
    "BlkioDeviceWriteBps": [],
    "BlkioDeviceReadIOps": [],
    "BlkioDeviceWriteIOps": [],
}


@pytest.mark.parametrize("key", DANGEROUS_HOST_CONFIG)
def test_what_else_docker_would_take_in_host_config(key: str) -> None:
    """When HostConfig has a field that the gateway does not offer, it is refused by name."""
    value = DANGEROUS_HOST_CONFIG[key]
    refusal = refusal_of(spawner_body(host={key: value}))
    assert refusal == f"hubwarden: HostConfig.{key} ({KINDS[type(value)]}) {UNSUPPORTED}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Tty", True),
        ("OpenStdin", True),
        ("StdinOnce", True),
        ("AttachStdin", True),
        ("NetworkDisabled", True),
        ("Domainname", "x"),
        ("NetworkingConfig", {"EndpointsConfig": {"host": {}}}),
        ("MacAddress", "02:00:00:00:00:01"),
        ("StopSignal", "SIGKILL"),
        ("Runtime", "runc"),
        ("Tty", 0),
    ],
)
def test_keys_that_docker_py_has_but_dockerspawner_leaves_empty(key: str, value: object) -> None:
    """They are in the table so that empty ones pass; anything in them is refused."""
    refusal = refusal_of(spawner_body() | {key: value})
    assert refusal == f"hubwarden: {key} ({KINDS[type(value)]}) {UNSUPPORTED}"


def test_links_are_refused() -> None:
    """docker-py always sends Links; only an empty list passes, and the refusal says what to use instead."""
    assert "use a network (spawn.networks)" in refusal_of(spawner_body(host={"Links": ["hub:hub"]}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Image", 1),
        ("Image", ["a"]),
        ("Image", "a\0b"),
        ("Image", "\ud800"),
        ("Env", "A=b"),
        ("Env", [1]),
        ("Env", ["=b"]),
        ("Env", [""]),
        ("Env", ["A B=c"]),
        ("Env", ["A=b\0c"]),
        ("Env", ["A=1", "A=2"]),
        ("Env", ["A=1", "A"]),
        ("Env", {"A": "b"}),
        ("Cmd", "sh"),
        ("Cmd", [["sh"]]),
        ("Labels", ["a"]),
        ("Labels", {"a": 1}),
        ("Labels", {"a": None}),
        ("ExposedPorts", ["8888/tcp"]),
        ("ExposedPorts", {"8888": None}),
        ("ExposedPorts", {"0/tcp": None}),
        ("ExposedPorts", {"65536/tcp": None}),
        ("ExposedPorts", {"8000-9000/tcp": None}),
        ("ExposedPorts", {"08888/tcp": None}),
        ("ExposedPorts", {"8888/sctp": None}),
        ("ExposedPorts", {"\u0661/tcp": None}),
        ("ExposedPorts", {"8888/tcp": {"a": 1}}),
        ("Volumes", ["/a"]),
        ("Volumes", {"/a": {"Driver": "x"}}),
        ("AttachStdout", "yes"),
        ("HostConfig", []),
    ],
)
def test_fields_of_the_wrong_shape(key: str, value: object) -> None:
    """When a field has the wrong type, the message names it."""
    assert refusal_of(spawner_body() | {key: value}).startswith(f"hubwarden: {key}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NetworkMode", 1),
        ("Memory", -1),
        ("Memory", True),
        ("Memory", "1g"),
        ("CpuQuota", -1),
        ("CpuPeriod", "100000"),
        ("PidsLimit", -1),
        ("AutoRemove", 1),
        ("AutoRemove", "true"),
        ("Binds", "a:/b"),
        ("Binds", {"a": "/b"}),
        ("Binds", ["a"]),
        ("Binds", [""]),
        ("Binds", ["a:/b:rw:x"]),
        ("Binds", ["a:/b:"]),
        ("Binds", ["a:/b:RO"]),
        ("Binds", ["a:/b:z"]),
        ("Binds", ["a:/b:ro,z"]),
        ("Binds", ["a:/b:rw,rshared"]),
        ("Binds", ["a:/b:nocopy"]),
        ("Mounts", {}),
        ("Mounts", ["a"]),
        ("Mounts", [{"Type": "Volume", "Source": "a", "Target": "/b"}]),
        ("Mounts", [{"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {"SizeBytes": "1g"}}]),
        ("Mounts", [{"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {"Options": [["exec"]]}}]),
        ("Mounts", [{"Type": "volume", "Source": "a", "Target": "/b", "TmpfsOptions": {"SizeBytes": 1}}]),
        ("Mounts", [{"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"CreateMountpoint": True}}]),
        ("Mounts", [{"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"Propagation": "rslave"}}]),
        ("Mounts", [{"Type": "npipe", "Source": "a", "Target": "/b"}]),
        ("Mounts", [{"Type": "cluster", "Source": "a", "Target": "/b"}]),
        ("Mounts", [{"Type": "image", "Source": "a", "Target": "/b"}]),
        ("Mounts", [{"Source": "a", "Target": "/b"}]),
        ("Mounts", [{"Type": None, "Source": "a", "Target": "/b"}]),
        ("Mounts", [{"Type": "volume", "Source": "a"}]),
        ("Mounts", [{"Type": "volume", "Source": "a", "Target": "/b", "target": "/c"}]),
        ("Mounts", [{"Type": "volume", "Source": "a", "Target": "/b", "Consistency": "cached"}]),
        ("Mounts", [{"Type": "volume", "Source": "a", "Target": "/b", "BindOptions": {"Propagation": "shared"}}]),
        ("Mounts", [{"Type": "volume", "Source": "a", "Target": "/b", "VolumeOptions": {"NoCopy": True}}]),
        ("Mounts", [{"Type": "volume", "Source": "a", "Target": "/b", "VolumeOptions": {"Subpath": "x"}}]),
        (
            "Mounts",
            [{"Type": "volume", "Source": "a", "Target": "/b", "VolumeOptions": {"DriverConfig": {"Name": "local"}}}],
        ),
        ("PortBindings", []),
        ("PortBindings", {"8888": []}),
        ("PortBindings", {"8888/tcp": {}}),
        ("PortBindings", {"8888/tcp": [{"HostIp": 1}]}),
        ("PortBindings", {"8888/tcp": [{"HostPort": 80}]}),
        ("PortBindings", {"8888/tcp": [{"hostport": "80"}]}),
    ],
)
def test_host_config_of_the_wrong_shape(key: str, value: object) -> None:
    """When a field of HostConfig has the wrong type, the message names it."""
    assert refusal_of(spawner_body(host={key: value})).startswith(f"hubwarden: HostConfig.{key}")


def sent(host: dict[str, Any], **create: Any) -> dict[str, Any]:
    """What docker-py puts on the wire for these arguments."""
    client = APIClient(version="1.44")
    body = client.create_container_config("image:1", host_config=client.create_host_config(**host), **create)
    client.close()
    return {key: value for key, value in body.items() if value is not None}


def test_what_docker_py_sends_for_dockerspawner_is_understood() -> None:
    """A body with everything in it that DockerSpawner's own options make, built by docker-py itself."""
    body = sent(
        {
            "auto_remove": True,
            "binds": {"home": {"bind": "/home/jovyan", "mode": "rw"}, "data": {"bind": "/data", "mode": "ro"}},
            "links": {},
            "mounts": [
                DockerMount("/scratch", "scratch", read_only=True),
                DockerMount("/shared", "/srv/shared", type="bind", propagation="rprivate"),
                DockerMount("/fast", "", type="tmpfs", tmpfs_size="1m", tmpfs_mode=0o1777),
            ],
            "mem_limit": 2**30,
            "cpu_period": 100_000,
            "cpu_quota": 50_000,
            "port_bindings": {8888: ("127.0.0.1",)},
            "network_mode": "bridge",
            "shm_size": "64m",
            "ulimits": [{"name": "nofile", "soft": 1024, "hard": 2048}],
            "restart_policy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "log_config": {"type": "json-file", "config": {"max-size": "10m", "max-file": "3"}},
            "device_requests": [{"count": -1, "capabilities": [["gpu"]]}],
        },
        user=1000,
        hostname="lab",
        working_dir="/home/jovyan",
        entrypoint=["tini", "--"],
        healthcheck={"test": ["CMD", "true"], "interval": 10**9},
        environment={"A": "b=c", "EMPTY": "", "UNSET": None},
        volumes=["/home/jovyan", "/data"],
        command=["jupyterhub-singleuser", "--debug"],
        ports={"8888/tcp": None},
        labels={"team": "physics"},
    )
    read = decode(body)
    assert (read.image, read.environment) == ("image:1", {"A": "b=c", "EMPTY": "", "UNSET": None})
    assert (read.command, read.labels) == (("jupyterhub-singleuser", "--debug"), {"team": "physics"})
    assert (list(read.exposed_ports), list(read.mount_points)) == (["8888/tcp"], ["/home/jovyan", "/data"])
    host = read.host
    assert host.binds == (
        MountRequest("volume", "home", "/home/jovyan"),
        MountRequest("volume", "data", "/data", read_only=True),
    )
    assert [mount.request for mount in host.mounts] == [
        MountRequest("volume", "scratch", "/scratch", read_only=True),
        MountRequest("bind", "/srv/shared", "/shared"),
        MountRequest("tmpfs", "", "/fast", size=1024**2, mode=0o1777),
    ]
    assert host.published == [("8888/tcp", PortBinding(HostIp="127.0.0.1", HostPort=""))]
    assert (host.network, host.memory, host.cpu_quota, host.cpu_period) == ("bridge", 2**30, 50_000, 100_000)
    assert (host.auto_remove, host.pids) == (True, 0)
    assert read.options == {
        "User": "1000",
        "Hostname": "lab",
        "WorkingDir": "/home/jovyan",
        "Entrypoint": ["tini", "--"],
        "Healthcheck": body["Healthcheck"],
        **{f"HostConfig.{key}": body["HostConfig"][key] for key in ("ShmSize", "Ulimits", "RestartPolicy")},
        **{f"HostConfig.{key}": body["HostConfig"][key] for key in ("LogConfig", "DeviceRequests")},
    }


def test_empty_and_null_are_as_good_as_nothing() -> None:
    """Null for every key, and what docker-py sends for options that are not used, ask for nothing."""
    assert decode(dict.fromkeys(BODY)) == CreateBody()
    assert decode({"HostConfig": dict.fromkeys(HOST_CONFIG)}) == CreateBody()
    empty_host = {"Links": [], "Binds": [], "Mounts": [], "PortBindings": {}, "Memory": 0, "CpuQuota": 0}
    assert decode({"HostConfig": empty_host, "Env": [], "Cmd": [], "Volumes": {}}) == CreateBody()


def test_every_option_that_can_be_allowed_is_a_field() -> None:
    """When a field is in the closed table of options, the body has it, and it is compared."""
    body = {key: f"value of {key}" for key in DEFAULTS if not key.startswith(HOST)}
    host = {key.removeprefix(HOST): f"value of {key}" for key in DEFAULTS if key.startswith(HOST)}
    assert decode({**body, "HostConfig": host}).options == {key: f"value of {key}" for key in DEFAULTS}


@pytest.mark.parametrize("name", sorted({*CreateBody.model_fields, *HostConfig.model_fields} - BODY - HOST_CONFIG))
def test_our_own_names_of_fields_are_no_keys(name: str) -> None:
    """When a body uses the name that a field has in the agent, it is refused like any other unknown key."""
    assert UNSUPPORTED in refusal_of({name: ""})
    assert UNSUPPORTED in refusal_of({"HostConfig": {name: ""}})


def test_every_key_that_docker_py_can_send_is_decided() -> None:
    """A new docker-py with a new key fails here, so that somebody decides whether it is taken."""
    source = inspect.getsource(DockerHostConfig.__init__)
    host_keys = {part.split("]")[0].strip("'\"") for part in source.split("self[")[1:]}
    assert host_keys - set(HOST_CONFIG) <= set(DANGEROUS_HOST_CONFIG)
    assert not set(HOST_CONFIG) & set(DANGEROUS_HOST_CONFIG)
    body_keys = set(ContainerConfig("1.44", "image", []))
    assert body_keys - set(BODY) == {"StopTimeout"}
    assert set(BODY) <= body_keys


@pytest.mark.parametrize(
    "document",
    [
        {f"k{number}": 1 for number in range(4000)},
        {"HostConfig": {f"k{number}": 1 for number in range(4000)}},
        *({key: [1] * 4000} for key in ("Env", "Cmd")),
        *({key: dict.fromkeys(map(str, range(4000)), 1)} for key in ("Labels", "ExposedPorts", "Volumes")),
        *({"HostConfig": {key: [1] * 4000}} for key in ("Binds", "Mounts")),
        {"HostConfig": {"PortBindings": {"1/tcp": [{"x": 1}] * 4000}}},
    ],
)
def test_a_body_full_of_mistakes_costs_no_more_than_one(document: dict[str, Any]) -> None:
    """When a body has thousands of mistakes, reading it ends at the first one of each object or array."""
    with pytest.raises(ValidationError) as refused:
        CreateBody.model_validate(document)
    assert refused.value.error_count() == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**63) | st.text(max_size=8) | st.just("/a"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from([*BODY, "HostConfig", "Privileged"]), JSON)
    | st.fixed_dictionaries({"HostConfig": st.dictionaries(st.sampled_from([*HOST_CONFIG, "Privileged"]), JSON)})
)
def test_no_document_makes_it_fail_otherwise(document: dict[str, Any]) -> None:
    """Whatever stands in the known fields, it is a typed value or a refusal."""
    result = result_or_refusal(lambda: decode(document))
    assert isinstance(result, CreateBody) or (
        isinstance(result, GatewayRefusal) and result.reason is Reason.INVALID_REQUEST
    )


@pytest.mark.parametrize(("key", "most"), [("Env", 64 * 1024), ("Cmd", 8 * 1024)])
@pytest.mark.parametrize(("letter", "size"), [("x", 1), ("\n", 2), ('"', 2), ("\u6728", 6)])
def test_environment_and_command_are_bounded_as_docker_shows_them(key: str, most: int, letter: str, size: int) -> None:
    """When an environment or a command has one byte too many as JSON, the field is refused."""
    first = "A=" + letter * (most // 2 // size)
    rest = "B=" + "x" * (most - len(json.dumps(first)) - 4)
    assert decode({key: [first, rest]})
    assert refusal_of({key: [first, rest + "x"]}) == f"hubwarden: {key} has more than {most} bytes as JSON"


def test_control_characters_of_an_environment_count_as_json() -> None:
    """When control characters would make an environment six times as long in Docker's answers, it is refused."""
    assert "Env has more than" in refusal_of({"Env": ["A=" + "\x01" * 11_000]})


@pytest.mark.parametrize("character", ["\x01", "\b", "\r", "\x1b", "\x7f", "\x85"])
def test_a_command_has_no_control_characters(character: str) -> None:
    """When a word of a command has a control character other than tab and newline, the command is refused."""
    assert decode({"Cmd": ["sh", "-c", "a\tb\nc"]}).command == ("sh", "-c", "a\tb\nc")
    assert refusal_of({"Cmd": ["sh", f"a{character}b"]}) == (
        "hubwarden: Cmd must have no control characters but tab and newline"
    )
