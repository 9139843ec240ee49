"""Whatever JSON is sent: what reaches the engine is what the policy allows, however the body is spelt.

The check of a specification is written anew here, from the policy alone, and trusts nothing of the code that made it.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import MISSING, fields, replace
from typing import Any

from hubwarden_agent.app import DENIALS_LOGGED
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.engine.spawn_port import ContainerSpec
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.gateway import create_body, strict_json
from hubwarden_agent.gateway.gateway import Gateway
from hubwarden_agent.gateway.request_context import RequestContext
from hubwarden_agent.gateway.routes import ApiRequest, Operation
from hubwarden_agent.host_paths import HostPath
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import ContainerId, Names, Templates
from hubwarden_agent.rates import parse_rate
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agent.gateway import IMAGE, POLICY, allow, result_or_refusal, spawner_body
from support.fakes.edges import FakeClock, MemoryAudit
from support.fakes.engine import FakeEngine

USERS = ("alice", "bob")
OWN = {
    user: {(f"jupyterlab-{user}_home", "", "/home/jovyan"), (f"jupyterlab-{user}_workspace", "", "/workspace")}
    for user in USERS
}
SPAWN = replace(
    POLICY,
    publish="127.0.0.1",
    max_creates=parse_rate("999999/second"),
    host_paths=(HostPath("/srv/shared", "/shared", "ro"),),
    allow=allow(
        ("User", "1000:100"),
        ("Hostname", "lab"),
        ("Healthcheck", {"Test": ["CMD", "true"]}),
        ("HostConfig.ShmSize", 1024**2),
        ("HostConfig.Ulimits", {"Name": "nofile", "Soft": 1024, "Hard": 2048}),
        ("HostConfig.RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
        ("HostConfig.LogConfig", {"Type": "json-file", "Config": {"max-size": "10m"}}),
        ("HostConfig.DeviceRequests", {"Count": -1, "Capabilities": [["gpu"]]}),
        ("HostConfig.Mounts", {"Type": "tmpfs", "Target": "/fast", "TmpfsOptions": {"SizeBytes": 1024**2}}),
    ),
)
TEXTS = ("", "/", "host", "bridge", IMAGE, "jupyterlab-alice_home", "jupyterlab-bob_home", "127.0.0.1", "0.0.0.0", "..")  # noqa: S104 - what an attacker asks for

texts = st.sampled_from(TEXTS) | st.text(max_size=8)
numbers = st.sampled_from((0, 1, -1, 50_000, 10**7, 2**30, 2**30 + 1, 2**63 - 1)) | st.integers()
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
volumes = st.sampled_from(
    ("jupyterlab-alice_home", "jupyterlab-alice_workspace", "jupyterlab-bob_home", "/etc", "/srv/shared", "")
)
targets = st.sampled_from(("/home/jovyan", "/workspace", "/shared", "/fast")) | st.sampled_from(
    ("/workspace/inner", "/proc/sys", "/")
)
bindings = st.fixed_dictionaries({"HostIp": texts, "HostPort": st.sampled_from(("", "0", "22", "80-90"))})
plausible = {
    "Binds": st.lists(
        st.builds("{}:{}:{}".format, volumes, targets, st.sampled_from(("rw", "rw", "ro", "z"))), max_size=2
    ),
    "Mounts": st.lists(
        st.fixed_dictionaries(
            {"Type": st.sampled_from(("volume", "bind", "tmpfs")), "Source": volumes, "Target": targets},
            optional={
                "ReadOnly": st.booleans(),
                "TmpfsOptions": st.fixed_dictionaries({"SizeBytes": st.sampled_from((0, 1024**2, 2**40))}),
            },
        ),
        max_size=3,
    ),
    "PortBindings": st.dictionaries(
        st.sampled_from(("8888/tcp", "22/tcp")), st.lists(bindings, max_size=2), max_size=2
    ),
    "NetworkMode": texts,
    "Image": texts,
    "Labels": st.dictionaries(
        st.sampled_from(("team", "hubwarden.owner", "Hubwarden.x", "x")), texts | st.just("physics")
    ),
    "User": st.sampled_from(("", "0", "root", "1000:100")),
    "Hostname": st.sampled_from(("lab", "hub")),
    "Healthcheck": st.sampled_from(({"Test": ["CMD", "true"]}, {"Test": ["CMD", "false"]}, {})),
    "ShmSize": st.sampled_from((0, 1024**2, 2**40)),
    "Ulimits": st.lists(
        st.fixed_dictionaries({"Name": st.just("nofile"), "Soft": st.just(1024), "Hard": st.sampled_from((2048, -1))}),
        max_size=2,
    ),
    "RestartPolicy": st.fixed_dictionaries(
        {"Name": st.sampled_from(("no", "on-failure", "always")), "MaximumRetryCount": st.sampled_from((0, 3))}
    ),
    "LogConfig": st.fixed_dictionaries(
        {"Type": st.sampled_from(("json-file", "syslog")), "Config": st.sampled_from(({}, {"max-size": "10m"}))}
    ),
    "DeviceRequests": st.lists(
        st.fixed_dictionaries({"Count": st.sampled_from((-1, 1)), "Capabilities": st.just([["gpu"]])}) | st.just({}),
        max_size=2,
    ),
    **dict.fromkeys(("Memory", "CpuQuota", "CpuPeriod", "PidsLimit"), numbers),
}
BODY = {field.alias or name for name, field in create_body.CreateBody.model_fields.items()}
HOST_CONFIG = {field.alias or name for name, field in create_body.HostConfig.model_fields.items()}
every = sorted({*BODY, *HOST_CONFIG, "Privileged", "privileged", "Devices", "binds"})
keys = st.sampled_from(sorted(plausible)) | st.sampled_from(every)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Alice's sound body with up to four values replaced, by ones that could be there or by anything."""
    body = copy.deepcopy(spawner_body("alice", Labels={}))
    del body["Volumes"]  # which would have to go with every other list of mounts
    for key in draw(st.lists(keys, max_size=3)):
        in_host = key not in BODY or (draw(st.booleans()) and draw(st.booleans()))
        value = draw(plausible.get(key, anything) if draw(st.integers(0, 3)) else anything)
        (body["HostConfig"] if in_host and isinstance(body["HostConfig"], dict) else body)[key] = value
    return body


