"""What the policy does not list is not created, and what is created holds nothing that the policy does not list."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hubwarden_agent.engine.port import Mount
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway import strict_json
from hubwarden_agent.gateway.create_body import decode
from hubwarden_agent.gateway.policy import Plan, plan
from hubwarden_agent.names import ContainerName, Names, Templates
from hubwarden_agent.spawn_policy import SpawnPolicy
from hypothesis import given
from hypothesis import strategies as st
from support.agent.gateway import IMAGE, POLICY, result_or_refusal, spawner_body

NAMES = Names(Templates())


def planned(
    document: dict[str, Any], name: str = "jupyterlab-alice", policy: SpawnPolicy = POLICY, names: Names = NAMES
) -> Plan:
    """What comes of a document."""
    return plan(decode(document), ContainerName(name), policy, names)


def refusal_of(
    document: dict[str, Any], name: str = "jupyterlab-alice", policy: SpawnPolicy = POLICY
) -> RequestRefused:
    """The refusal of a document."""
    with pytest.raises(RequestRefused) as refused:
        planned(document, name, policy)
    return refused.value


@pytest.mark.parametrize(
    ("name", "username", "server_name"),
    [
        ("jupyterlab-bob", "alice", ""),
        ("jupyterlab-alice", "bob", ""),
        ("jupyterlab-alice", "alice", "lab"),
        ("jupyterlab-alice--lab", "alice", ""),
        ("jupyterlab-alice--lab", "alice", "lab2"),
        ("jupyterlab-alice--lab", "alice--lab", ""),
        ("jupyterlab-alice2", "alice", ""),
        ("postgres", "alice", ""),
        ("jupyterlab-Alice", "Alice", ""),
        ("JUPYTERLAB-alice", "alice", ""),
    ],
)
def test_a_name_that_is_not_the_servers(name: str, username: str, server_name: str) -> None:
    """The name has to be what is derived from the user and the server in the environment."""
    refusal = refusal_of(spawner_body(username, server_name), name)
    assert refusal.reason is Reason.NAME_MISMATCH


@pytest.mark.parametrize(
    "environment",
    [
        [],
        ["JUPYTERHUB_USER="],
        ["JUPYTERHUB_USER"],
        ["JUPYTERHUB_USER= alice"],
        ["JUPYTERHUB_USER=al/ice"],
        ["JUPYTERHUB_USER=al\nice"],
        ["JUPYTERHUB_USER=" + "a" * 256],
        ["JUPYTERHUB_USER=alice", "JUPYTERHUB_SERVER_NAME=a/b"],
        ["jupyterhub_user=alice"],
    ],
)
def test_an_environment_that_names_no_user(environment: list[str]) -> None:
    """Whose a container is to be is parsed, or refused."""
    refusal = refusal_of(spawner_body(Env=environment))
    assert refusal.reason is Reason.INVALID_REQUEST
    assert refusal.message.startswith("hubwarden: Env must name a user and a server")


@pytest.mark.parametrize(
    "image",
    ["", "example.org/lab", "example.org/lab:2", "example.org/lab:1 ", "Example.org/lab:1", "sha256:" + "a" * 64],
)
def test_an_image_that_is_not_listed(image: str) -> None:
    """An image is compared as a whole, and never interpreted."""
    assert "spawn.images" in refusal_of(spawner_body(Image=image)).message


@pytest.mark.parametrize("network", ["", "default", "none", "host", "container:hub", "bridge2", "Bridge", "ns:/proc"])
def test_a_network_that_is_not_listed(network: str) -> None:
    """When a network is not listed under exactly that name, it is refused."""
    assert "HostConfig.NetworkMode" in refusal_of(spawner_body(host={"NetworkMode": network})).message


def test_the_hosts_network_is_refused_even_if_it_is_listed() -> None:
    """When a policy lists the host's network, it is refused all the same."""
    policy = replace(POLICY, networks=("host",))
    assert "never" in refusal_of(spawner_body(host={"NetworkMode": "host"}), policy=policy).message


