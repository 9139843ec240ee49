"""What the agent can be asked to do, and what it answers, as values.

What holds here: every field was parsed; a command that changes something has a request id.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from hubwarden_agent.engine.port import Container
from hubwarden_agent.names import Actor, RequestId, ServerName, Username

DEFAULT_STOP_TIMEOUT = 10
"""Seconds that `docker restart` gives a container to stop, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart a user's running container in place. `stop_timeout` in seconds; `request_id` unset: only validate."""

    client: str
    actor: Actor
    request_id: RequestId | None
    username: Username
    server_name: ServerName
    expected_container: str
    stop_timeout: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Delete a user's home volume. `request_id` unset: only validate."""

    client: str
    actor: Actor
    request_id: RequestId | None
    username: Username
    expected_volume: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """The container as it is now."""

    container: Container


@dataclass(frozen=True, slots=True)
class WasReset:
    """What a reset removed, or would. `size_bytes` is -1 when it is not known."""

    volume: str
    removed_containers: tuple[str, ...]
    completed_at: dt.datetime
    backup_id: str = ""
    size_bytes: int = -1
