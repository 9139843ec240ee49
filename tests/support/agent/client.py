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


def details(packed: bytes) -> tuple[status_pb2.Status, error_details_pb2.ErrorInfo, float | None]:
    """A status with its `ErrorInfo` and the seconds of its `RetryInfo`; None without one."""
    status, info, retry = status_pb2.Status.FromString(packed), error_details_pb2.ErrorInfo(), None
    assert status.details[0].Unpack(info)
    assert info.domain == DOMAIN
    for detail in status.details[1:]:
        unpacked = error_details_pb2.RetryInfo()
        assert detail.Unpack(unpacked)
        retry = float(unpacked.retry_delay.seconds)
    return status, info, retry


def refused(error: Any) -> Refused:
    """Read the refusal in a `grpc.RpcError`, of either kind of call, and check that status and details agree."""
    trailing: dict[str, Any] = dict(error.trailing_metadata() or ())
    message = error.details() or ""
    everything = f"{message} {trailing} {error.debug_error_string()}"
    packed = trailing.get(STATUS_METADATA)
    if not isinstance(packed, bytes):
        return Refused(error.code(), message, everything=everything)
    status, info, retry_after = details(packed)
    assert (status.code, status.message) == (error.code().value[0], message)
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