@pytest.mark.parametrize(
    "source",
    [
        "",
        "/",
        "/var/run/docker.sock",
        "jupyterlab-bob_home",
        "jupyterlab-alice_cache",
        "jupyterlab-alice",
        "jupyterlab-alice_home2",
        "Jupyterlab-alice_home",
        "jupyterlab-{username}_home",
        "./jupyterlab-alice_home",
        "../jupyterlab-alice_home",
        "~",
    ],
)
def test_a_mount_of_anything_but_the_users_own_volumes(source: str) -> None:
    """As a bind and as a mount: only volumes that are derived for this user."""
    bind = refusal_of(spawner_body(Volumes={}, host={"Binds": [f"{source}:/data"]}))
    assert ("spawn.host_paths" if "/" in source else "spawn.volumes") in bind.message
    mount = {"Type": "volume", "Source": source, "Target": "/data"}
    assert "spawn.volumes" in refusal_of(spawner_body(host={"Mounts": [mount]})).message


@pytest.mark.parametrize(
    "target", ["", "/", "/dev", "/home/jovyan/", "/home/jovyan/work", "/home//jovyan", "/workspace", "/x"]
)
def test_a_volume_at_another_target(target: str) -> None:
    """When a create asks for a volume anywhere but at its one target, in either spelling, it is refused."""
    bind = spawner_body(Volumes={}, host={"Binds": [f"jupyterlab-alice_home:{target}"]})
    assert "at a path that the policy does not list (spawn.volumes)" in refusal_of(bind).message
    mount = {"Type": "volume", "Source": "jupyterlab-alice_home", "Target": target}
    assert "HostConfig.Mounts" in refusal_of(spawner_body(Volumes={}, host={"Binds": [], "Mounts": [mount]})).message


def test_the_same_volume_twice() -> None:
    """When a create mounts one volume as a bind and as a mount, it is refused."""
    mount = {"Type": "volume", "Source": "jupyterlab-alice_home", "Target": "/home/jovyan"}
    assert "twice" in refusal_of(spawner_body(host={"Mounts": [mount]})).message
    binds = ["jupyterlab-alice_home:/home/jovyan", "jupyterlab-alice_home:/home/jovyan:ro"]
    assert "twice" in refusal_of(spawner_body(host={"Binds": binds})).message


def test_a_volume_without_a_name() -> None:
    """A path that is declared a volume and has no mount would become an anonymous one."""
    body = spawner_body(Volumes={"/home/jovyan": {}, "/data": {}})
    assert refusal_of(body).message.startswith("hubwarden: Volumes ")


@pytest.mark.parametrize(
    "labels",
    [
        {"team": "chemistry"},
        {"Team": "physics"},
        {"team": "physics", "traefik.enable": "true"},
        {"hubwarden.owner": "alice"},
        {"HUBWARDEN.owner": "alice"},
        {"hubwarden.agent": "x"},
        {"hubwarden.": ""},
        {"": ""},
    ],
)
def test_labels_that_are_not_listed(labels: dict[str, str]) -> None:
    """A label passes only with the key and the value that the policy lists."""
    assert "spawn.labels" in refusal_of(spawner_body(Labels=labels)).message


def test_our_labels_are_refused_even_if_they_are_listed() -> None:
    """When a policy lists one of the agent's labels, it is refused all the same."""
    policy = replace(POLICY, labels={"hubwarden.owner": "bob"})
    assert "spawn.labels" in refusal_of(spawner_body(Labels={"hubwarden.owner": "bob"}), policy=policy).message


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ({"Memory": 1024**3 + 1}, "spawn.max_memory"),
        ({"Memory": 2**63 - 1}, "spawn.max_memory"),
        ({"Memory": 1}, "6MB"),
        ({"CpuQuota": 200_001}, "spawn.max_cpus"),
        ({"CpuQuota": 200_001, "CpuPeriod": 100_000}, "spawn.max_cpus"),
        ({"CpuQuota": 100_000, "CpuPeriod": 1_000}, "spawn.max_cpus"),
        ({"CpuQuota": 1}, "0.01"),
        ({"CpuQuota": 1_000, "CpuPeriod": 999}, "HostConfig.CpuPeriod"),
        ({"CpuPeriod": 1_000_001}, "HostConfig.CpuPeriod"),
        ({"PidsLimit": 513}, "spawn.max_pids"),
    ],
)
def test_resources_out_of_bounds(host: dict[str, Any], named: str) -> None:
    """More than the policy's maximum, or less than Docker takes."""
    assert named in refusal_of(spawner_body(host=host)).message


