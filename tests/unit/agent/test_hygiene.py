"""Request hygiene on a real socket: what a caller may not do is refused before anything looks at it."""

from __future__ import annotations

import asyncio
import gc
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def serving(stage: AgentStage, tmp_path: Path) -> AsyncIterator[Served]:
    """An agent with two servers, for the body."""
    for name in ("alice", "bob"):
        stage.engine.add_container(f"jupyterlab-{name}")
    address = f"unix://{tmp_path}/agent.sock"
    running = serve_unix(stage.service, [address], 0o600, None)
    async with grpc.aio.insecure_channel(address) as channel:
        yield Served(stage, channel)
    running.stop(None).wait()


@pytest.fixture(name="served")
async def _served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(AgentStage(threads=1), tmp_path) as served:
        yield served


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


async def test_repetitions_hold_no_thread(tmp_path: Path) -> None:
    """When a request id is repeated with short deadlines while it runs, other calls are still answered."""
    async with serving(AgentStage(threads=3), tmp_path) as served:
        release = served.stage.engine.hold["restart_container"] = threading.Event()
        repeated = restart()
        first = asyncio.ensure_future(served.stub.RestartContainer(repeated, timeout=60))
        await until(lambda: served.stage.engine.calls)
        for _ in range(4):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await served.stub.RestartContainer(repeated, timeout=0.3)
            assert read_refusal(refused.value).reason == "DEADLINE_EXCEEDED"
        waiting = asyncio.ensure_future(served.stub.RestartContainer(repeated, timeout=60))
        another = await served.stub.RestartContainer(restart("bob", validate_only=True), timeout=60)
        assert another.container == "jupyterlab-bob"
        release.set()
        assert (await waiting) == (await first)


@pytest.mark.parametrize("repeated", [False, True])
async def test_an_ended_call_is_freed_at_once(served: Served, *, repeated: bool) -> None:
    """When more calls ended than a connection has streams, the next is answered without a garbage collection.

    gRPC counts a stream until its call is freed: one that waits for the collector takes a place of the connection.
    """
    request = restart("bob" if repeated else "nobody")
    gc.collect()
    gc.disable()
    try:
        for _ in range(2 * grpc_limits.UNIX.streams):
            if repeated:
                assert (await served.stub.RestartContainer(request, timeout=60)).container
                continue
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await served.stub.RestartContainer(request, timeout=60)
            assert read_refusal(refused.value).reason == "CONTAINER_NOT_FOUND"
    finally:
        gc.enable()


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
