"""Docker or the client fail in the middle: the table's error, no wait past the deadline, and recovery by itself.

The fault is made in a relay between the agent and the engine, so that the engine itself, which other tests use, is
whole. The agent is one process throughout each test: nothing here restarts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent.live_agent import LiveAgent, reset_request, restart_request, running
from support.docker.private_engine import Workbench
from support.docker.relay import Relay, RelayThread
from support.scenarios.restart_faults import DEADLINE, begin_slow_restart, phases, reason, started
from support.waiting.conditions import wait_for


@pytest.fixture(name="relay")
def _relay(tmp_path: Path, engine_socket: str) -> Iterator[RelayThread]:
    relay = RelayThread(tmp_path / "relay.sock", lambda: Relay(engine_socket, lambda: True))
    relay.start()
    yield relay
    relay.stop()


@pytest.fixture(name="agent")
def _agent(tmp_path: Path, relay: RelayThread) -> Iterator[LiveAgent]:
    with running(tmp_path, str(relay.socket)) as agent:
        yield agent
        relay.stop()


@pytest.mark.parametrize("fault", ["gone", "frozen"])
def test_without_docker_nothing_is_done_and_it_comes_back(
    agent: LiveAgent, relay: RelayThread, bench: Workbench, fault: str
) -> None:
    """Both operations say so within the time that Docker gets, health turns, and everything works afterwards."""
    username = bench.username()
    bench.container(f"jupyterlab-{username}")
    bench.volume(f"jupyterlab-{username}_home")
    stub = agent.stub()
    (relay.stop if fault == "gone" else relay.freeze)()
    assert reason(lambda: stub.RestartContainer(restart_request(username), timeout=DEADLINE)) == "DOCKER_UNAVAILABLE"
    assert reason(lambda: stub.ResetHomeVolume(reset_request(username), timeout=DEADLINE)) == "DOCKER_UNAVAILABLE"
    agent.wait_until_serving(serving=False)
    assert "intent" not in "".join(agent.audit_lines)
    (relay.start if fault == "gone" else relay.thaw)()
    agent.wait_until_serving()
    stub.RestartContainer(restart_request(username), timeout=DEADLINE)
    stub.ResetHomeVolume(reset_request(username), timeout=DEADLINE)


def test_frozen_in_the_middle_the_deadline_holds(agent: LiveAgent, relay: RelayThread, bench: Workbench) -> None:
    """The caller has DEADLINE_EXCEEDED; the operation goes on, and its outcome is there under the same request id."""
    container, request, future = begin_slow_restart(agent, bench, deadline=4)
    before = started(container)
    relay.freeze()
    assert reason(future.result) == "DEADLINE_EXCEEDED"
    assert phases(agent, request.request_id) == ["intent"]
    relay.thaw()
    agent.stub().RestartContainer(request, timeout=DEADLINE)
    assert phases(agent, request.request_id) == ["intent", "outcome"]
    after = started(container)
    assert after != before
    agent.stub().RestartContainer(request, timeout=DEADLINE)
    assert started(container) == after


@pytest.mark.slow("the agent gives operations 90 s to end")
def test_frozen_in_the_middle_the_agent_still_ends(agent: LiveAgent, relay: RelayThread, bench: Workbench) -> None:
    """When Docker hangs in a restart, the agent exits within 95 s of SIGTERM; the next start finds an open intent."""
    _, request, future = begin_slow_restart(agent, bench)
    relay.freeze()
    agent.process.terminate()
    assert agent.process.wait(95) == 0
    assert reason(future.result) in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    assert phases(agent, request.request_id) == ["intent"]
    assert '"agent-stop"' not in "".join(agent.audit_lines)


def test_stopped_in_the_middle_is_unavailable(agent: LiveAgent, relay: RelayThread, bench: Workbench) -> None:
    """The outcome is not known and that is said, for good; a new request acts once Docker is back."""
    _, request, future = begin_slow_restart(agent, bench)
    relay.stop()
    assert reason(future.result) == "DOCKER_UNAVAILABLE"
    assert phases(agent, request.request_id) == ["intent", "outcome"]
    relay.start()
    agent.wait_until_serving()
    assert reason(lambda: agent.stub().RestartContainer(request, timeout=DEADLINE)) == "DOCKER_UNAVAILABLE"
    agent.stub().RestartContainer(restart_request(request.username), timeout=DEADLINE)


def test_a_client_that_goes_away_changes_nothing(agent: LiveAgent, bench: Workbench) -> None:
    """The operation runs to its end, is recorded, and a repeated request id gets its outcome."""
    container, request, future = begin_slow_restart(agent, bench)
    before = started(container)
    future.cancel()
    wait_for(lambda: phases(agent, request.request_id) == ["intent", "outcome"], "the outcome")
    after = started(container)
    assert after != before
    answer = agent.stub().RestartContainer(request, timeout=DEADLINE)
    assert (answer.container_id, started(container)) == (container.id, after)
