"""One request: what is known of it for the audit, and the response.

Invariants:
- Each change happens inside `ChangeRecorder.change`, so its intent is on disk before it begins.
- A refusal is recorded once: as the outcome of an intent, or else as denied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hubwarden_agent.audit import Audit, AuditEntry
from hubwarden_agent.audit_scope import audited
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.clock import Clock
from hubwarden_agent.denials import is_ordinary
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.names import ServerName, Username

CLIENT = "gateway"


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back: a status, text of a content type, and headers beside those that every answer has."""

    status: int
    text: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(status: int, document: Mapping[str, Any]) -> Response:
    """A JSON document as Docker sends it."""
    return Response(status, json.dumps(document) + "\n")


@dataclass(slots=True)
class RequestContext:
    """What is known of a request so far. Once `intent_written`, only the outcome counts."""

    request_id: str
    peer: str = ""
    operation: str = "unknown"
    username: str = ""
    server_name: str = ""
    object: str = ""
    object_id: str = ""
    command: int = 0
    intent_written: bool = False

    def set_target(self, username: Username, server_name: ServerName, container: str, container_id: str = "") -> None:
        """Note whose server this is about."""
        self.username, self.server_name = username.value, server_name.value
        self.object, self.object_id = container, container_id

    def entry(self) -> AuditEntry:
        """As the audit trail wants it. The gateway cannot know who at the Hub asked, so there is no actor."""
        return AuditEntry(
            operation=self.operation,
            username=self.username,
            server_name=self.server_name,
            client=CLIENT,
            actor="",
            request_id=self.request_id,
            object=self.object,
            object_id=self.object_id,
            command=self.command,
            peer=self.peer,
        )


class ChangeRecorder:
    """Records what the gateway changes and refuses.

    Args:
        audit: shared with the RPCs.
        clock: for durations.
    """

    def __init__(self, audit: Audit, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    @contextmanager
    def change(self, context: RequestContext, *charges: tuple[SlidingWindow, str]) -> Iterator[None]:
        """Run the body between an intent and an outcome. See `audit_scope.audited`, also for `charges`."""
        context.intent_written = True
        with audited(self._audit, context.entry(), self._clock, charges):
            yield

    def denied(self, context: RequestContext, refusal: RequestRefused, *, reading: bool) -> None:
        """Record a refusal, unless it is an outcome already or an ordinary one."""
        if not context.intent_written and not is_ordinary(refusal, reading=reading):
            self._audit.denied(context.entry(), refusal.reason)
