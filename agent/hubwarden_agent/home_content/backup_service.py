"""The backup that comes before a reset removes anything, and the removal of old backups.

Invariants:
- `take` returns a backup that is whole and on disk, or refuses with `BACKUP_FAILED` and leaves nothing of it. The cause
  is for the log.
- Of Docker's, nothing is removed but helper containers.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hubwarden_agent.audit import Audit, AuditEntry
from hubwarden_agent.audit_scope import audited
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Engine, EngineError, Volume
from hubwarden_agent.errors import ErrorDetails, Reason, RequestRefused
from hubwarden_agent.home_content.backup_file import Writer
from hubwarden_agent.home_content.backup_manifest import BackupSource, Manifest, expired
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.home_content.helper_image import helper, own_container
from hubwarden_agent.home_content.volume_content import VolumeContent
from hubwarden_agent.names import Names, RequestId, Username, VolumeName

RESERVE_BYTES = 256 * 1024**2
"""What a backup leaves free on its disk, which may be the audit's, too."""
CHECK_EVERY_BYTES = 16 * 1024**2
BUSY_RETRY_SECONDS = 60.0
HELPERS = 2
"""Backups at once. Each takes a compressor's memory and all that a disk can give."""

_log = logging.getLogger(__name__)


class Backups:
    """Backups of home volumes, by the operator's policy.

    Args:
        engine: reads the volumes.
        names: gives the helpers' label.
        policy: where, how large and how many.
        clock: dates backups.
    """

    def __init__(self, engine: Engine, names: Names, policy: ResetPolicy, clock: Clock) -> None:
        self._engine = engine
        self._names = names
        self._policy = policy
        self._clock = clock
        self._content = VolumeContent(engine)
        self._store = Store(policy.backup_dir)
        self._stopping = threading.Event()
        self._slots = threading.BoundedSemaphore(HELPERS)

    def sweep(self) -> None:
        """Remove the files of unfinished backups. Before anything is served: later, they are in use.

        Raises:
            OSError: the directory for backups cannot be used.
        """
        if swept := self._store.sweep():
            _log.warning("backup: unfinished backups are removed", extra={"files": swept})

    @contextmanager
    def slot(self, volume: VolumeName) -> Iterator[None]:
        """Hold one of the slots for a backup, so that `take` waits for no other.

        Raises:
            RequestRefused: `BACKUP_FAILED` when none can begin now; `TOO_BUSY` while all slots are held.
        """
        try:
            self._check_space()
        except OSError as error:
            raise _failed(volume) from error
        if not self._slots.acquire(blocking=False):
            raise RequestRefused(Reason.TOO_BUSY, retry_after=BUSY_RETRY_SECONDS)
        try:
            yield
        finally:
            self._slots.release()

    def take(self, volume: Volume, username: Username, request_id: RequestId) -> Manifest:
        """Back the volume up.

        Raises:
            RequestRefused: `BACKUP_FAILED`; then there is no backup.
        """
        subject = BackupSource(username, volume.name, volume.driver, volume.options, volume.labels, request_id)
        try:
            return self._take(subject)
        except (EngineError, OSError) as error:
            _log.warning("backup: failed: %r", error)
            raise _failed(volume.name) from error

    def prune(self, volume: VolumeName, audit: Audit, reset: AuditEntry) -> None:
        """Remove the volume's backups that policy no longer retains, each on the record. Failures are only logged.

        Args:
            volume: whose.
            audit: without a record nothing is removed.
            reset: what they are removed after: its client and actor are theirs, its request id is not.
        """
        policy, now = self._policy, self._clock.now()
        try:
            for manifest in expired(self._store.of(volume), policy.keep, policy.keep_days, now):
                with audited(audit, pruning(manifest, reset.client, reset.actor), self._clock):
                    self._store.remove(manifest.backup_id)
        except (OSError, RequestRefused) as error:
            _log.warning("backup: old ones of %s stay: %s", volume, error)

    def stop(self) -> None:
        """End each backup under way, and begin no other: a large one would outlast the time for a shutdown."""
        self._stopping.set()
        self._content.end()

    def _take(self, subject: BackupSource) -> Manifest:
        image = helper(self._engine, self._names, self._policy.helper_image, own_container())
        writer = self._store.begin(subject, self._clock)
        try:
            write = self._into(writer)
            tar_bytes = self._content.archive(subject.volume, image, self._policy.max_bytes, write)
            return writer.commit(tar_bytes)
        finally:
            writer.abort()

    def _into(self, writer: Writer) -> Callable[[bytes], None]:
        """Writes a compressed tar. Checks now and then that the disk has space for more."""
        unchecked = CHECK_EVERY_BYTES

        def take(chunk: bytes) -> None:
            nonlocal unchecked
            if self._stopping.is_set():
                raise EngineError("the agent is shutting down")
            unchecked += len(chunk)
            if unchecked >= CHECK_EVERY_BYTES:
                self._check_space()
                unchecked = 0
            writer.write(chunk)

        return take

    def _check_space(self) -> None:
        disk = os.statvfs(self._policy.backup_dir)
        if disk.f_bavail * disk.f_frsize < RESERVE_BYTES:
            raise OSError(errno.ENOSPC, "no room for a backup and its reserve")


def pruning(manifest: Manifest, client: str, actor: str) -> AuditEntry:
    """The audit entry for the removal of a backup. It has a request id of its own."""
    return AuditEntry(
        operation="prune",
        username=manifest.username.value,
        server_name="",
        client=client,
        actor=actor,
        request_id=str(uuid.uuid4()),
        object=manifest.volume.value,
        object_id="",
        backup_id=manifest.backup_id.value,
    )


def _failed(volume: VolumeName) -> RequestRefused:
    return RequestRefused(Reason.BACKUP_FAILED, detail=ErrorDetails(volume=volume.value))
