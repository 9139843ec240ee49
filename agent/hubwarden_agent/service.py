"""The gRPC service: messages in, typed commands out, and the one place that turns a refusal into a status.

What holds here: a caller is admitted before anything else is looked at; every call has a deadline that the policy
allows; a request is parsed as a whole before anything else sees it; nothing but our own sentences and reasons leaves.
An exception that nobody foresaw becomes `DOCKER_ERROR` without a word of its text.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from hubwarden.v1 import agent_pb2

from hubwarden_agent import log_context
from hubwarden_agent.callers import Callers, Context
from hubwarden_agent.denials import DenialLimiter, log_refusal
from hubwarden_agent.errors import DOMAIN, Reason, Refusal, StatusCode, first_names
from hubwarden_agent.measuring import Measuring
from hubwarden_agent.messages import Received
from hubwarden_agent.names import Actor, RequestId, ServerName, Username
from hubwarden_agent.operations.commands import DEFAULT_STOP_TIMEOUT, Reset, Restart, Restarted, WasReset

STATUS_METADATA = "grpc-status-details-bin"
"""Where gRPC carries a `google.rpc.Status`."""

Request = TypeVar("Request", agent_pb2.RestartContainerRequest, agent_pb2.ResetHomeVolumeRequest)
Result = TypeVar("Result")
Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)


class _RestartOperation(Protocol):
    async def restart(self, command: Restart) -> Restarted: ...


class _ResetOperation(Protocol):
    async def reset(self, command: Reset) -> WasReset: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a call may ask for, both in seconds."""

    max_stop_timeout: int
    max_deadline: int


class AgentService:
    """`hubwarden.v1.DockerAgentService`, for `messages.add_service`.

    Args:
        restarter: does restarts.
        resetter: does resets.
        bounds: on deadlines and stop timeouts.
        metrics: measures every call.
        callers: of the listener that this serves.
        logged: limits how many of that listener's refusals are logged.
    """

    def __init__(
        self,
        restarter: _RestartOperation,
        resetter: _ResetOperation,
        bounds: Bounds,
        metrics: Measuring,
        callers: Callers,
        logged: DenialLimiter,
    ) -> None:
        self._restarter = restarter
        self._resetter = resetter
        self._bounds = bounds
        self._metrics = metrics
        self._callers = callers
        self._logged = logged

    async def RestartContainer(  # noqa: N802 - the contract's name
        self, received: Received[agent_pb2.RestartContainerRequest], context: Context
    ) -> agent_pb2.RestartContainerResponse:
        """See the contract."""
        return await self._answer(
            "restart",
            received,
            context,
            lambda request, client: self._restarter.restart(self._restart(request, client)),
            restarted_message,
        )

    async def ResetHomeVolume(  # noqa: N802 - as above
        self, received: Received[agent_pb2.ResetHomeVolumeRequest], context: Context
    ) -> agent_pb2.ResetHomeVolumeResponse:
        """See the contract."""
        return await self._answer(
            "reset",
            received,
            context,
            lambda request, client: self._resetter.reset(_reset(request, client)),
            reset_message,
        )

    async def _answer(
        self,
        operation: str,
        received: Received[Request],
        context: Context,
        work: Callable[[Request, str], Awaitable[Result]],
        message: Callable[[Result], Answer],
    ) -> Answer:
        request = received.message
        # An id that is not a UUID4 could be any text: it is neither logged nor echoed.
        known = request.request_id if RequestId.pattern.fullmatch(request.request_id) else ""
        log_context.request_id.set(known or str(uuid.uuid4()))
        try:
            with self._metrics.operation(f"validate_{operation}" if request.validate_only else operation):
                client = await self._callers.admit(context, operation, known)
                received.check()
                async with asyncio.timeout(self._allowed_time(context)):
                    return message(await work(request, client))
        except Refusal as raised:
            refusal = raised
        except TimeoutError:
            refusal = Refusal(Reason.DEADLINE_EXCEEDED)
        except Exception:  # noqa: BLE001 - gRPC would send an uncaught exception's text to the client
            _log.exception("a call failed unforeseen")
            refusal = Refusal(Reason.DOCKER_ERROR)
        failed = refusal.code in (StatusCode.INTERNAL, StatusCode.UNAVAILABLE)
        log_refusal(_log, self._logged, refusal, failed=failed, reading=request.validate_only)
        return await abort(context, refusal, known)

    def _allowed_time(self, context: Context) -> float:
        remaining = context.time_remaining()
        if remaining is None:
            raise Refusal(Reason.INVALID_REQUEST, "A deadline is required.")
        if remaining > self._bounds.max_deadline:
            raise Refusal(Reason.INVALID_REQUEST, "The deadline is longer than the policy allows.")
        return float(remaining)

    def _restart(self, request: agent_pb2.RestartContainerRequest, client: str) -> Restart:
        return Restart(
            client=client,
            actor=Actor(request.actor),
            request_id=_request_id(request.request_id, validate_only=request.validate_only),
            username=Username(request.username),
            server_name=ServerName(request.server_name),
            expected_container=request.expected_container,
            stop_timeout=self._stop_timeout(request),
        )

    def _stop_timeout(self, request: agent_pb2.RestartContainerRequest) -> int:
        if not request.HasField("stop_timeout"):
            return DEFAULT_STOP_TIMEOUT
        seconds = math.ceil(request.stop_timeout.seconds + request.stop_timeout.nanos / 1e9)
        negative = request.stop_timeout.seconds < 0 or request.stop_timeout.nanos < 0
        if negative or seconds > self._bounds.max_stop_timeout:
            raise Refusal(Reason.INVALID_REQUEST, "The stop timeout is negative or longer than the policy allows.")
        return seconds


