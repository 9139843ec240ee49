"""Request hygiene on a real socket: what a caller may not do is refused before anything looks at it."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hubwarden.v1 import agent_pb2, agent_pb2_grpc
from hubwarden_agent import grpc_limits
from hubwarden_agent.listeners import serve_unix
from support.agent.client import refused as read_refusal
from support.agent.core import AgentStage
from support.waiting.conditions import until


@dataclass
class Served:
    """An agent over the fake engine, on a socket."""

    stage: AgentStage
    channel: grpc.aio.Channel

    @property
    def stub(self) -> Any:
        """The contract's client."""
        return agent_pb2_grpc.DockerAgentServiceStub(self.channel)


@pytest.fixture(name="served")
async def _served(tmp_path: Path) -> AsyncIterator[Served]:
    stage = AgentStage(max_concurrent=1)
    for name in ("alice", "bob"):
        stage.engine.add_container(f"jupyterlab-{name}")
    address = f"unix://{tmp_path}/agent.sock"
    running = serve_unix(stage.service, [address], 0o600, None)
    async with grpc.aio.insecure_channel(address) as channel:
        yield Served(stage, channel)
    running.stop(None).wait()


def restart(username: str = "alice", **fields: Any) -> agent_pb2.RestartContainerRequest:
    """A restart that is in order."""
    fields = {"actor": "user:admin", "request_id": str(uuid.uuid4())} | fields
    return agent_pb2.RestartContainerRequest(username=username, **fields)


@pytest.mark.parametrize("deadline", [None, 601])
async def test_a_deadline_is_required_and_bounded(served: Served, deadline: float | None) -> None:
    """Absent or longer than the policy: INVALID_REQUEST, and nothing is looked at."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.stub.RestartContainer(restart(), timeout=deadline)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert read_refusal(refused.value).reason == "INVALID_REQUEST"
    assert served.stage.touched == []


@pytest.mark.parametrize(("size", "code"), [(15_000, "INVALID_ARGUMENT"), (17_000, "RESOURCE_EXHAUSTED")])
async def test_messages_are_bounded(served: Served, size: int, code: str) -> None:
    """Up to 16 KiB a request is parsed, and this one refused as one; above it gRPC refuses it unread."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.stub.RestartContainer(restart("x" * size), timeout=5)
    assert refused.value.code().name == code
    assert bool(read_refusal(refused.value).reason) == (code == "INVALID_ARGUMENT")


async def test_more_than_may_be_in_flight_are_too_busy(served: Served) -> None:
    """With one allowed and one running, another user's is refused, with a time to try again, and works afterwards."""
    release = served.stage.engine.hold["restart_container"] = threading.Event()
    first = asyncio.ensure_future(served.stub.RestartContainer(restart(), timeout=60))
    await until(lambda: served.stage.touched)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.stub.RestartContainer(restart("bob"), timeout=60)
    refusal = read_refusal(refused.value)
    assert (refusal.code, refusal.reason, refusal.retry_after) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_BUSY", 1)
    release.set()
    await first
    await served.stub.RestartContainer(restart("bob"), timeout=60)


@pytest.mark.parametrize(
    "method",
    [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/hubwarden.v1.DockerAgentService/Exec",
    ],
)
async def test_nothing_but_the_two_methods_is_there(served: Served, method: str) -> None:
    """When reflection, channelz or a third method is called, it is unimplemented."""
    call = served.channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"", timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_is_private(served: Served) -> None:
    """The socket that the Hub has does not serve health."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_connections_are_kept_alive_and_end() -> None:
    """Dead peers are noticed, and every connection ends in time to take up renewed certificates."""
    options = dict(grpc_limits.UNIX.options)
    assert {
        "grpc.keepalive_time_ms",
        "grpc.keepalive_timeout_ms",
        "grpc.max_connection_age_ms",
        "grpc.max_connection_age_grace_ms",
    } <= set(options)
    assert options["grpc.max_receive_message_length"] == 16 * 1024
