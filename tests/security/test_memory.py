"""What a Hub can do to the agent's memory: each attack leaves it small, and the agent serves on."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from hubwarden_agent import ownership
from hubwarden_agent.gateway.create_body import MAX_COMMAND_BYTES, decode
from hubwarden_agent.names import Names, ServerName, Templates, Username
from support.agent.live_agent import LiveAgent, reset_request, restart_request, running
from support.docker.private_engine import Workbench
from support.scenarios.attacks.floods import FLOODS, HALF_HEADERS, flood, held, wait_until_accepted
from support.waiting.conditions import wait_for

GROWTH = 64 * 1024
"""KiB that the agent may take beside what it takes idle. Each attack is chosen to take more of an unbounded agent."""
LOG_BYTES = 200_000
"""60 refusals on each of three listeners, and gRPC's own lines."""
DESCRIPTORS = 6000
DEADLINE = 20.0
RECOVERY_SECONDS = 2.0
"""Within which an attacked listener answers again once the attack has ended."""


@pytest.fixture
def agent(engine_socket: str, tmp_path: Path) -> Iterator[LiveAgent]:
    """An agent with all of its listeners."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(DESCRIPTORS, hard)), hard))
    try:
        with running(tmp_path, engine_socket, gateway=True, metrics=True) as agent:
            yield agent
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _answers(stub: Any) -> bool:
    """Whether Docker was asked for a container that is not there."""
    with pytest.raises(grpc.RpcError) as refused:
        stub.RestartContainer(restart_request("nobody", validate_only=True), timeout=DEADLINE)
    return bool(refused.value.code() is grpc.StatusCode.NOT_FOUND)


def _log_bytes(agent: LiveAgent) -> int:
    return (agent.directory / "agent.log").stat().st_size


@pytest.mark.parametrize("frames", FLOODS.values(), ids=FLOODS)
def test_one_connection_at_full_speed(agent: LiveAgent, frames: Callable[[int], bytes]) -> None:
    """When one client sends as fast as it can, memory and log stay small, and the next is answered within 2 s."""
    idle = agent.status("VmRSS")
    flood(agent.directory / "agent.sock", frames, seconds=2)
    assert agent.status("VmHWM") - idle < (2 if frames is FLOODS["headers without end"] else 1) * GROWTH
    wait_for(lambda: _answers(agent.stub()), "an answer", RECOVERY_SECONDS)
    assert _log_bytes(agent) < LOG_BYTES


@pytest.mark.parametrize(
    ("name", "start", "count"),
    [
        ("agent.sock", HALF_HEADERS, 5000),
        ("health.sock", HALF_HEADERS, 5000),
        ("agent.sock", b"", 5000),
        ("gateway.sock", b"", 1000),
        ("metrics.sock", b"", 1000),
    ],
    ids=["half a HEADERS frame", "half a HEADERS frame to health", "nothing", "to the gateway", "to the metrics"],
)
def test_many_connections(agent: LiveAgent, name: str, start: bytes, count: int) -> None:
    """When clients hold connections, a client from before is answered, and a new one once they are gone."""
    before = agent.stub()
    assert _answers(before)
    idle = agent.status("VmRSS")
    with held(agent.directory / name, count, start):
        if count > 1000:
            wait_until_accepted(agent.directory / name)
        assert _answers(before)
        assert agent.status("VmHWM") - idle < GROWTH
    assert _answers(agent.stub())
    agent.wait_until_serving()


def test_many_holders_with_large_environments_and_commands(agent: LiveAgent, bench: Workbench) -> None:
    """When 200 containers with 250 KB of environment hold a home, 16 clients that validate read none of it.

    Docker's list of containers has their commands, which are as large as the gateway allows. A character of 4 bytes
    makes Python hold each character in 4.
    """
    user = bench.username()
    bench.volume(f"jupyterlab-{user}_home")
    labels = ownership.labels(Username(user), ServerName(""), Names(Templates()))
    names = [f"jupyterlab-{user}{number or ''}" for number in range(200)]
    words = ("/bin/sh", "-c", "\U0001f4d3")
    command = words[-1] + "x" * (MAX_COMMAND_BYTES - sum(len(json.dumps(word)) for word in words))
    assert decode({"Cmd": [*words[:-1], command]})

    def make(name: str) -> None:
        environment = {"A": "x" * 125_000, "B": "x" * 125_000}
        mounts = {f"jupyterlab-{user}_home": "/home/jovyan"}
        bench.container(name, command, start=False, mounts=mounts, environment=environment, labels=labels)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, names))
    stub = agent.stub()
    assert _answers(stub)
    idle = agent.status("VmRSS")

    def validate(_: int) -> str:
        with pytest.raises(grpc.RpcError) as refused:
            stub.ResetHomeVolume(reset_request(user, validate_only=True), timeout=DEADLINE)
        return str(refused.value.code().name)

    with ThreadPoolExecutor(16) as threads:
        answers = set(threads.map(validate, range(64)))
    # A validation is UNAVAILABLE if it waited for the lists of others for longer than docker.timeout, here 5 s.
    assert answers - {"UNAVAILABLE"}
    assert answers <= {"FAILED_PRECONDITION", "ABORTED", "UNAVAILABLE"}
    assert agent.status("VmHWM") - idle < GROWTH
