"""The note about an operation under way that survives a killed Hub, as part of the Spawner's state.

What holds here: what is read back is either the command exactly as it was sent, or nothing. This file must never raise
on what it finds in the database: an unreadable note is worth less than a Hub that starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hubwarden_hub.commands import RequestId, ResetCommand, RestartCommand

KEY = "hubwarden"
"""The key in the Spawner's state: the server's own for a restart, the default server's for a reset of the home."""

Command = RestartCommand | ResetCommand


def written(command: Command) -> dict[str, Any]:
    """The note about a command, for JSON."""
    operation = "reset" if isinstance(command, ResetCommand) else "restart"
    return {"operation": operation, **asdict(command), "request_id": str(command.request_id)}


def read(state: Mapping[str, Any]) -> Command | None:
    """The command in a Spawner's state, if there is one."""
    note = state.get(KEY)
    if not isinstance(note, Mapping):
        return None
    try:
        username, actor = str(note["username"]), str(note["actor"])
        request_id = RequestId(str(note["request_id"]))
        if note["operation"] == "reset":
            return ResetCommand(username, actor, request_id, str(note["expected_volume"]))
        if note["operation"] != "restart":
            return None
        return RestartCommand(
            username=username,
            server_name=str(note["server_name"]),
            actor=actor,
            request_id=request_id,
            expected_container=str(note["expected_container"]),
            stop_timeout=float(note["stop_timeout"]),
        )
    except (KeyError, ValueError, TypeError):
        return None
