"""Which request messages are malformed, and what a client that sends one gets."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from cryptography import x509
from google.protobuf import duration_pb2
from grpc_health.v1 import health_pb2
from hubwarden.v1 import agent_pb2
from hubwarden_agent.listeners import SERVICE
from hubwarden_agent.messages import received
from support.agent.client import channel, raw_call, refusal_of, restart_request
from support.agent.in_process import Served
from support.agent.tls import issued, remote_agent

UNKNOWN_FIELD = b"\xa2\x06\x01x"
"""Field 100, a text."""
REQUEST = restart_request().SerializeToString()
DURATION = duration_pb2.Duration(seconds=1).SerializeToString() + UNKNOWN_FIELD
MALFORMED = (
    pytest.param(b"\xff\xff\xff", id="no message"),
    pytest.param(REQUEST[:-1], id="cut off"),
    pytest.param(b"\x0a\x02\xff\xfe", id="a username that is no UTF-8"),
    pytest.param(REQUEST + UNKNOWN_FIELD, id="an unknown field"),
)
NESTED = pytest.param(REQUEST + b"\x3a" + bytes([len(DURATION)]) + DURATION, id="an unknown field in a field")


@pytest.mark.parametrize("content", [*MALFORMED, NESTED])
def test_malformed(content: bytes) -> None:
    """When bytes are no message, or hold a field that the contract does not have, nothing of them is used."""
    assert received(agent_pb2.RestartContainerRequest, content).malformed
    assert received(agent_pb2.RestartContainerRequest, content).message == agent_pb2.RestartContainerRequest()


@pytest.mark.parametrize(("number", "malformed"), [(1, False), (99, True)])
def test_enum_values(number: int, malformed: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """When an enum has a value that its type does not list, the message is malformed."""
    content = bytes([0x08, number])
    assert received(health_pb2.HealthCheckResponse, content).malformed is malformed


def test_a_sound_message() -> None:
    """When every field is known, the message arrives as it was sent, defaults that are spelt out included."""
    spelt_out = REQUEST + b"\x28\x00"
    parsed = received(agent_pb2.RestartContainerRequest, spelt_out)
    assert (parsed.malformed, parsed.message) == (False, agent_pb2.RestartContainerRequest.FromString(REQUEST))


@pytest.mark.parametrize("method", ["RestartContainer", "ResetHomeVolume"])
@pytest.mark.parametrize("content", MALFORMED)
async def test_what_the_client_gets(
    served: Served, content: bytes, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """When a message is malformed, the answer is INVALID_REQUEST and the log has a line without a traceback."""
    caplog.set_level("INFO")
    async with channel(served.path) as opened:
        refusal = await refusal_of(raw_call(opened, f"/{SERVICE}/{method}", content))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert [(record.name, record.exc_info) for record in caplog.records] == [("hubwarden_agent.service", None)]
    assert served.stage.touched == []


@pytest.mark.parametrize(("listed", "reason"), [(True, "INVALID_REQUEST"), (False, "CLIENT_NOT_ALLOWED")])
@pytest.mark.parametrize("method", [f"/{SERVICE}/RestartContainer", "/grpc.health.v1.Health/Check"])
async def test_over_tls(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    method: str,
    reason: str,
    *,
    listed: bool,
) -> None:
    """When a message over TLS is malformed, a client that is not listed learns only that it is not listed."""
    async with remote_agent(tmp_path) as stage:
        names = () if listed else (x509.DNSName("other.example.org"),)
        refusal = await refusal_of(raw_call(stage.connect(issued(stage.ca, *names)), method, b"\xff\xff\xff"))
    assert refusal.reason == reason
    assert not [record for record in caplog.records if record.exc_info]
