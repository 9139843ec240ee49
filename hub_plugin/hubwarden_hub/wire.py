"""Between our values and the agent's messages: pure, both ways.

Invariants: whatever the agent (or something in its place) answers becomes a value or an `AgentError`; a reason
that this version does not know is treated like `DOCKER_ERROR`, so that a newer agent can serve an older Hub. Text from
the wire is never shown to anybody: sentences come from `errors`.
"""

from __future__ import annotations

import math
from datetime import timezone

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hubwarden.v1 import agent_pb2

from hubwarden_hub.commands import Home, ResetCommand, RestartCommand, Restarted
from hubwarden_hub.errors import DOMAIN, AgentError, Reason

DETAILS_KEY = "grpc-status-details-bin"
"""Where gRPC carries a `google.rpc.Status` (https://grpc.io/docs/guides/error/)."""

# What gRPC itself says without an ErrorInfo: the connection, our own deadline, the listener's access control.
_WITHOUT_DETAILS = {
    grpc.StatusCode.UNAVAILABLE: Reason.AGENT_UNREACHABLE,
    grpc.StatusCode.CANCELLED: Reason.AGENT_UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
    grpc.StatusCode.PERMISSION_DENIED: Reason.CLIENT_NOT_ALLOWED,
    grpc.StatusCode.UNAUTHENTICATED: Reason.CLIENT_NOT_ALLOWED,
}


def restart_message(command: RestartCommand, *, validate_only: bool = False) -> agent_pb2.RestartContainerRequest:
    """The request for a restart. The timeout is rounded up to whole seconds, as the agent would."""
    return agent_pb2.RestartContainerRequest(
        username=command.username,
        server_name=command.server_name,
        actor=command.actor,
        request_id=str(command.request_id),
        validate_only=validate_only,
        expected_container=command.expected_container,
        stop_timeout=Duration(seconds=math.ceil(command.stop_timeout)),
    )


def reset_message(command: ResetCommand, *, validate_only: bool = False) -> agent_pb2.ResetHomeVolumeRequest:
    """The request for a reset."""
    return agent_pb2.ResetHomeVolumeRequest(
        username=command.username,
        actor=command.actor,
        request_id=str(command.request_id),
        validate_only=validate_only,
        expected_volume=command.expected_volume,
    )


def restarted(answer: agent_pb2.RestartContainerResponse) -> Restarted:
    """What came of a restart."""
    return Restarted(
        container=answer.container,
        container_id=answer.container_id,
        started_at=answer.started_at.ToDatetime(tzinfo=timezone.utc),
    )


def home(answer: agent_pb2.ResetHomeVolumeResponse) -> Home:
    """What came of a reset, or would come of it."""
    return Home(
        volume=answer.volume,
        removed_containers=tuple(answer.removed_containers),
        completed_at=answer.completed_at.ToDatetime(tzinfo=timezone.utc),
        backup_id=answer.backup_id or None,
        size_bytes=answer.size_bytes if answer.size_bytes >= 0 else None,
    )


def agent_error(code: grpc.StatusCode, details: bytes | None) -> AgentError:
    """What a failed call means.

    Args:
        code: the call's gRPC status.
        details: the value of `DETAILS_KEY` in the trailing metadata, if there was one.
    """
    info, retry = _unpack(details)
    if info is None:
        return AgentError(_WITHOUT_DETAILS.get(code, Reason.DOCKER_ERROR), retry_after=retry)
    reason = Reason.__members__.get(info.reason, Reason.DOCKER_ERROR)
    return AgentError(reason, dict(info.metadata), retry)


def _unpack(details: bytes | None) -> tuple[ErrorInfo | None, float | None]:
    """Our `ErrorInfo` and the seconds of the `RetryInfo`, where they are there and readable."""
    info, retry = ErrorInfo(), RetryInfo()
    known, seconds = None, None
    try:
        for detail in Status.FromString(details or b"").details:
            if detail.Unpack(info) and info.domain == DOMAIN:
                known = info
            elif detail.Unpack(retry) and retry.retry_delay.ToTimedelta().total_seconds() > 0:
                seconds = retry.retry_delay.ToTimedelta().total_seconds()
    except DecodeError:
        return None, None
    return known, seconds
