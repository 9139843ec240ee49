"""What the Hub asks of the agent, and what it gets back: values only.

Invariants: everything is frozen, and a `request_id` is a UUID4 in its canonical spelling. A command that is sent
again is sent as it was, because the agent takes the same id with other parameters for a mistake. This file must never
import JupyterHub, tornado or gRPC.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class RequestId:
    """Names one operation, from the click to the agent's audit (AIP-155).

    Raises:
        ValueError: not a UUID4 in lower case with dashes.
    """

    value: str

    def __post_init__(self) -> None:
        if not _UUID4.fullmatch(self.value):
            raise ValueError("not a UUID4")

    @classmethod
    def new(cls) -> RequestId:
        """An id nobody has used."""
        return cls(str(uuid.uuid4()))

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class RestartCommand:
    """Restart one server's container.

    Attributes:
        username: the JupyterHub name, not escaped.
        server_name: empty for the default server.
        actor: `user:NAME` or `service:NAME`, for the record.
        request_id: the same for every repetition.
        expected_container: what the Spawner calls the container; the agent refuses when it derives another name.
        stop_timeout: seconds from SIGTERM to SIGKILL, 0 or more.
    """

    username: str
    server_name: str
    actor: str
    request_id: RequestId
    expected_container: str
    stop_timeout: float


@dataclass(frozen=True, slots=True)
class ResetCommand:
    """Delete one user's home volume. Attributes as above; `expected_volume` is the Spawner's idea of its name."""

    username: str
    actor: str
    request_id: RequestId
    expected_volume: str


@dataclass(frozen=True, slots=True)
class ForgetCommand:
    """Have the Hub forget a server whose stop waits; the agent is not asked. Attributes as in `RestartCommand`."""

    username: str
    server_name: str
    actor: str
    request_id: RequestId


@dataclass(frozen=True, slots=True)
class Restarted:
    """The agent's success: the same container, a new start time."""

    container: str
    container_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Home:
    """A home volume that was reset, or (when only validated) could be.

    Attributes:
        removed_containers: the user's own stopped containers that go with it.
        completed_at: when that was, or would have been.
        backup_id: unset when no backup was asked for.
        size_bytes: unset when not known.
    """

    volume: str
    removed_containers: tuple[str, ...]
    completed_at: datetime
    backup_id: str | None
    size_bytes: int | None

    def backup_until(self, keep_days: int) -> str | None:
        """Up to when the backup is kept for certain, in ISO 8601; unset without one, or where 0 days are known."""
        if not (self.backup_id and keep_days):
            return None
        return (self.completed_at + timedelta(days=keep_days)).isoformat()
