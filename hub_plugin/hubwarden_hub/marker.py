"""The note about an operation under way that survives a killed Hub, as part of the Spawner's state.

Invariants: what is read back is either the command exactly as it was sent, or nothing; a note without a time is as
old as can be. This file must never raise on what it finds in the database: an unreadable note is worth less than a Hub
that starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from hubwarden_hub.commands import RequestId, ResetCommand, RestartCommand

KEY = "hubwarden"
"""The key in the Spawner's state: the server's own for a restart, the default server's for a reset of the home."""

Command = RestartCommand | ResetCommand


@dataclass(frozen=True, slots=True)
class Note:
    """A command that was about to be sent.

    Attributes:
        asked_at: seconds since the epoch.
        started_at: of a restart: when its container had started before that; None in a note of an older version.
        is_waiting: the command has not begun: it waits in the Hub's queue, and a Hub that ends loses it.
        look_only: the command was sent and its outcome is not known: sending it again could carry it out a second time.
    """

    command: Command
    asked_at: float
    started_at: datetime | None = None
    look_only: bool = False
    is_waiting: bool = False

    def is_fresh(self, now: float, seconds: float) -> bool:
        """Whether it is at most so old. A time to come, or none that can be compared, is not."""
        return 0 <= now - self.asked_at <= seconds


def written(note: Note) -> dict[str, Any]:
    """The note, for JSON."""
    command = note.command
    operation = "reset" if isinstance(command, ResetCommand) else "restart"
    values = {"operation": operation, **asdict(command), "request_id": str(command.request_id)}
    started_at = note.started_at and note.started_at.isoformat()
    flags = {"look_only": note.look_only, "is_waiting": note.is_waiting}
    return values | {"asked_at": note.asked_at, "started_at": started_at, **flags}


def read(state: Mapping[str, Any]) -> Note | None:
    """The note in a Spawner's state, if there is one."""
    note = state.get(KEY)
    if not isinstance(note, Mapping):
        return None
    try:
        command, started_at = _command(note), note.get("started_at")
        if command is None:
            return None
        started = None if started_at is None else datetime.fromisoformat(started_at)
        flags = (bool(note.get(flag)) for flag in ("look_only", "is_waiting"))
        return Note(command, float(note.get("asked_at", 0)), started, *flags)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _command(note: Mapping[str, Any]) -> Command | None:
    """Raises `KeyError`, `ValueError` or `TypeError` where it is not as it was written."""
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
