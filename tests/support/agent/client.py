"""A client of the agent as the Hub is one: the generated stub over a unix socket, and refusals read from the wire."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hubwarden.v1 import agent_pb2, agent_pb2_grpc
from hubwarden_agent.errors import DOMAIN
from hubwarden_agent.service import STATUS_METADATA

PATIENCE = 60.0
"""Seconds of deadline that a test's call gets, unless the deadline is what the test is about."""


@dataclass(frozen=True)
class Refused:
    """A refusal as a client sees it. `everything` is all the bytes and text that arrived."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    everything: str = ""


def refused(error: grpc.aio.AioRpcError) -> Refused:
    """Read a refusal, and check that status and details agree."""
    trailing: dict[str, str | bytes] = dict(error.trailing_metadata() or ())  # type: ignore[arg-type] # a pair is one
    message = error.details() or ""
    everything = f"{message} {trailing} {error.debug_error_string()}"
    data = trailing.get(STATUS_METADATA)
    if not isinstance(data, bytes):
        return Refused(error.code(), message, everything=everything)
    status = status_pb2.Status.FromString(data)
    assert (status.code, status.message) == (error.code().value[0], message)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == DOMAIN
    retry_after = retry.retry_delay.seconds if len(status.details) > 1 and status.details[1].Unpack(retry) else None
    return Refused(error.code(), message, info.reason, dict(info.metadata), retry_after, everything)


async def refusal_of(call: Awaitable[Any]) -> Refused:
    """The refusal that a call ends in."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refused(caught.value)


@asynccontextmanager
async def channel(path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a unix socket, of its own."""
    options = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.insecure_channel(f"unix://{path}", options=options) as opened:
        yield opened


@asynccontextmanager
async def client(path: Path) -> AsyncIterator[agent_pb2_grpc.DockerAgentServiceAsyncStub]:
    """The generated stub."""
    async with channel(path) as opened:
        yield agent_pb2_grpc.DockerAgentServiceStub(opened)


def restart_request(username: str = "alice", **fields: Any) -> agent_pb2.RestartContainerRequest:
    """A request with a new id, unless told otherwise. `stop_timeout` in seconds."""
    if (seconds := fields.pop("stop_timeout", None)) is not None:
        duration = duration_pb2.Duration()
        duration.FromNanoseconds(int(seconds * 1e9))
        fields["stop_timeout"] = duration
    values = {"username": username, "actor": "user:alice", "request_id": str(uuid.uuid4())} | fields
    return agent_pb2.RestartContainerRequest(**values)


def reset_request(username: str = "alice", **fields: Any) -> agent_pb2.ResetHomeVolumeRequest:
    """A request with a new id, unless told otherwise."""
    values = {"username": username, "actor": "user:alice", "request_id": str(uuid.uuid4())} | fields
    return agent_pb2.ResetHomeVolumeRequest(**values)


async def raw_call(opened: grpc.aio.Channel, method: str, data: bytes = b"") -> bytes:
    """A call of any method with any bytes, without the generated code in between."""
    answer: bytes = await opened.unary_unary(method, lambda given: given, lambda given: given)(data, timeout=PATIENCE)
    return answer
