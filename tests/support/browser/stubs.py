"""A Hub's answers, made up: for what the page does with them, without a server that starts or a home that is deleted.

Invariants: they have the shape of the Hub's own, which a test compares; whatever is not made up is the Hub's.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from playwright.sync_api import Error, Route
from support.browser.person import Person

NEITHER_IS_KNOWN = re.compile("for good|backup|dministrator")
"""What a page must not say of a reset before it knows whether a backup is made."""
READY = {
    "pending": None,
    "waiting_for": None,
    "ready": True,
    "stopped": False,
    "url": "/hub/home?arrived",
    "last_activity": None,
    "restart": None,
}
STOPPED = {**READY, "ready": False, "stopped": True}
STOP_WAITS = {**READY, "ready": False, "pending": "stop", "waiting_for": "agent"}
HOME = {
    "volume": "jupyterlab-somebody_home",
    "exists": True,
    "size_bytes": None,
    "resettable": True,
    "reason": None,
    "message": None,
    "retry_after": None,
}
RESET = {"message": "", "volume": HOME["volume"], "removed_containers": [], "backup_id": None, "request_id": "x"}
RESTARTED = {
    "message": "",
    "container": "c",
    "container_id": "1",
    "started_at": "2026-01-01T00:00:00Z",
    "ready": True,
    "url": READY["url"],
    "request_id": "x",
}


def show_state(
    person: Person,
    *,
    reset: dict[str, Any] | None = None,
    waiting: dict[str, Any] | None = None,
    **servers: dict[str, Any],
) -> None:
    """Have the page believe in these servers, from its next look on; `default` is the one without a name."""
    named = {"" if name == "default" else name: server for name, server in servers.items()}
    state = {"servers": named, "reset": reset, "waiting": waiting, "restart_announced": None}
    answer(person, "hubwarden-state", state)


def show_home(person: Person, **home: Any) -> None:
    """Have the page believe in a home like this."""
    answer(person, "home-volume", {**HOME, **home})


def answer(
    person: Person, path: str, body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> None:
    """Answer every request to the path with this, from now on."""
    hold(person, path, lambda route: route.fulfill(status=status, json=body, headers=headers or {}))


def hold(person: Person, path: str, handler: Any) -> None:
    """Let nothing else answer the path from now on."""
    person.page.unroute(f"**/{path}")
    person.page.route(f"**/{path}", handler)


class Held:
    """Requests to a path that wait for their answer: several when Chromium cut one and the page asked again."""

    def __init__(self, person: Person, path: str) -> None:
        self._waiting: list[Route] = []
        self._answer: dict[str, Any] | None = None
        hold(person, path, self._take)

    def _take(self, route: Route) -> None:
        if self._answer is None:
            self._waiting.append(route)
        else:
            route.fulfill(**self._answer)

    def release(self, status: int, body: dict[str, Any]) -> None:
        """Answer those that wait, and those that come."""
        self._answer = {"status": status, "json": body}
        for route in self._waiting:
            with suppress(Error):  # one that was cut cannot be answered any more
                route.fulfill(**self._answer)


def tell_progress(person: Person, operation: str, *events: dict[str, Any]) -> None:
    """Have the operation's stream of events tell these about whatever request was sent last."""

    def tell(route: Route) -> None:
        request_id = person.operations[-1].headers["x-request-id"]
        body = "".join(f"data: {json.dumps({'request_id': request_id, **event})}\n\n" for event in events)
        route.fulfill(body=body, content_type="text/event-stream")

    hold(person, f"{operation}/progress?*", tell)