def _reset(request: agent_pb2.ResetHomeVolumeRequest, client: str) -> Reset:
    return Reset(
        client=client,
        actor=Actor(request.actor),
        request_id=_request_id(request.request_id, validate_only=request.validate_only),
        username=Username(request.username),
        expected_volume=request.expected_volume,
    )


def _request_id(text: str, *, validate_only: bool) -> RequestId | None:
    return None if validate_only else RequestId(text)


def restarted_message(restarted: Restarted) -> agent_pb2.RestartContainerResponse:
    """The answer to a restart."""
    started_at = timestamp_pb2.Timestamp()
    if restarted.started_at is not None:
        started_at.FromDatetime(restarted.started_at)
    return agent_pb2.RestartContainerResponse(
        container=restarted.container,
        container_id=restarted.container_id,
        started_at=started_at,
        addresses=restarted.addresses,
        ports=[
            agent_pb2.PublishedPort(
                container_port=port.container_port,
                protocol=port.protocol,
                host_ip=port.host_ip,
                host_port=port.host_port,
            )
            for port in restarted.ports
        ],
    )


def reset_message(reset: WasReset) -> agent_pb2.ResetHomeVolumeResponse:
    """The answer to a reset."""
    completed_at = timestamp_pb2.Timestamp()
    completed_at.FromDatetime(reset.completed_at)
    return agent_pb2.ResetHomeVolumeResponse(
        volume=reset.volume,
        removed_containers=first_names(reset.removed_containers),
        backup_id=reset.backup_id,
        size_bytes=reset.size_bytes,
        completed_at=completed_at,
    )


def status(refusal: Refusal, request_id: str) -> status_pb2.Status:
    """A refusal as `google.rpc.Status`, with its `ErrorInfo` and, where waiting helps, a `RetryInfo`."""
    metadata = refusal.detail.metadata() | ({"request_id": request_id} if request_id else {})
    details = [_packed(error_details_pb2.ErrorInfo(reason=refusal.reason.value, domain=DOMAIN, metadata=metadata))]
    if refusal.retry_after is not None:
        delay = duration_pb2.Duration(seconds=math.ceil(refusal.retry_after))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(code=int(refusal.code), message=refusal.message, details=details)


def _packed(detail: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


async def abort(context: Context, refusal: Refusal, request_id: str) -> NoReturn:
    """End a call with a refusal. Always raises."""
    trailing = ((STATUS_METADATA, status(refusal, request_id).SerializeToString()),)
    await context.abort(grpc.StatusCode[refusal.code.name], refusal.message, trailing)
    raise AssertionError("abort raises")
