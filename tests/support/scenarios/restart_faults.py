"""A restart to break in the middle, and what came of it: refusals, the record, and what the engine did."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from support.agent.client import refused
from support.agent.live_agent import LiveAgent, restart_request
from support.docker.private_engine import Workbench
from support.waiting.conditions import wait_for

STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"
DEADLINE = 30.0


def reason(action: Any) -> str:
    """The reason of a refusal, or the name of its status if gRPC itself refused."""
    with pytest.raises(grpc.RpcError) as caught:
        action()
    refusal = refused(caught.value)
    return refusal.reason or refusal.code.name


def phases(agent: LiveAgent, request_id: str) -> list[str]:
    """What is on the record about a request."""
    lines = [json.loads(line) for line in agent.audit_lines]
    return [line["phase"] for line in lines if line.get("request_id") == request_id]


def begin_slow_restart(agent: LiveAgent, bench: Workbench, deadline: float = DEADLINE) -> tuple[Any, Any, Any]:
    """A restart that takes its stop timeout, with its intent on disk. Returns container, request and future."""
    username = bench.username()
    container = bench.container(f"jupyterlab-{username}", STUBBORN)
    request = restart_request(username)
    request.stop_timeout.seconds = 3
    future = agent.stub().RestartContainer.future(request, timeout=deadline)
    wait_for(lambda: phases(agent, request.request_id) == ["intent"], "the intent")
    return container, request, future


def started(container: Any) -> str:
    """When it was last started."""
    container.reload()
    return str(container.attrs["State"]["StartedAt"])
