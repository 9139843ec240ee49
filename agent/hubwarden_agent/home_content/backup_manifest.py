"""What a backup says of itself: its id, its manifest, and which backups are no longer kept. Pure.

Invariants: a `Manifest` exists only if every field was parsed, and has one spelling, a line of JSON with sorted
keys. The last part of a backup's id is a hash of all the rest of its manifest, so who has the id (the audit does) can
verify the manifest, and through its `sha256` every byte. A later format is refused, never guessed at.
This file must never open a file.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.names import BackupId, RequestId, Username, VolumeName

FORMAT = 1
MAX_BYTES = 1024**2
"""Of a manifest; longer ones are not read."""
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class BadBackup(Exception):  # noqa: N818 - what is bad is the backup
    """A backup cannot be trusted, or not be read by this version. The text says why, in our own words."""


@dataclass(frozen=True, slots=True)
class BackupSource:
    """Whose volume is retained, what the engine needs to make it again, and the request that asked for it."""

    username: Username
    volume: VolumeName
    driver: str
    options: Mapping[str, str]
    labels: Mapping[str, str]
    request_id: RequestId


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup: `tar_bytes` are the tar's, `file_bytes` and `sha256` the compressed file's; `created` has seconds."""

    username: Username
    volume: VolumeName
    driver: str
    options: Mapping[str, str]
    labels: Mapping[str, str]
    request_id: RequestId
    created: dt.datetime
    tar_bytes: int
    file_bytes: int
    sha256: str
    agent_version: str

    @property
    def backup_id(self) -> BackupId:
        """The id, which follows from everything else."""
        hashed = hashlib.sha256(_spelt(self._fields())).hexdigest()[:16]
        return BackupId(f"{self.created:%Y%m%dT%H%M%SZ}-{volume_part(self.volume)}-{hashed}")

    def line(self) -> bytes:
        """The manifest's one spelling."""
        return _spelt(self._fields() | {"backup_id": self.backup_id.value}) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read what `line` spelt.

        Raises:
            BadBackup: it did not.
        """
        if len(line) > MAX_BYTES:
            raise BadBackup("its manifest is too long")
        try:
            found: dict[str, Any] = json.loads(line)
            _check_format(found.pop("format"))
            backup_id = found.pop("backup_id")
            manifest = cls(**{key: _READ.get(key, _as_it_is)(value) for key, value in found.items()})
            # Wrong types and other spellings do not come out as they went in.
            same = manifest.line() == line and manifest.backup_id.value == backup_id
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, RequestRefused) as error:
            raise BadBackup("its manifest cannot be read") from error
        if not same or not manifest._is_sound():
            raise BadBackup("its manifest was changed")
        return manifest

    def _fields(self) -> dict[str, Any]:
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        written = {key: value.value for key, value in plain.items() if key in _TEXTS}
        return {**plain, **written, "created": self.created.strftime(_TIME), "format": FORMAT}

    def _is_sound(self) -> bool:
        maps_of_text = all(
            isinstance(of, dict) and all(isinstance(value, str) for value in of.values())
            for of in (self.options, self.labels)
        )
        texts = all(isinstance(text, str) for text in (self.driver, self.agent_version, self.sha256))
        numbers = all(type(number) is int and number >= 0 for number in (self.tar_bytes, self.file_bytes))
        return maps_of_text and texts and numbers and re.fullmatch(r"[0-9a-f]{64}", self.sha256) is not None


def volume_part(volume: VolumeName) -> str:
    """The part of a backup's id that stands for its volume, so that a volume's backups are found by their names."""
    return hashlib.sha256(volume.value.encode()).hexdigest()[:8]


def expired(retained: Iterable[Manifest], keep: int, keep_days: int, now: dt.datetime) -> tuple[Manifest, ...]:
    """Which of one volume's good backups may go: older than `keep_days`, and not among the `keep` newest.

    Both must hold. By count alone, a few resets of an empty home would push out the one backup that matters; by age
    alone, the last copy of a home would go with time.
    """
    newest_first = sorted(retained, key=lambda one: (one.created, one.backup_id.value), reverse=True)
    horizon = now - dt.timedelta(days=keep_days)
    return tuple(one for one in newest_first[keep:] if one.created < horizon)


def _check_format(number: object) -> None:
    if number != FORMAT or type(number) is not int:
        raise BadBackup(f"its format is not {FORMAT}: another version of the agent made it")


def _spelt(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _as_it_is(value: Any) -> Any:
    return value


def _time(text: str) -> dt.datetime:
    return dt.datetime.strptime(text, _TIME).replace(tzinfo=dt.UTC)


_TEXTS = {"username": Username, "volume": VolumeName, "request_id": RequestId}
_READ: Mapping[str, Any] = {**_TEXTS, "created": _time}
