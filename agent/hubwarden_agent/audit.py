"""The record of what the agent was about to do, and of what came of it.

What holds here: an intent is on disk (fsync) before its caller goes on; if it cannot be written the caller gets
`AUDIT_UNAVAILABLE` and does nothing. Lines are only ever appended. Refusals are recorded at a bounded rate, so that
nobody can fill the disk by being refused. A line holds names and reasons, never what Docker said and never a secret.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from hubwarden_agent.budgets import Window
from hubwarden_agent.clock import Clock
from hubwarden_agent.errors import Reason, Refusal

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one operation is, whatever comes of it.

    `client` is who the transport says called (`unix`), `actor` who the caller says asked. `object` and `object_id` are
    the name and id (or creation time) of the container or volume that is acted on.
    """

    operation: str
    username: str
    server_name: str
    client: str
    actor: str
    request_id: str
    object: str
    object_id: str


class AuditTrail(Protocol):
    """Where operations are recorded."""

    async def intent(self, entry: Entry) -> None:
        """Record, durably, what is about to be done.

        Raises:
            Refusal: `AUDIT_UNAVAILABLE`; then nothing may be done.
        """

    async def outcome(self, entry: Entry, refusal: Refusal | None, duration_ms: int) -> None:
        """Record what came of it. Never raises: what was done is done."""

    async def denied(self, entry: Entry, reason: Reason) -> None:
        """Record that something was refused, at a bounded rate. Never raises: the answer is no in any case."""


class AuditFile:
    """An append-only file of JSON lines.

    Args:
        path: is created if missing; its directory has to exist.
        max_bytes: a file that has grown to this is set aside before the next line, under a name with the time.
        keep: how many files that were set aside are kept.
        clock: gives the time of each line.
        denials: how many refusals are recorded, over all callers.
        fsync: flushes one file descriptor to disk; `os.fsync` but in tests.

    Raises:
        OSError: the file cannot be opened for appending.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        keep: int,
        clock: Clock,
        denials: Window,
        fsync: Callable[[int], None] = os.fsync,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._clock = clock
        self._denials = denials
        self._fsync = fsync
        self._unrecorded = 0
        self._thread = ThreadPoolExecutor(1, "audit")
        self._descriptor = self._open()
        self._torn = self._ends_torn()

    async def intent(self, entry: Entry) -> None:
        """See `AuditTrail.intent`."""
        try:
            await self._append(entry, "intent")
        except OSError as error:
            _log.exception("audit: cannot record an intent", extra={"request_id": entry.request_id})
            raise Refusal(Reason.AUDIT_UNAVAILABLE) from error

    async def outcome(self, entry: Entry, refusal: Refusal | None, duration_ms: int) -> None:
        """See `AuditTrail.outcome`."""
        result = {"result": "failed", "reason": refusal.reason.value} if refusal else {"result": "ok"}
        try:
            await self._append(entry, "outcome", **result, duration_ms=duration_ms)
        except OSError:
            _log.exception("audit: cannot record an outcome", extra={"request_id": entry.request_id})

    async def denied(self, entry: Entry, reason: Reason) -> None:
        """See `AuditTrail.denied`. A line says how many before it were not recorded."""
        try:
            self._denials.spend("")
        except Refusal:
            self._unrecorded += 1
            return
        unrecorded, self._unrecorded = self._unrecorded, 0
        try:
            await self._append(entry, "denied", result="denied", reason=reason.value, unrecorded=unrecorded)
        except OSError:
            _log.exception("audit: cannot record a refusal", extra={"request_id": entry.request_id})

    def close(self) -> None:
        """Wait for lines on their way, then close the file."""
        self._thread.shutdown()
        os.close(self._descriptor)

    async def _append(self, entry: Entry, phase: str, **result: str | int) -> None:
        time = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": time, "phase": phase, **asdict(entry), **result}
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        # Shielded: a caller that is cancelled must not leave half a thought; the line is written or refused as a whole.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, self._write, data))

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _write(self, data: bytes) -> None:
        if os.fstat(self._descriptor).st_size >= self._max_bytes:
            self._set_aside()
        if self._torn:
            data = b"\n" + data  # nothing is rewritten: what was cut off stays, and this line stands alone
        written = os.write(self._descriptor, data)
        self._torn = written != len(data)
        if self._torn:
            raise OSError(f"the disk took {written} of {len(data)} bytes")
        self._fsync(self._descriptor)

    def _set_aside(self) -> None:
        """Begin a new file. The order of the names is the order of the files, so the oldest are the first to go."""
        stem, suffix = self._path.stem, self._path.suffix
        time = self._clock.now().strftime("%Y%m%dT%H%M%S%fZ")
        # In an order in which a disk that fails half way leaves a descriptor that is ours, and the next line a try.
        if self._path.exists():
            self._path.rename(self._path.with_name(f"{stem}-{time}{suffix}"))
        full, self._descriptor = self._descriptor, self._open()
        os.close(full)
        self._torn = False
        for old in sorted(self._path.parent.glob(f"{stem}-*{suffix}"))[: -self._keep]:
            old.unlink()

    def _ends_torn(self) -> bool:
        """Whether a crash cut off the last line."""
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
        if torn:
            _log.warning("audit: the last line was cut off by a crash", extra={"file": str(self._path)})
        return torn
