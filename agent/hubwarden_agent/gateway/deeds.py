"""What becomes of one request: the answer that goes back, and what the audit trail will say about it.

What holds here: whatever changes something happens inside `Recorder.acting`, so its intent is on disk before it begins;
a refusal is recorded exactly once, as the outcome of an intent or else as denied.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hubwarden_agent.audit import Entry
from hubwarden_agent.audit_trails import BlockingAuditTrail
from hubwarden_agent.clock import Clock
from hubwarden_agent.denials import is_ordinary
from hubwarden_agent.errors import Reason, Refusal
from hubwarden_agent.names import ServerName, Username
from hubwarden_agent.recording import ending

CLIENT = "gateway"

CHANGES_AT_ONCE = 112
"""Fewer than there are threads: however many servers ignore their stop, there is one for whoever only looks."""

BUSY_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a status, text of a content type, and headers beside those that every answer has."""

    status: int
    text: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(status: int, document: Mapping[str, Any]) -> Answer:
    """A JSON document as Docker sends it."""
    return Answer(status, json.dumps(document) + "\n")


@dataclass(slots=True)
class Deed:
    """What is known of a request so far. Once `acted`, an intent was asked for, and its outcome is what counts."""

    request_id: str
    operation: str = "unknown"
    username: str = ""
    server_name: str = ""
    object: str = ""
    object_id: str = ""
    command: int = 0
    acted: bool = False

    def concerns(self, username: Username, server_name: ServerName, container: str, container_id: str = "") -> None:
        """Note whose server this is about."""
        self.username, self.server_name = username.value, server_name.value
        self.object, self.object_id = container, container_id

    def entry(self) -> Entry:
        """As the audit trail wants it. The gateway cannot know who at the Hub asked, so there is no actor."""
        return Entry(
            operation=self.operation,
            username=self.username,
            server_name=self.server_name,
            client=CLIENT,
            actor="",
            request_id=self.request_id,
            object=self.object,
            object_id=self.object_id,
            command=self.command,
        )


class Recorder:
    """Puts deeds on the record.

    Args:
        audit: the same file as the RPCs'.
        clock: for durations.
    """

    def __init__(self, audit: BlockingAuditTrail, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._free = threading.BoundedSemaphore(CHANGES_AT_ONCE)

    @contextmanager
    def acting(self, deed: Deed) -> Iterator[None]:
        """Run the body between an intent and an outcome, which no answer waits for: none of the gateway's is repeated.

        Raises:
            Refusal: `TOO_BUSY` or `AUDIT_UNAVAILABLE` before the body ran, or as `recording.ending`.
        """
        if not self._free.acquire(blocking=False):
            raise Refusal(Reason.TOO_BUSY, retry_after=BUSY_RETRY_SECONDS)
        try:
            deed.acted = True
            entry = deed.entry()
            self._audit.intent(entry)
            with ending(self._clock, partial(self._audit.outcome, entry)):
                yield
        finally:
            self._free.release()

    def denied(self, deed: Deed, refusal: Refusal, *, reading: bool) -> None:
        """Record a refusal, unless it is an outcome already or an ordinary one."""
        if not deed.acted and not is_ordinary(refusal, reading=reading):
            self._audit.denied(deed.entry(), refusal.reason)
