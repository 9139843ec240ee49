"""Every way in which a restart or a reset is refused or fails, and what each means over HTTP and to a person.

Invariants: `TABLE` has an entry for each reason of the agent's own table (a test compares the two) and for those
that only the Hub can see; a sentence for users says what to do next, names nothing of another user and never quotes
Docker. This file must never import tornado, gRPC or JupyterHub: it is beneath all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

from hubwarden_hub.compat import StrEnum

DOMAIN = "hubwarden"
"""`google.rpc.ErrorInfo.domain` of the agent's refusals; other domains are not ours to read."""


class Reason(StrEnum):
    """Why the answer is not a success. The agent's names, and the Hub's own at the end."""

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
    AGENT_UNREACHABLE = "AGENT_UNREACHABLE"
    PROXY_UNAVAILABLE = "PROXY_UNAVAILABLE"
    STOP_NOT_WAITING = "STOP_NOT_WAITING"
    CANCELLED = "CANCELLED"
    NOT_ALLOWED = "NOT_ALLOWED"
    LOST = "LOST"


_MISCONFIGURED = "This Hub is misconfigured. Ask an administrator for help."
_LATER = "Try again in a minute. Nothing was changed."


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one reason means.

    Attributes:
        status: the HTTP status of the Hub's answer.
        user: the sentence for whoever owns the server.
        admin: the sentence for whoever may act on everybody's; empty: the same one. May use `{holders}`, `{container}`
            and `{volume}`.
        nobody: the admin's sentence where no holder is named.
    """

    status: HTTPStatus
    user: str
    admin: str = ""
    nobody: str = ""


_BAD_REQUEST, _NOT_FOUND, _CONFLICT = HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT
_TOO_MANY, _OURS, _AWAY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

TABLE: Mapping[Reason, Meaning] = MappingProxyType(
    {
        Reason.INVALID_REQUEST: Meaning(_BAD_REQUEST, "The request is not valid."),
        Reason.SERVER_RUNNING: Meaning(_BAD_REQUEST, "The server is running. Stop it first."),
        Reason.SERVER_NOT_RUNNING: Meaning(_BAD_REQUEST, "The server is not running. Start it instead."),
        Reason.VOLUME_NOT_FOUND: Meaning(
            _NOT_FOUND, "There is no home volume yet. The first start of the server creates it."
        ),
        Reason.CONTAINER_NOT_FOUND: Meaning(_NOT_FOUND, "There is no container for this server. Start the server."),
        Reason.VOLUME_IN_USE: Meaning(
            _CONFLICT,
            "Something else is using the home volume. Ask an administrator for help. The volume was not removed.",
            "Containers that are not this user's hold the volume {volume}: {holders}. Stop and remove them "
            "(docker rm NAME), then try again. The volume was not removed.",
            "The volume {volume} carries a label that the agent protects (protect_labels), or something took hold of "
            "it just now. The volume was not removed.",
        ),
        Reason.CONTAINER_KEPT: Meaning(
            _CONFLICT,
            "A stopped container still holds the home volume. Ask an administrator for help. Nothing was changed.",
            "The user's stopped containers hold the volume {volume}, and the agent's policy keeps them "
            "(stopped_container): {holders}. Remove them (docker rm NAME), then try again. Nothing was changed.",
        ),
        Reason.MANAGED_ELSEWHERE: Meaning(
            _CONFLICT,
            "Another system manages this server, so it can't be restarted here. Ask an administrator for help. "
            "Nothing was changed.",
            "The container {container} belongs to a Docker Swarm task: a restart would leave it running beside its "
            "replacement, on the same home volume. Manage it through its Swarm service. Nothing was changed.",
        ),
        Reason.OPERATION_IN_PROGRESS: Meaning(
            _CONFLICT, "Another operation is in progress for this user. Wait until it has finished."
        ),
        Reason.INTERRUPTED: Meaning(
            _CONFLICT, "This operation was interrupted. Check the server before you try again."
        ),
        Reason.RATE_LIMITED: Meaning(_TOO_MANY, "Too many requests. Try again later."),
        Reason.RESET_BUDGET_SPENT: Meaning(_TOO_MANY, "Too many homes were reset on this system. Try again later."),
        Reason.TOO_BUSY: Meaning(_TOO_MANY, "The service is busy. Try again shortly."),
        Reason.NAME_MISMATCH: Meaning(
            _OURS,
            _MISCONFIGURED,
            "Hub and agent derive different names (the agent's: {container}{volume}). Compare the Spawner's "
            "name_template, volumes and escape with [names] in agent.toml. Nothing was changed.",
        ),
        Reason.NOT_OWNED: Meaning(
            _OURS,
            _MISCONFIGURED,
            "The container {container} has this server's name, but the agent does not count it as this user's. "
            "Nothing was changed.",
        ),
        Reason.VOLUME_NOT_LOCAL: Meaning(
            _OURS,
            _MISCONFIGURED,
            "The volume {volume} is only a pointer to files elsewhere: removing it would not erase them. "
            "See reset.allow_non_local in agent.toml. Nothing was changed.",
        ),
        Reason.CLIENT_NOT_ALLOWED: Meaning(
            _OURS, _MISCONFIGURED, "The agent does not accept this Hub as a client. Nothing was changed."
        ),
        Reason.RESTART_FAILED: Meaning(_OURS, "The server was stopped and did not come back. Start the server again."),
        Reason.BACKUP_FAILED: Meaning(
            _OURS, "The home could not be backed up, so nothing was removed. Ask an administrator for help."
        ),
        Reason.DOCKER_UNAVAILABLE: Meaning(
            _AWAY, "The system that runs the servers does not answer. Check the server before you try again."
        ),
        Reason.AUDIT_UNAVAILABLE: Meaning(
            _AWAY, "This cannot be recorded at the moment, so nothing was done. Ask an administrator for help."
        ),
        Reason.DEADLINE_EXCEEDED: Meaning(
            HTTPStatus.GATEWAY_TIMEOUT, "This takes longer than expected. Check again in a minute."
        ),
        Reason.DOCKER_ERROR: Meaning(_OURS, "That did not work. Give the request id below to an administrator."),
        Reason.AGENT_UNREACHABLE: Meaning(_AWAY, f"The service that does this is not available. {_LATER}"),
        Reason.PROXY_UNAVAILABLE: Meaning(_AWAY, f"The Hub's proxy does not answer. {_LATER}"),
        Reason.CANCELLED: Meaning(_CONFLICT, "This was cancelled before it began. Nothing was changed."),
        Reason.NOT_ALLOWED: Meaning(HTTPStatus.FORBIDDEN, "You are no longer allowed to do this. Nothing was changed."),
        Reason.LOST: Meaning(
            _CONFLICT, "The Hub was restarted while this was waiting to begin. Nothing was changed. Try again."
        ),
        Reason.STOP_NOT_WAITING: Meaning(_CONFLICT, "The Hub isn't waiting to stop this server. Nothing was changed."),
    }
)

OUTCOME_UNKNOWN = frozenset({Reason.AGENT_UNREACHABLE, Reason.DEADLINE_EXCEEDED})
"""After these the operation may or may not have happened: ask again, with the same request id."""


class AgentError(Exception):
    """An answer other than success, of the agent or in its place.

    Args:
        reason: the entry of `TABLE`.
        metadata: the agent's `ErrorInfo.metadata`; empty where the Hub itself says no.
        retry_after: seconds after which trying again makes sense, above 0; unset where waiting does not help.
    """

    def __init__(
        self, reason: Reason, metadata: Mapping[str, str] | None = None, retry_after: float | None = None
    ) -> None:
        self.reason = reason
        self.metadata = MappingProxyType(dict(metadata or {}))
        self.retry_after = retry_after
        super().__init__(f"{reason}: {TABLE[reason].user}")

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status of the Hub's answer."""
        return TABLE[self.reason].status

    @property
    def holders(self) -> tuple[str, ...]:
        """Names of containers that are in the way: for admins only, they may be other users'."""
        return tuple(name for name in self.metadata.get("holders", "").split(",") if name)

    def sentence(self, *, for_admin: bool) -> str:
        """What to tell a person."""
        meaning = TABLE[self.reason]
        if not for_admin or not meaning.admin:
            return meaning.user
        return (meaning.admin if self.holders or not meaning.nobody else meaning.nobody).format(
            holders=", ".join(self.holders) or "unknown",
            container=self.metadata.get("container", ""),
            volume=self.metadata.get("volume", ""),
        )