@pytest.mark.parametrize(
    ("publish", "binding"),
    [
        ("", {"HostIp": "127.0.0.1", "HostPort": ""}),
        ("", {}),
        ("127.0.0.1", {"HostIp": "0.0.0.0", "HostPort": ""}),  # noqa: S104 - it is refused
        ("127.0.0.1", {"HostIp": "::1", "HostPort": ""}),
        ("127.0.0.1", {"HostIp": "127.0.0.1", "HostPort": "80"}),
        ("127.0.0.1", {"HostIp": "127.0.0.1", "HostPort": "8000-9000"}),
        ("127.0.0.1", {"HostIp": "127.0.0.1", "HostPort": "00"}),
    ],
)
def test_ports_that_are_not_to_be_published(publish: str, binding: dict[str, str]) -> None:
    """Only where the policy publishes, at its address, at a port of Docker's choice."""
    body = spawner_body(host={"PortBindings": {"8888/tcp": [binding]}})
    refusal = refusal_of(body, policy=replace(POLICY, publish=publish))
    assert refusal.message.startswith("hubwarden: HostConfig.PortBindings ")


def test_a_port_that_is_published_twice() -> None:
    """When a container port is published twice, it is refused."""
    body = spawner_body(host={"PortBindings": {"8888/tcp": [{}, {}]}})
    assert "twice" in refusal_of(body, policy=replace(POLICY, publish="127.0.0.1")).message


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("HostConfig.Binds", {"host": {"Binds": [f"jupyterlab-alice_home:/m{number}" for number in range(17)]}}),
        ("HostConfig.PortBindings", {"host": {"PortBindings": {f"{port}/tcp": [{}] for port in range(1, 18)}}}),
        ("ExposedPorts", {"ExposedPorts": {f"{port}/tcp": {} for port in range(1, 18)}}),
        ("Env", {"Env": [f"V{number}=" for number in range(1025)]}),
        ("Cmd", {"Cmd": ["x"] * 1025}),
    ],
)
def test_more_entries_than_anybody_needs(field: str, changes: dict[str, Any]) -> None:
    """Each entry costs the engine memory or a process, outside the container's limits."""
    refusal = refusal_of(spawner_body(**changes), policy=replace(POLICY, publish="127.0.0.1"))
    assert refusal.message.startswith(f"hubwarden: {field} has more than ")


def test_an_empty_policy_allows_nothing() -> None:
    """When `[spawn]` has only defaults, every create is refused, because no image is listed."""
    assert "spawn.images" in refusal_of(spawner_body(), policy=SpawnPolicy()).message


def test_a_name_that_docker_cannot_hold() -> None:
    """When a name is too long after escaping, it is refused as too long."""
    refusal = refusal_of(spawner_body("\u6728" * 60))
    assert refusal.reason is Reason.INVALID_REQUEST


def test_what_dockerspawner_asks_for_by_default() -> None:
    """What comes out is built from the policy and from names of our own; missing limits are the policy's."""
    result = planned(spawner_body(host={"Memory": 0}))
    assert (result.username.value, result.server_name.value) == ("alice", "")
    spec = result.spec
    assert spec.name == ContainerName("jupyterlab-alice")
    assert spec.image == IMAGE
    assert spec.labels == {
        "hubwarden.owner": "alice",
        "hubwarden.server": "",
        "hubwarden.agent": "jupyterlab-{username}",
    }
    assert spec.mounts == (Mount("volume", "/home/jovyan", volume="jupyterlab-alice_home"),)
    assert (spec.memory, spec.cpus, spec.pids) == (1024**3, 2.0, 512)
    assert (spec.network, spec.auto_remove, spec.published) == ("bridge", False, ())
    assert spec.environment == tuple(spawner_body()["Env"])
    assert spec.command == ("jupyterhub-singleuser",)
    assert spec.exposed_ports == ("8888/tcp",)


