"""Our values and the agent's messages, both ways, hostile answers included."""

from __future__ import annotations

from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hubwarden.v1 import agent_pb2
from hubwarden_hub import wire
from hubwarden_hub.commands import Home, RequestId, ResetCommand, RestartCommand, Restarted
from hubwarden_hub.errors import Reason
from hypothesis import given
from hypothesis import strategies as st

ID = RequestId.new()


def details(*messages: ErrorInfo | RetryInfo) -> bytes:
    """A status with these details, as in the trailing metadata."""
    status = Status()
    for message in messages:
        packed = AnyMessage()
        packed.Pack(message)
        status.details.append(packed)
    return bytes(status.SerializeToString())


def test_a_restart_command() -> None:
    """Field by field; a fraction of a second of the timeout is rounded up."""
    command = RestartCommand("Ana@Example.org", "lab", "user:ana", ID, "container", 2.1)
    message = wire.restart_message(command, validate_only=True)
    assert (message.username, message.server_name, message.actor) == ("Ana@Example.org", "lab", "user:ana")
    assert (message.request_id, message.expected_container) == (str(ID), "container")
    assert message.validate_only
    assert message.stop_timeout == Duration(seconds=3)


def test_a_reset_command() -> None:
    """When a reset is encoded, each field of the message is as given."""
    message = wire.reset_message(ResetCommand("木村", "service:ops", ID, "volume"))
    assert (message.username, message.actor, message.request_id) == ("木村", "service:ops", str(ID))
    assert message.expected_volume == "volume"
    assert not message.validate_only


def test_answers() -> None:
    """What stands for "not known" and "none" becomes None."""
    answer = agent_pb2.RestartContainerResponse(container="c", container_id="id", started_at=Timestamp(seconds=1))
    assert wire.restarted(answer) == Restarted("c", "id", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    known = agent_pb2.ResetHomeVolumeResponse(
        volume="v", removed_containers=["a"], backup_id="b", size_bytes=0, completed_at=Timestamp(seconds=86400)
    )
    assert wire.home(known) == Home("v", ("a",), datetime(1970, 1, 2, tzinfo=UTC), "b", 0)
    unknown = agent_pb2.ResetHomeVolumeResponse(volume="v", size_bytes=-1)
    assert wire.home(unknown) == Home("v", (), datetime(1970, 1, 1, tzinfo=UTC), None, None)


@pytest.mark.parametrize(
    ("backup_id", "days", "until"),
    [(None, 30, None), ("b", 0, None), ("b", 30, "1970-01-31T00:00:00+00:00")],
    ids=["no backup", "not known how long", "both"],
)
def test_until_when_a_backup_is_kept(backup_id: str | None, days: int, until: str | None) -> None:
    """A date only where there is a backup, and the Hub was told how long the agent keeps it."""
    assert Home("v", (), datetime(1970, 1, 1, tzinfo=UTC), backup_id, None).backup_until(days) == until


def test_a_refusal_keeps_its_reason_metadata_and_delay() -> None:
    """When details come in any order, reason, metadata and delay are read."""
    info = ErrorInfo(domain="hubwarden", reason="RATE_LIMITED", metadata={"request_id": "x"})
    retry = RetryInfo(retry_delay=Duration(seconds=90))
    for messages in ((info, retry), (retry, info)):
        error = wire.agent_error(grpc.StatusCode.RESOURCE_EXHAUSTED, details(*messages))
        assert (error.reason, error.retry_after) == (Reason.RATE_LIMITED, 90)
        assert dict(error.metadata) == {"request_id": "x"}


def test_an_unknown_reason_is_a_failure_without_detail() -> None:
    """A newer agent may have reasons that this version does not know."""
    info = ErrorInfo(domain="hubwarden", reason="FROM_THE_FUTURE")
    assert wire.agent_error(grpc.StatusCode.ABORTED, details(info)).reason is Reason.DOCKER_ERROR


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, Reason.AGENT_UNREACHABLE),
        (grpc.StatusCode.CANCELLED, Reason.AGENT_UNREACHABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.DEADLINE_EXCEEDED),
        (grpc.StatusCode.UNAUTHENTICATED, Reason.CLIENT_NOT_ALLOWED),
        (grpc.StatusCode.UNIMPLEMENTED, Reason.DOCKER_ERROR),
        (grpc.StatusCode.UNKNOWN, Reason.DOCKER_ERROR),
    ],
)
def test_what_grpc_itself_says(code: grpc.StatusCode, reason: Reason) -> None:
    """Without an ErrorInfo of ours the code decides; another domain's is not ours."""
    assert wire.agent_error(code, None).reason is reason
    foreign = ErrorInfo(domain="googleapis.com", reason="SERVER_RUNNING")
    assert wire.agent_error(code, details(foreign)).reason is reason


@given(st.binary())
def test_any_bytes_are_an_error_of_ours(noise: bytes) -> None:
    """Nothing that arrives in the metadata raises anything else."""
    assert wire.agent_error(grpc.StatusCode.INTERNAL, noise).reason in Reason