class Recording(FakeEngine):
    """Keeps what it was asked to create."""

    def __init__(self) -> None:
        super().__init__()
        self.add_image(IMAGE)
        self.specs: list[ContainerSpec] = []

    def create_container(self, spec: ContainerSpec) -> ContainerId:
        self.specs.append(spec)
        return super().create_container(spec)


CHOICES: dict[str, Any] = {
    "User": "1000:100",
    "Hostname": "lab",
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 0, "Timeout": 0, "Retries": 0, "StartPeriod": 0},
    "HostConfig.ShmSize": 1024**2,
    "HostConfig.Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 2048}],
    "HostConfig.RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    "HostConfig.LogConfig": {"Type": "json-file", "Config": {"max-size": "10m"}},
    "HostConfig.DeviceRequests": [
        {"Driver": "", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
    ],
}
"""What the options of a container may be under `SPAWN`."""


def test_what_reaches_the_engine_is_what_the_policy_allows() -> None:
    """When a body is sent, it is refused before the engine or becomes what the policy allows; both happen often."""
    seen: Counter[bool] = Counter()

    @settings(max_examples=500, deadline=None)
    @given(documents() | documents() | documents() | anything, st.sampled_from(("alice", "alice", "alice", "bob")))
    def send(document: object, user: str) -> None:
        engine = _sent(document, user)
        seen[bool(engine.specs)] += 1
        for spec in engine.specs:
            _assert_allowed(spec, user)
        assert {call for call, _ in engine.calls} <= {"create_container"}

    send()
    assert min(seen[True], seen[False]) > 20


@settings(max_examples=300, deadline=None)
@given(documents(), st.booleans(), st.sampled_from((None, 1)))
def test_what_was_accepted_is_accepted_again_and_equal(document: Any, ascii_only: Any, indent: Any) -> None:
    """However its JSON is spelt, a body is decoded to the same value or refused each time."""
    again = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    first, second = (
        result_or_refusal(lambda data=data: create_body.decode(strict_json.loads(data)))  # type: ignore[misc] # bound at once
        for data in (json.dumps(document).encode(), again)
    )
    if not isinstance(first, RequestRefused):
        assert second == first
    elif ascii_only:
        assert isinstance(second, RequestRefused)


def _sent(document: object, user: str) -> Recording:
    engine = Recording()
    gateway = Gateway(
        engine=engine,
        names=Names(Templates()),
        spawn=SPAWN,
        locks=UserLocks(),
        audit=MemoryAudit(),
        clock=FakeClock(),
        logged=DenialLimiter(SlidingWindow(parse_rate(DENIALS_LOGGED), FakeClock())),
    )
    call = ApiRequest(Operation.CREATE, query={"name": f"jupyterlab-{user}"})
    try:
        gateway.answer(call, RequestContext("id"), json.dumps(document).encode())
    except RequestRefused:
        assert engine.specs == [] or len(engine.specs) == 1
    return engine


def _assert_allowed(spec: ContainerSpec, user: str) -> None:
    assert (spec.name.value, spec.image, spec.network) == (f"jupyterlab-{user}", IMAGE, "bridge")
    ours = {"hubwarden.owner": user, "hubwarden.server": "", "hubwarden.agent": "jupyterlab-{username}"}
    assert ours.items() <= spec.labels.items()
    assert {key: value for key, value in spec.labels.items() if key not in ours}.items() <= SPAWN.labels.items()
    for mount in spec.mounts:
        what = (mount.kind, mount.volume, mount.source, mount.target, mount.read_only, mount.size, mount.mode)
        assert what in {
            *(("volume", *own, read_only, 0, 0) for own in OWN[user] for read_only in (True, False)),
            ("bind", "", "/srv/shared", "/shared", True, 0, 0),
            ("tmpfs", "", "", "/fast", False, 1024**2, 0),
        }
    assert len({mount.target for mount in spec.mounts}) == len(spec.mounts)
    assert 6 * 1024**2 <= spec.memory <= SPAWN.max_memory
    assert 0 < spec.cpus <= SPAWN.max_cpus
    assert 0 < spec.pids <= SPAWN.max_pids
    assert spec.publish_address == "127.0.0.1"
    for option, value in spec.options.items():
        assert json.dumps(value, sort_keys=True) == json.dumps(CHOICES[option], sort_keys=True), option
    checked = {"options", "name", "image", "network", "labels", "mounts", "memory", "cpus", "pids", "publish_address"}
    # Of the container's own, within it; `published` are ports of it, at that address and the engine's choice of port.
    checked |= {"environment", "command", "auto_remove", "exposed_ports", "published"}
    for other in fields(spec):
        if other.name not in checked:  # what the policy has keys for and this one does not name
            default = other.default_factory() if other.default_factory is not MISSING else other.default
            assert getattr(spec, other.name) == default, other.name
