"""Every RPC by every kind of caller: who gets an answer, and what the others get. What is not in the table fails."""

from __future__ import annotations

import asyncio
import itertools
import socket
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2
from hubwarden.v1 import agent_pb2
from support.agent.client import refused
from support.agent.tls import HUB, NOW, OPTIONS, SERVER, YEAR, authority, issued, remote_agent, without_names
from support.fakes.engine import home_of

SERVICES = (
    agent_pb2.DESCRIPTOR.services_by_name["DockerAgentService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
)
METHODS = [method.full_name for service in SERVICES for method in service.methods]
CALLERS = {
    "plaintext": lambda stage: stage.keep(grpc.aio.insecure_channel(f"127.0.0.1:{stage.port}", OPTIONS)),
    "no certificate": lambda stage: stage.connect(None),
    # It says all the right things, and its CA has the same name as the agent's.
    "wrong CA": lambda stage: stage.connect(issued(authority())),
    "expired": lambda stage: stage.connect(issued(stage.ca, start=NOW - 2 * YEAR)),
    "the agent's own": lambda stage: stage.connect(issued(stage.ca, x509.DNSName(HUB), purpose=SERVER)),
    "no SAN": lambda stage: stage.connect(without_names(stage.ca)),
    "unlisted": lambda stage: stage.connect(issued(stage.ca, x509.DNSName("other.example.org"))),
    "listed": lambda stage: stage.connect(issued(stage.ca)),
    "unix": lambda stage: stage.keep(grpc.aio.insecure_channel(f"unix://{stage.files.directory}/agent.sock", OPTIONS)),
    "private unix": lambda stage: stage.keep(
        grpc.aio.insecure_channel(f"unix://{stage.files.directory}/health.sock", OPTIONS)
    ),
}
NO_CONNECTION, NOT_THERE, ANSWER, REFUSED = "UNAVAILABLE", "UNIMPLEMENTED", "answer", "CLIENT_NOT_ALLOWED"
"""gRPC's own words for the first two, an answer, and our reason."""
RESTART, RESET = (f"hubwarden.v1.DockerAgentService.{name}" for name in ("RestartContainer", "ResetHomeVolume"))
CHECK, WATCH = "grpc.health.v1.Health.Check", "grpc.health.v1.Health.Watch"
EXPECTED = {
    **{(method, caller): NO_CONNECTION for method in (RESTART, RESET, CHECK, WATCH)
       for caller in ("plaintext", "no certificate", "wrong CA", "expired", "the agent's own")},
    **{(method, caller): REFUSED for method in (RESTART, RESET, CHECK) for caller in ("no SAN", "unlisted")},
    **{(method, "listed"): ANSWER for method in (RESTART, RESET, CHECK)},
    **{(WATCH, caller): NOT_THERE for caller in ("no SAN", "unlisted", "listed")},
    (RESTART, "unix"): ANSWER,
    (RESET, "unix"): ANSWER,
    (CHECK, "unix"): NOT_THERE,
    (WATCH, "unix"): NOT_THERE,
    (RESTART, "private unix"): NOT_THERE,
    (RESET, "private unix"): NOT_THERE,
    (CHECK, "private unix"): ANSWER,
    (WATCH, "private unix"): ANSWER,
}  # fmt: skip
REQUESTS = {
    RESTART: lambda: agent_pb2.RestartContainerRequest(
        username="alice", actor="user:alice", request_id=str(uuid.uuid4())
    ),
    RESET: lambda: agent_pb2.ResetHomeVolumeRequest(username="bob", actor="user:bob", request_id=str(uuid.uuid4())),
    CHECK: health_pb2.HealthCheckRequest,
    WATCH: health_pb2.HealthCheckRequest,
}


async def _outcome(channel: grpc.aio.Channel, method: str) -> str:
    service, _, name = method.rpartition(".")
    path, serialize = f"/{service}/{name}", lambda message: message.SerializeToString()
    try:
        if method == WATCH:
            call: Any = channel.unary_stream(path, serialize, None)(REQUESTS[method](), timeout=20)
            answered = await call.read() is not grpc.aio.EOF  # type: ignore[attr-defined] # the stubs leave it out
            call.cancel()
            assert answered
        else:
            await channel.unary_unary(path, serialize, None)(REQUESTS[method](), timeout=20)
    except grpc.aio.AioRpcError as error:
        refusal = refused(error)
        return refusal.reason or refusal.code.name
    return ANSWER


def test_the_table_is_complete() -> None:
    """A method or a kind of caller that is not in the table fails here, and so does a line too many."""
    assert set(EXPECTED) == set(itertools.product(METHODS, CALLERS))


@pytest.mark.parametrize(("method", "caller"), list(itertools.product(METHODS, CALLERS)))
async def test_caller(tmp_path: Path, method: str, caller: str) -> None:
    """Each caller gets what the table says; a refusal touches nothing; an unlisted one leaves one line in the audit."""
    async with remote_agent(tmp_path) as stage:
        outcome = await _outcome(CALLERS[caller](stage), method)
        assert outcome == EXPECTED[method, caller]
        acted = outcome == ANSWER and method in (RESTART, RESET)
        assert bool(stage.engine.calls) == acted
        phases = ["intent", "outcome"] if acted else ["denied"] if outcome == REFUSED else []
        assert [line["phase"] for line in stage.audited()] == phases


@pytest.mark.parametrize(
    ("caller", "client"),
    [
        ("listed", "dns:hub.example.org"),
        ("unix", "unix"),
        ("unlisted", "dns:other.example.org"),
        ("no SAN", "no alternative name"),
    ],
)
async def test_the_audit_names_the_caller(tmp_path: Path, caller: str, client: str) -> None:
    """What the transport proved is what the audit says, and a common name is not part of it."""
    async with remote_agent(tmp_path) as stage:
        await _outcome(CALLERS[caller](stage), RESTART)
        assert {line["client"] for line in stage.audited()} == {client}


async def test_each_listener_records_its_own_refusals(tmp_path: Path) -> None:
    """When an unlisted client was refused as often as a minute records, other listeners' refusals are recorded."""
    async with remote_agent(tmp_path, f"unix://{tmp_path}/docker.sock") as stage:
        unlisted = CALLERS["unlisted"](stage)
        for _ in range(61):
            assert await _outcome(unlisted, RESTART) == REFUSED
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "docker.sock"))
            client.sendall(b"POST /v1.44/build HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 403 " in await asyncio.to_thread(client.recv, 100)
        stage.engine.add_container("jupyterlab-bob", mounts=(home_of("bob"),))
        assert await _outcome(CALLERS["unix"](stage), RESET) == "SERVER_RUNNING"
        denied = Counter(line["client"] for line in stage.audited() if line["phase"] == "denied")
        assert denied == {"dns:other.example.org": 60, "gateway": 1, "unix": 1}


async def test_nothing_else_is_served(tmp_path: Path) -> None:
    """When a listed client asks for reflection, it is unimplemented."""
    async with remote_agent(tmp_path) as stage:
        channel = CALLERS["listed"](stage)
        call: Any = channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"", timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
