"""Every way in which the agent says no, and the only table of what each means on the wire.

Invariants: a reason that is not in `ERROR_TABLE` cannot be raised, and `message` is always a sentence of our own.
What Docker said, and whatever else is meant for the log, travels as the exception's cause and never as its text.
This file must never import gRPC, HTTP or Docker: it is beneath all of them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType

DOMAIN = "hubwarden"
"""`google.rpc.ErrorInfo.domain` of everything that the agent refuses."""

MAX_HOLDERS_TEXT = 2048
"""Characters of `holders`, and of the names in a reset's answer, that are sent.

A status travels in a header, and clients drop a header above 8 KiB.
"""


class StatusCode(enum.IntEnum):
    """The canonical status codes (google.rpc.Code) that the agent uses, with their numbers."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    INTERNAL = 13
    UNAVAILABLE = 14


class Reason(enum.StrEnum):
    """Why something was refused or failed. The names are part of the contract."""

    INVALID_REQUEST = "INVALID_REQUEST"
    SERVER_RUNNING = "SERVER_RUNNING"
    SERVER_NOT_RUNNING = "SERVER_NOT_RUNNING"
    VOLUME_NOT_FOUND = "VOLUME_NOT_FOUND"
    CONTAINER_NOT_FOUND = "CONTAINER_NOT_FOUND"
    VOLUME_IN_USE = "VOLUME_IN_USE"
    CONTAINER_KEPT = "CONTAINER_KEPT"
    MANAGED_ELSEWHERE = "MANAGED_ELSEWHERE"
    OPERATION_IN_PROGRESS = "OPERATION_IN_PROGRESS"
    INTERRUPTED = "INTERRUPTED"
    RATE_LIMITED = "RATE_LIMITED"
    RESET_BUDGET_SPENT = "RESET_BUDGET_SPENT"
    TOO_BUSY = "TOO_BUSY"
    NAME_MISMATCH = "NAME_MISMATCH"
    NOT_OWNED = "NOT_OWNED"
    VOLUME_NOT_LOCAL = "VOLUME_NOT_LOCAL"
    CLIENT_NOT_ALLOWED = "CLIENT_NOT_ALLOWED"
    RESTART_FAILED = "RESTART_FAILED"
    BACKUP_FAILED = "BACKUP_FAILED"
    DOCKER_UNAVAILABLE = "DOCKER_UNAVAILABLE"
    AUDIT_UNAVAILABLE = "AUDIT_UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    DOCKER_ERROR = "DOCKER_ERROR"
    # Only the spawn gateway's: no RPC answers them.
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    LIMIT_REACHED = "LIMIT_REACHED"
    PULL_DENIED = "PULL_DENIED"
    DISK_FULL = "DISK_FULL"


