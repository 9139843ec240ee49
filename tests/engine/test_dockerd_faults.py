"""dockerd itself is killed, stopped, frozen or out of reach, with an agent that is one process throughout each test.

Invariants: the engine is one of these tests' own, because nothing else on it would survive. `test_faults` makes faults
in a relay, where they can be timed more exactly; those that a relay can make are marked `full` here.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.agent.live_agent import LiveAgent, reset_request, restart_request, running
from support.docker.private_engine import ENGINE, Workbench, base_image, workbench
from support.scenarios.restart_faults import DEADLINE, begin_slow_restart, phases, reason, started
from support.waiting.conditions import wait_for

NAME = "test-9"


def dockerd() -> int:
    """Its process."""
    return int(Path(f"/run/hubwarden-{NAME}/dockerd.pid").read_text())


def engine(command: str) -> None:
    """Start or stop it."""
    subprocess.run([ENGINE, command, NAME], check=True)


@contextmanager
def frozen() -> Iterator[None]:
    """It takes connections and answers nobody, for the body."""
    os.kill(dockerd(), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(dockerd(), signal.SIGCONT)


@pytest.fixture(scope="module")
def own_socket() -> Iterator[str]:
    """The socket of an engine that nobody else uses."""
    engine("start")
    yield f"/run/hubwarden-{NAME}/docker.sock"
    engine("stop")


@pytest.fixture
def own_bench(own_socket: str) -> Iterator[Workbench]:
    """Puts things on it."""
    engine("start")
    with workbench(own_socket, base_image("busybox", own_socket, NAME)) as bench:
        yield bench


@pytest.fixture
def own_agent(tmp_path: Path, own_socket: str, own_bench: Workbench) -> Iterator[LiveAgent]:
    """An agent in front of it."""
    assert own_bench.socket == own_socket
    with running(tmp_path, own_socket) as agent:
        yield agent


def restart(agent: LiveAgent, request: Any) -> Any:
    """Ask for a restart."""
    return agent.stub().RestartContainer(request, timeout=DEADLINE)


@pytest.mark.full  # `test_faults` makes the same fault in a relay
def test_frozen_in_the_middle(own_agent: LiveAgent, own_bench: Workbench) -> None:
    """The deadline holds, everybody else learns that Docker is away, and the outcome is there once it goes on."""
    container, request, future = begin_slow_restart(own_agent, own_bench, deadline=4)
    before = started(container)
    with frozen():
        assert reason(future.result) == "DEADLINE_EXCEEDED"
        reset = reset_request(own_bench.username())
        assert reason(lambda: own_agent.stub().ResetHomeVolume(reset, timeout=DEADLINE)) == "DOCKER_UNAVAILABLE"
        own_agent.wait_until_serving(serving=False)
        assert phases(own_agent, request.request_id) == ["intent"]
    restart(own_agent, request)
    after = started(container)
    assert after != before
    assert phases(own_agent, request.request_id) == ["intent", "outcome"]
    restart(own_agent, request)
    assert started(container) == after
    own_agent.wait_until_serving()


def test_killed_in_the_middle_and_started_again(own_agent: LiveAgent, own_bench: Workbench) -> None:
    """Not known is what is said, for good; nothing hangs; and with dockerd back, a new request acts."""
    container, request, future = begin_slow_restart(own_agent, own_bench)
    os.kill(dockerd(), signal.SIGKILL)
    assert reason(future.result) == "DOCKER_UNAVAILABLE"
    assert phases(own_agent, request.request_id) == ["intent", "outcome"]
    own_agent.wait_until_serving(serving=False)
    engine("start")
    own_agent.wait_until_serving()
    container.reload()
    if container.status != "running":
        container.start()
    assert reason(lambda: restart(own_agent, request)) == "DOCKER_UNAVAILABLE"
    before = started(container)
    assert restart(own_agent, restart_request(request.username)).container_id == container.id
    assert started(container) != before


@pytest.mark.full  # `test_faults` makes the same fault in a relay
def test_stopped_and_started(own_agent: LiveAgent, own_bench: Workbench) -> None:
    """Both operations are refused without an intent, and work afterwards."""
    username = own_bench.username()
    container = own_bench.container(f"jupyterlab-{username}")
    own_bench.volume(f"jupyterlab-{username}_home")
    engine("stop")
    reset = reset_request(username)
    assert reason(lambda: restart(own_agent, restart_request(username))) == "DOCKER_UNAVAILABLE"
    assert reason(lambda: own_agent.stub().ResetHomeVolume(reset, timeout=DEADLINE)) == "DOCKER_UNAVAILABLE"
    assert "intent" not in "".join(own_agent.audit_lines)
    engine("start")
    own_agent.wait_until_serving()
    container.start()
    restart(own_agent, restart_request(username))
    assert own_agent.stub().ResetHomeVolume(reset, timeout=DEADLINE).volume == f"jupyterlab-{username}_home"


def test_the_socket_is_gone(tmp_path: Path, own_socket: str, own_bench: Workbench) -> None:
    """An agent that starts without it serves, says what is missing, and needs nothing but the socket's return."""
    username = own_bench.username()
    own_bench.container(f"jupyterlab-{username}")
    hidden = Path(own_socket).with_suffix(".hidden")
    Path(own_socket).rename(hidden)
    agent = LiveAgent(tmp_path, own_socket)
    try:
        agent.launch()
        agent.wait_until_serving(serving=False)
        wait_for((tmp_path / "agent.sock").exists, "the agent's socket")
        assert reason(lambda: restart(agent, restart_request(username))) == "DOCKER_UNAVAILABLE"
        hidden.rename(own_socket)
        agent.wait_until_serving()
        restart(agent, restart_request(username))
    finally:
        if hidden.exists():
            hidden.rename(own_socket)
        agent.stop()