def test_everything_that_a_policy_can_allow() -> None:
    """Limits, labels, ports, read-only volumes and mounts within the policy are taken over."""
    policy = replace(POLICY, publish="127.0.0.1")
    body = spawner_body(
        Labels={"team": "physics"},
        host={
            "Memory": 1024**3,
            "CpuQuota": 50_000,
            "CpuPeriod": 100_000,
            "PidsLimit": 100,
            "AutoRemove": True,
            "Binds": ["jupyterlab-alice_home:/home/jovyan:ro"],
            "Mounts": [
                {"Type": "volume", "Source": "jupyterlab-alice_workspace", "Target": "/workspace", "ReadOnly": False}
            ],
            "PortBindings": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        },
    )
    spec = planned(body, policy=policy).spec
    assert (spec.memory, spec.cpus, spec.pids, spec.auto_remove) == (1024**3, 0.5, 100, True)
    assert spec.labels["team"] == "physics"
    assert spec.mounts == (
        Mount("volume", "/home/jovyan", read_only=True, volume="jupyterlab-alice_home"),
        Mount("volume", "/workspace", volume="jupyterlab-alice_workspace"),
    )
    assert (spec.published, spec.publish_address) == (("8888/tcp",), "127.0.0.1")


@pytest.mark.parametrize(
    ("username", "server_name", "name", "volume"),
    [
        ("john.doe-x", "", "jupyterlab-john-2edoe-2dx", "jupyterlab-john-2edoe-2dx_home"),
        ("Ana@Example.org", "", "jupyterlab--41na-40-45xample-2eorg", "jupyterlab--41na-40-45xample-2eorg_home"),
        ("\u6728\u6751", "", "jupyterlab--e6-9c-a8-e6-9d-91", "jupyterlab--e6-9c-a8-e6-9d-91_home"),
        ("alice", "My Lab", "jupyterlab-alice--my-20lab", "jupyterlab-alice_home"),
    ],
)
def test_names_that_have_to_be_escaped(username: str, server_name: str, name: str, volume: str) -> None:
    """When a user or server name needs escaping, the create is accepted under the escaped name."""
    body = spawner_body(username, server_name, host={"Binds": [f"{volume}:/home/jovyan:rw"]})
    result = planned(body, name)
    assert result.spec.labels["hubwarden.owner"] == username
    assert result.spec.labels["hubwarden.server"] == server_name
    assert result.spec.mounts[0].volume == volume


# Values that come close to what is allowed, so that many of the documents get through and most parts of them vary.
SOURCES = st.sampled_from(["jupyterlab-alice_home", "jupyterlab-alice_workspace", "jupyterlab-bob_home", "/", ""])
TARGETS = st.sampled_from(["/home/jovyan", "/workspace", "/data", "/proc/x", "/a/../b"])
MOUNTS = st.fixed_dictionaries(
    {"Type": st.sampled_from(["volume", "bind"]), "Source": SOURCES, "Target": TARGETS},
    optional={"ReadOnly": st.booleans()},
)
BINDS = st.tuples(SOURCES, TARGETS, st.sampled_from(["", ":rw", ":ro", ":z"])).map(lambda p: f"{p[0]}:{p[1]}{p[2]}")
BINDINGS = st.fixed_dictionaries(
    {"HostIp": st.sampled_from(["", "127.0.0.1", "0.0.0.0"]), "HostPort": st.sampled_from(["", "0", "80"])}  # noqa: S104
)
HOSTS = st.fixed_dictionaries(
    {"NetworkMode": st.sampled_from(["bridge", "bridge", "bridge", "host", ""])},
    optional={
        "Memory": st.sampled_from([0, 2**20, 2**29, 2**30, 2**31]) | st.integers(-1, 2**40),
        "CpuQuota": st.sampled_from([0, 50_000, 200_000, 400_000]) | st.integers(-1, 10**9),
        "CpuPeriod": st.sampled_from([0, 100_000, 1_000]) | st.integers(-1, 10**9),
        "PidsLimit": st.integers(-1, 600),
        "AutoRemove": st.booleans(),
        "Binds": st.lists(BINDS, max_size=2),
        "Mounts": st.lists(MOUNTS, max_size=2),
        "PortBindings": st.dictionaries(st.sampled_from(["8888/tcp", "x"]), st.lists(BINDINGS, max_size=2), max_size=1),
        "Links": st.sampled_from([[], ["a:b"]]),
    },
)
DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "Image": st.sampled_from([IMAGE, IMAGE, IMAGE, "evil"]),
        "Env": st.lists(st.text(max_size=6), max_size=3).map(lambda more: ["JUPYTERHUB_USER=alice", *more]),
        "HostConfig": HOSTS,
    },
    optional={
        "Cmd": st.none() | st.lists(st.text(max_size=5), max_size=3),
        "Labels": st.dictionaries(st.sampled_from(["team", "hubwarden.owner"]), st.sampled_from(["physics", "x"])),
        "Volumes": st.dictionaries(TARGETS, st.just({}), max_size=1),
        "ExposedPorts": st.dictionaries(st.sampled_from(["8888/tcp", "0/tcp"]), st.none(), max_size=1),
    },
)