ERROR_TABLE: Mapping[Reason, tuple[StatusCode, str]] = MappingProxyType(
    {
        Reason.INVALID_REQUEST: (StatusCode.INVALID_ARGUMENT, "The request is not valid."),
        Reason.SERVER_RUNNING: (StatusCode.FAILED_PRECONDITION, "The server is running. Stop it first."),
        Reason.SERVER_NOT_RUNNING: (StatusCode.FAILED_PRECONDITION, "The server is not running."),
        Reason.VOLUME_NOT_FOUND: (StatusCode.NOT_FOUND, "There is no home volume."),
        Reason.CONTAINER_NOT_FOUND: (StatusCode.NOT_FOUND, "There is no container for this server."),
        Reason.VOLUME_IN_USE: (StatusCode.FAILED_PRECONDITION, "Another container holds the home volume."),
        Reason.CONTAINER_KEPT: (
            StatusCode.FAILED_PRECONDITION,
            "A stopped container holds the home volume, and policy keeps it.",
        ),
        Reason.MANAGED_ELSEWHERE: (StatusCode.FAILED_PRECONDITION, "Docker Swarm manages the server's container."),
        Reason.OPERATION_IN_PROGRESS: (StatusCode.ABORTED, "Another operation for this user is under way."),
        Reason.INTERRUPTED: (StatusCode.ABORTED, "The agent was interrupted during this operation."),
        Reason.RATE_LIMITED: (StatusCode.RESOURCE_EXHAUSTED, "Too many operations for this user. Try again later."),
        Reason.RESET_BUDGET_SPENT: (StatusCode.RESOURCE_EXHAUSTED, "Too many resets on this host. Try again later."),
        Reason.TOO_BUSY: (StatusCode.RESOURCE_EXHAUSTED, "The agent is busy. Try again shortly."),
        Reason.NAME_MISMATCH: (StatusCode.FAILED_PRECONDITION, "Hub and agent disagree about a name."),
        Reason.NOT_OWNED: (StatusCode.FAILED_PRECONDITION, "The container belongs to somebody else."),
        Reason.VOLUME_NOT_LOCAL: (
            StatusCode.FAILED_PRECONDITION,
            "Removing the home volume would not erase what is in it.",
        ),
        Reason.CLIENT_NOT_ALLOWED: (StatusCode.PERMISSION_DENIED, "This client may not call the agent."),
        Reason.RESTART_FAILED: (StatusCode.INTERNAL, "The server stopped and did not come back."),
        Reason.BACKUP_FAILED: (StatusCode.INTERNAL, "The backup failed. Nothing was removed."),
        Reason.DOCKER_UNAVAILABLE: (StatusCode.UNAVAILABLE, "Docker does not answer."),
        Reason.AUDIT_UNAVAILABLE: (StatusCode.UNAVAILABLE, "The audit trail cannot be written. Nothing was done."),
        Reason.DEADLINE_EXCEEDED: (StatusCode.DEADLINE_EXCEEDED, "The operation took too long."),
        Reason.DOCKER_ERROR: (StatusCode.INTERNAL, "The operation failed."),
        Reason.NOT_FOUND: (StatusCode.NOT_FOUND, "It does not exist."),
        Reason.CONFLICT: (StatusCode.FAILED_PRECONDITION, "Docker refuses that in the container's present state."),
        Reason.LIMIT_REACHED: (StatusCode.RESOURCE_EXHAUSTED, "There are as many as the policy allows."),
        Reason.PULL_DENIED: (StatusCode.PERMISSION_DENIED, "The registry denies access to the image."),
        Reason.DISK_FULL: (StatusCode.INTERNAL, "Docker's disk has no room for the image."),
    }
)

GATEWAY_REASONS = frozenset(
    {Reason.NOT_FOUND, Reason.CONFLICT, Reason.LIMIT_REACHED, Reason.PULL_DENIED, Reason.DISK_FULL}
)
"""Reasons that are no part of the gRPC contract."""


def first_names(names: Sequence[str]) -> tuple[str, ...]:
    """The first of these names, as many as fit into `MAX_HOLDERS_TEXT` with a comma after each."""
    ends = accumulate(len(name) + 1 for name in names)
    return tuple(name for name, end in zip(names, ends, strict=True) if end <= MAX_HOLDERS_TEXT)


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """What a client may be told beside the reason (`ErrorInfo.metadata`); unset fields are not sent.

    `holders` are container names, the first ones of as many as fit into a status.
    """

    volume: str = ""
    container: str = ""
    holders: tuple[str, ...] = ()

    def metadata(self) -> dict[str, str]:
        """The fields that are known, as `ErrorInfo.metadata` wants them."""
        known = {"volume": self.volume, "container": self.container, "holders": ",".join(first_names(self.holders))}
        return {key: value for key, value in known.items() if value}


class RequestRefused(Exception):  # noqa: N818 - most are not errors of anybody: the answer is no, with a reason
    """An answer other than success. Raised anywhere in the agent, turned into a status at the edges only.

    Args:
        reason: the entry of `ERROR_TABLE`.
        message: a sentence of our own that says more than the table's; never text from Docker or from the request.
        detail: what the client may be told beside it.
        retry_after: seconds after which trying again makes sense; unset where waiting does not help.
    """

    def __init__(
        self,
        reason: Reason,
        message: str = "",
        *,
        detail: ErrorDetails | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.reason = reason
        self.message = message or ERROR_TABLE[reason][1]
        self.detail = detail or ErrorDetails()
        self.retry_after = retry_after
        super().__init__(f"{reason}: {self.message}")

    @property
    def code(self) -> StatusCode:
        """The status code of this reason."""
        return ERROR_TABLE[self.reason][0]
