"""What the agent can be asked to do, and what it answers, as values.

Invariants: every field was parsed; a command that changes something has a request id. A result holds what the
answer needs and nothing else, because it is remembered, in memory and in the audit: never a container's environment.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from sys import intern
from typing import Any, Self

from hubwarden_agent.audit import AuditEntry
from hubwarden_agent.engine.port import Container, PublishedPort
from hubwarden_agent.names import Actor, RequestId, ServerName, Username

DEFAULT_STOP_TIMEOUT = 10
"""Seconds that `docker restart` gives a container to stop, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class RestartRequest:
    """Restart a user's running container in place. `stop_timeout` in seconds; `request_id` unset: only validate."""

    client: str
    actor: Actor
    request_id: RequestId | None
    username: Username
    server_name: ServerName
    expected_container: str
    stop_timeout: int


@dataclass(frozen=True, slots=True)
class ResetRequest:
    """Delete a user's home volume. `request_id` unset: only validate."""

    client: str
    actor: Actor
    request_id: RequestId | None
    username: Username
    expected_volume: str


@dataclass(frozen=True, slots=True)
class RestartResult:
    """The container as it is now."""

    container: str
    container_id: str
    started_at: dt.datetime | None
    addresses: Mapping[str, str]
    ports: tuple[PublishedPort, ...]

    @classmethod
    def of(cls, container: Container) -> Self:
        """The part of a container that a restart answers with."""
        # Interned, because it is remembered for a day, and a container is restarted more than once under one name.
        name, container_id = intern(container.name), intern(container.id.value)
        addresses = {intern(network): intern(address) for network, address in container.addresses.items()}
        return cls(name, container_id, container.started, addresses, container.ports)


@dataclass(frozen=True, slots=True)
class ResetResult:
    """What a reset removed, or would. `size_bytes` is -1 when it is not known."""

    volume: str
    removed_containers: tuple[str, ...]
    completed_at: dt.datetime
    backup_id: str = ""
    size_bytes: int = -1


def fingerprint(command: RestartRequest | ResetRequest) -> str:
    """Stands for a command's parameters and client: equal only for the same request, its id left out."""
    text = json.dumps([type(command).__name__, asdict(replace(command, request_id=None))], sort_keys=True)
    return intern(hashlib.sha256(text.encode()).hexdigest())  # interned, because it is remembered with each request id


def entry(command: RestartRequest | ResetRequest, name: str) -> AuditEntry:
    """What the audit says of a command, before anything is known of the object of that name."""
    restart = command if isinstance(command, RestartRequest) else None
    return AuditEntry(
        operation="restart" if restart else "reset",
        username=command.username.value,
        server_name=restart.server_name.value if restart else "",
        client=command.client,
        actor=command.actor.value,
        request_id=str(command.request_id),
        object=name,
        object_id="",
        fingerprint=fingerprint(command),
        stop_timeout=restart.stop_timeout if restart else 0,
    )


def answer(result: RestartResult | ResetResult) -> dict[str, Any]:
    """A result as JSON can hold it."""
    return {
        key: value.isoformat() if isinstance(value, dt.datetime) else value for key, value in asdict(result).items()
    }


def from_answer(operation: str, answer: Mapping[str, Any]) -> RestartResult | ResetResult:
    """The result that `answer` was made of."""
    if operation == "reset":
        completed_at = dt.datetime.fromisoformat(answer["completed_at"])
        removed = tuple(answer["removed_containers"])
        return ResetResult(**{**answer, "completed_at": completed_at, "removed_containers": removed})
    started_at = answer["started_at"] and dt.datetime.fromisoformat(answer["started_at"])
    ports = tuple(PublishedPort(**port) for port in answer["ports"])
    return RestartResult(**{**answer, "started_at": started_at, "ports": ports})
