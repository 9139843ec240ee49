"""Restores that have begun and not ended: a file each in the state directory, until the volume is whole again.

Invariants: the file is on disk before a volume is changed, and until it is whole, also after a crash. The agent does
nothing for a user whose home has one (`users`), so that nobody works in half a home. The next restore of that volume
takes it up, and only a volume that the file describes is replaced without asking.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.names import BackupId, Names, RequestId, Username, VolumeName
from hubwarden_agent.state_lock import PENDING_RESTORES

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One restore: who it is for, and `created` of the volume that it fills, empty until there is one."""

    request_id: RequestId
    username: Username
    volume: VolumeName
    backup_id: BackupId
    created: str = ""


def note(state: Path, restore: Unfinished) -> None:
    """Have it on disk, in place of what was noted of the same volume before. Raises `OSError`."""
    path = _path(state, restore.volume)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump({one.name: str(getattr(restore, one.name)) for one in fields(restore)}, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    _flush(state)


def forget(state: Path, volume: VolumeName) -> None:
    """The volume is whole, or as it was. Raises `OSError`."""
    _path(state, volume).unlink(missing_ok=True)
    _flush(state)


def of(state: Path, volume: VolumeName) -> Unfinished | None:
    """What is noted of a volume. Raises `OSError`."""
    path = _path(state, volume)
    return _read(path) if path.exists() else None


def users(state: Path, names: Names) -> Iterator[Username]:
    """For whom nothing may be done until an operator has restored their home again. Raises `OSError`."""
    for path in sorted(state.glob(PENDING_RESTORES)):
        found = _read(path)
        entry = {"username": found.username.value, "volume": found.volume.value, "backup": found.backup_id.value}
        if found.volume == names.home_volume(found.username):
            _log.error("a restore was interrupted: nothing is done for this user until it is repeated", extra=entry)
            yield found.username
        else:
            _log.warning("a restore beside the home was interrupted: its volume may be half filled", extra=entry)


def _path(state: Path, volume: VolumeName) -> Path:
    return state / PENDING_RESTORES.replace("*", hashlib.sha256(volume.value.encode()).hexdigest()[:16])


def _read(path: Path) -> Unfinished:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Unfinished(
            RequestId(found["request_id"]),
            Username(found["username"]),
            VolumeName(found["volume"]),
            BackupId(found["backup_id"]),
            found["created"],
        )
    except (ValueError, TypeError, KeyError, RequestRefused) as error:
        raise OSError(f"{path} does not say which restore did not end") from error


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
