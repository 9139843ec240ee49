"""The gRPC service: messages in, typed requests out, and the one place that turns a refusal into a status.

Invariants:
- The same chain for each call and listener: authorize, parse the message, check the deadline, run, answer.
- A call's work runs in a thread of its own. The handler answers a little before the deadline, whatever the work does,
  and a client that leaves changes nothing.
- Nothing but the agent's own sentences and reasons is sent. An unexpected exception becomes `DOCKER_ERROR` without a
  word of its text.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeVar, cast

import grpc
from google.protobuf import any_pb2, duration_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from hubwarden.v1 import agent_pb2

from hubwarden_agent import logging_setup
from hubwarden_agent.authorization import Authorizer
from hubwarden_agent.denials import DenialLimiter, log_refusal
from hubwarden_agent.errors import DOMAIN, Reason, RequestRefused, StatusCode, first_names
from hubwarden_agent.messages import Received
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.names import Actor, RequestId, ServerName, Username
from hubwarden_agent.operations.operation_registry import OperationUnderWay
from hubwarden_agent.operations.requests import (
    DEFAULT_STOP_TIMEOUT,
    ResetRequest,
    ResetResult,
    RestartRequest,
    RestartResult,
)
from hubwarden_agent.work_pool import WorkPool

MARGIN_SECONDS = 0.2
"""How long before the deadline a call is answered: the client gets a reason, and not its own timer."""
NO_DEADLINE = 1e9
"""Seconds. grpcio reports far more than this for a call without a deadline."""
STATUS_METADATA = "grpc-status-details-bin"
"""Where gRPC carries a `google.rpc.Status`."""

Request = TypeVar("Request", agent_pb2.RestartContainerRequest, agent_pb2.ResetHomeVolumeRequest)
Result = TypeVar("Result")
Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)


class _RestartOperation(Protocol):
    def restart(self, command: RestartRequest) -> RestartResult: ...


class _ResetOperation(Protocol):
    def reset(self, command: ResetRequest) -> ResetResult: ...


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
        authorizer: of the listener that this serves.
        logged: limits how many of that listener's refusals are logged.
        workers: of that listener; run the work.
    """

    def __init__(
        self,
        restarter: _RestartOperation,
        resetter: _ResetOperation,
        bounds: Bounds,
        metrics: Metrics,
        authorizer: Authorizer,
        logged: DenialLimiter,
        workers: WorkPool,
    ) -> None:
        self._restarter = restarter
        self._resetter = resetter
        self._bounds = bounds
        self._metrics = metrics
        self._authorizer = authorizer
        self._logged = logged
        self._workers = workers

    def RestartContainer(  # noqa: N802 - the contract's name
        self, received: Received[agent_pb2.RestartContainerRequest], context: grpc.ServicerContext
    ) -> agent_pb2.RestartContainerResponse:
        """See the contract."""
        return self._answer(
            "restart",
            received,
            context,
            lambda request, client: self._restarter.restart(self._restart(request, client)),
            restarted_message,
        )

    def ResetHomeVolume(  # noqa: N802 - the contract's name
        self, received: Received[agent_pb2.ResetHomeVolumeRequest], context: grpc.ServicerContext
    ) -> agent_pb2.ResetHomeVolumeResponse:
        """See the contract."""
        return self._answer(
            "reset",
            received,
            context,
            lambda request, client: self._resetter.reset(_reset(request, client)),
            reset_message,
        )

    def _answer(
        self,
        operation: str,
        received: Received[Request],
        context: grpc.ServicerContext,
        work: Callable[[Request, str], Result],
        message: Callable[[Result], Answer],
    ) -> Answer:
        request = received.message
        # An id that is not a UUID4 could be any text: it is neither logged nor echoed.
        known = request.request_id if RequestId.pattern.fullmatch(request.request_id) else ""
        with logging_setup.request(known or str(uuid.uuid4())):
            try:
                with self._metrics.operation(f"validate_{operation}" if request.validate_only else operation):
                    client = self._authorizer.authorize(context, operation, known)
                    received.check()
                    seconds = self._allowed_time(context)
                    return message(self._within(seconds, lambda: work(request, client)))
            except RequestRefused as raised:
                refusal = raised
            except Exception:  # noqa: BLE001 - gRPC would send an uncaught exception's text to the client
                _log.exception("a call failed unexpectedly")
                refusal = RequestRefused(Reason.DOCKER_ERROR)
            failed = refusal.code in (StatusCode.INTERNAL, StatusCode.UNAVAILABLE)
            # Its frames hold the call, and gRPC counts a stream until its call is freed.
            refusal.with_traceback(None)
            log_refusal(_log, self._logged, refusal, failed=failed, reading=request.validate_only)
        return abort(context, refusal, known)

    def _within(self, seconds: float, work: Callable[[], Result]) -> Result:
        """Do the work in another thread, and wait that long for it. Work that has begun then continues.

        Raises:
            RequestRefused: the work's own; `DEADLINE_EXCEEDED`.
        """
        give_up_at = time.monotonic() + seconds
        future = self._workers.submit(work)
        if not wait([future], seconds).done:
            raise RequestRefused(Reason.DEADLINE_EXCEEDED)
        try:
            return future.result()
        except OperationUnderWay as other:
            other.with_traceback(None)  # see `_answer`
            with suppress(TimeoutError):
                return cast("Result", other.wait(max(0.0, give_up_at - time.monotonic())))
            raise RequestRefused(Reason.DEADLINE_EXCEEDED) from None

    def _allowed_time(self, context: grpc.ServicerContext) -> float:
        remaining = context.time_remaining()
        if remaining is None or remaining > NO_DEADLINE:
            raise RequestRefused(Reason.INVALID_REQUEST, "A deadline is required.")
        if remaining > self._bounds.max_deadline:
            raise RequestRefused(Reason.INVALID_REQUEST, "The deadline is longer than the policy allows.")
        return max(0.0, float(remaining) - MARGIN_SECONDS)

    def _restart(self, request: agent_pb2.RestartContainerRequest, client: str) -> RestartRequest:
        return RestartRequest(
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
            raise RequestRefused(
                Reason.INVALID_REQUEST, "The stop timeout is negative or longer than the policy allows."
            )
        return seconds


def _reset(request: agent_pb2.ResetHomeVolumeRequest, client: str) -> ResetRequest:
    return ResetRequest(
        client=client,
        actor=Actor(request.actor),
        request_id=_request_id(request.request_id, validate_only=request.validate_only),
        username=Username(request.username),
        expected_volume=request.expected_volume,
    )


def _request_id(text: str, *, validate_only: bool) -> RequestId | None:
    return None if validate_only else RequestId(text)


def restarted_message(restarted: RestartResult) -> agent_pb2.RestartContainerResponse:
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


def reset_message(reset: ResetResult) -> agent_pb2.ResetHomeVolumeResponse:
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


def status(refusal: RequestRefused, request_id: str) -> status_pb2.Status:
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


def abort(context: grpc.ServicerContext, refusal: RequestRefused, request_id: str) -> NoReturn:
    """End a call with a refusal. Always raises."""
    context.set_trailing_metadata(((STATUS_METADATA, status(refusal, request_id).SerializeToString()),))
    context.abort(grpc.StatusCode[refusal.code.name], refusal.message)
    raise AssertionError("abort raises")
