"""Clients that hold every connection of one gRPC listener: the other listeners answer."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from hubwarden_agent import grpc_limits
from support.agent.launcher import COMMAND
from support.agent.live_agent import LiveAgent, restart_request, running
from support.scenarios.attacks.floods import HELLO
from support.waiting.ports import free_port

DEADLINE = 5.0
"""Less than a silent client may take for its handshake, after which its place is free."""
LISTENERS = {"agent.sock": grpc_limits.UNIX, "health.sock": grpc_limits.HEALTH, "TCP": grpc_limits.TCP}


@pytest.fixture
def agent(engine_socket: str, tmp_path: Path) -> Iterator[LiveAgent]:
    """An agent with all of its listeners."""
    with running(tmp_path, engine_socket, gateway=True, metrics=True, tls_port=free_port()) as agent:
        yield agent


def _connected(agent: LiveAgent, listener: str) -> socket.socket:
    if listener == "TCP":
        return socket.create_connection(("127.0.0.1", agent.tls_port), DEADLINE)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE)
    client.connect(str(agent.directory / listener))
    with suppress(ConnectionError):  # it is closed at once where there is no room
        client.send(HELLO)
    return client


def _answers(stub: Any) -> bool:
    with pytest.raises(grpc.RpcError) as refused:
        stub.RestartContainer(restart_request("nobody", validate_only=True), timeout=DEADLINE)
    return bool(refused.value.code() is grpc.StatusCode.NOT_FOUND)


def _is_healthy(agent: LiveAgent) -> bool:
    command = [*COMMAND, "healthcheck", "--config", str(agent.directory / "agent.toml")]
    return not subprocess.run(command, check=False).returncode


def _get(agent: LiveAgent, listener: str, path: str) -> int:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(agent.directory / listener)), timeout=DEADLINE) as client:
        return client.get(f"http://localhost{path}").status_code


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_full_listener_does_not_affect_the_others(agent: LiveAgent, listener: str) -> None:
    """When one gRPC listener has no connection left, new clients of every other listener are answered."""
    with ExitStack() as held:
        for _ in range(LISTENERS[listener].connections):
            held.enter_context(_connected(agent, listener))
        one_more = held.enter_context(_connected(agent, listener))
        with suppress(ConnectionError):
            assert one_more.recv(1) == b""
        assert listener == "agent.sock" or _answers(agent.stub())
        assert listener == "TCP" or _answers(agent.tls_stub())
        assert listener == "health.sock" or _is_healthy(agent)
        assert (_get(agent, "gateway.sock", "/_ping"), _get(agent, "metrics.sock", "/metrics")) == (200, 200)