@given(DOCUMENTS, st.sampled_from(["", "127.0.0.1"]))
def test_whatever_reaches_the_engine_satisfies_the_policy(document: dict[str, Any], publish: str) -> None:
    """The policy restated over the specification, from outside: a document is refused, or its result satisfies it."""
    policy = replace(POLICY, publish=publish)
    body = json.dumps(document).encode()
    result = result_or_refusal(
        lambda: plan(decode(strict_json.loads(body)), ContainerName("jupyterlab-alice"), policy, NAMES)
    )
    if isinstance(result, RequestRefused):
        assert result.reason in (Reason.INVALID_REQUEST, Reason.NAME_MISMATCH)
        return
    spec = result.spec
    assert spec.name.value == "jupyterlab-alice"
    assert spec.image == IMAGE
    assert spec.network == "bridge"
    assert 6 * 2**20 <= spec.memory <= 2**30
    assert 0.01 <= spec.cpus <= 2
    assert 1 <= spec.pids <= 512
    assert all(mount.kind == "volume" and not mount.source for mount in spec.mounts)
    placed = [(mount.volume, mount.target) for mount in spec.mounts]
    assert set(placed) <= {("jupyterlab-alice_home", "/home/jovyan"), ("jupyterlab-alice_workspace", "/workspace")}
    assert len(set(placed)) == len(placed)
    ours = {"hubwarden.owner": "alice", "hubwarden.server": "", "hubwarden.agent": "jupyterlab-{username}"}
    assert spec.labels in (ours, ours | {"team": "physics"})
    assert not spec.published or (publish and spec.publish_address == publish)


# JSON spells the same body in more ways than one; what was accepted, spelt again from the typed value, stays the same.
@given(DOCUMENTS)
def test_what_was_accepted_is_accepted_again(document: dict[str, Any]) -> None:
    """A body that is written anew from what was understood is understood alike."""
    try:
        body = decode(document)
    except RequestRefused:
        return
    host = body.host
    again = {
        "Image": body.image,
        "Env": [key if value is None else f"{key}={value}" for key, value in body.environment.items()],
        "Cmd": list(body.command),
        "Labels": dict(body.labels),
        "ExposedPorts": dict.fromkeys(body.exposed_ports),
        "Volumes": {path: {} for path in body.mount_points},
        "HostConfig": {
            "NetworkMode": host.network,
            "Memory": host.memory,
            "CpuQuota": host.cpu_quota,
            "CpuPeriod": host.cpu_period,
            "PidsLimit": host.pids,
            "AutoRemove": host.auto_remove,
            "Binds": [f"{bind.source}:{bind.target}:{'ro' if bind.read_only else 'rw'}" for bind in host.binds],
            "Mounts": [
                {"Type": mount.Type, "Source": mount.Source, "Target": mount.Target, "ReadOnly": mount.ReadOnly}
                for mount in host.mounts
            ],
            "PortBindings": {
                port: [{"HostIp": binding.host_ip, "HostPort": binding.host_port} for binding in bindings]
                for port, bindings in host.port_bindings.items()
            },
        },
    }
    assert decode(again) == body
