"""The note about a restart under way that survives a killed Hub, as part of the Spawner's state.

What holds here: what is read back is either the command exactly as it was sent, or nothing. This file must never raise
on what it finds in the database: an unreadable note is worth less than a Hub that starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hubwarden_hub.commands import RequestId, RestartCommand

KEY = "hubwarden"
"""The key in the Spawner's state."""


def written(command: RestartCommand) -> dict[str, Any]:
    """The note about a command, for JSON."""
    return {"operation": "restart", **asdict(command), "request_id": str(command.request_id)}


def read(state: Mapping[str, Any]) -> RestartCommand | None:
    """The command in a Spawner's state, if there is one."""
    note = state.get(KEY)
    if not isinstance(note, Mapping) or note.get("operation") != "restart":
        return None
    try:
        return RestartCommand(
            username=str(note["username"]),
            server_name=str(note["server_name"]),
            actor=str(note["actor"]),
            request_id=RequestId(str(note["request_id"])),
            expected_container=str(note["expected_container"]),
            stop_timeout=float(note["stop_timeout"]),
        )
    except (KeyError, ValueError, TypeError):
        return None
