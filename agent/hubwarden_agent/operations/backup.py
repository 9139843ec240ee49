"""The backup that comes before a reset removes anything, and what becomes of backups afterwards.

What holds here: `take` gives a backup that is whole and on disk, or refuses with `BACKUP_FAILED`, and then nothing of
it is left; what went wrong is for the log. Files are written in threads of their own. It never removes anything of
Docker's but its own helper.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TypeVar

from hubwarden_agent.audit import Entry
from hubwarden_agent.audit_trails import AuditTrail
from hubwarden_agent.backup_file import Writer
from hubwarden_agent.backup_manifest import Manifest, Subject, outdated
from hubwarden_agent.backups import Store
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import HELPERS, Engine, EngineError, Volume
from hubwarden_agent.errors import Detail, Reason, Refusal
from hubwarden_agent.names import Names, RequestId, Username, VolumeName
from hubwarden_agent.own_image import helper, own_container
from hubwarden_agent.recording import recorded

RESERVE_BYTES = 256 * 1024**2
"""What a backup leaves free on its disk, which may be the audit's, too."""
LOOK_EVERY_BYTES = 16 * 1024**2
THREADS = 4
BUSY_RETRY_SECONDS = 60.0

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


class Backups:
    """Backups of home volumes, by the operator's policy.

    Args:
        engine: reads the volumes.
        names: gives the helpers' label.
        policy: whether, where, how large and how many.
        clock: dates backups.
    """

    def __init__(self, engine: Engine, names: Names, policy: ResetPolicy, clock: Clock) -> None:
        self._engine = engine
        self._names = names
        self._policy = policy
        self._clock = clock
        self._store = Store(policy.backup_dir)
        self._threads = ThreadPoolExecutor(THREADS, "backup")
        self._running = set[asyncio.Task[int]]()
        self._stopping = False
        self._turns = asyncio.Semaphore(HELPERS)

    @property
    def required(self) -> bool:
        """Whether nothing is removed without a backup."""
        return self._policy.backup == "required"

    async def sweep(self) -> None:
        """Take away what an agent that was killed has left behind. Before anything is served: later, it is in use.

        Raises:
            OSError: backups are required, and their directory cannot be used.
        """
        try:
            await self._engine.remove_helpers(self._names.scheme)
        except EngineError as error:
            _log.warning("backup: helpers may have been left behind: %s", error)
        if self.required and (swept := await self._in_thread(self._store.sweep)):
            _log.warning("backup: what was not finished is removed", extra={"files": swept})

    async def check(self, volume: VolumeName) -> None:
        """Whether a backup could begin now.

        Raises:
            Refusal: `BACKUP_FAILED`; `TOO_BUSY` while as many are made as can be at once.
        """
        if self.required:
            try:
                await self._in_thread(self._check_room)
            except OSError as error:
                raise _failed(volume) from error
            if self._turns.locked():
                raise Refusal(Reason.TOO_BUSY, retry_after=BUSY_RETRY_SECONDS)

    @asynccontextmanager
    async def turn(self, volume: VolumeName) -> AsyncIterator[None]:
        """Hold one of the places for a backup, so that `take` waits for nobody else's.

        Raises:
            Refusal: as `check`.
        """
        await self.check(volume)
        async with self._turns if self.required else nullcontext():  # at once, for nothing happened since the look
            yield

    async def take(self, volume: Volume, username: Username, request_id: RequestId) -> Manifest | None:
        """Back the volume up, if the policy says so.

        Raises:
            Refusal: `BACKUP_FAILED`; then there is no backup.
        """
        if not self.required:
            return None
        subject = Subject(username, volume.name, volume.driver, volume.options, volume.labels, request_id)
        try:
            return await self._taken(subject)
        except (EngineError, OSError) as error:
            _log.warning("backup: there is none: %r", error)
            raise _failed(volume.name) from error

    async def prune(self, volume: VolumeName, audit: AuditTrail, reset: Entry) -> None:
        """Remove the volume's backups that policy no longer keeps, each on the record. What goes wrong is only logged.

        Args:
            volume: whose.
            audit: without a line in it nothing goes.
            reset: what they go after: its client and actor are theirs, its request id is not.
        """
        if not self.required:
            return
        policy, now = self._policy, self._clock.now()
        try:
            kept = await self._in_thread(lambda: self._store.of(volume))
            for manifest in outdated(kept, policy.keep, policy.keep_days, now):
                async with recorded(audit, pruning(manifest, reset.client, reset.actor), self._clock):
                    await self._in_thread(partial(self._store.remove, manifest.backup_id))
        except (OSError, Refusal) as error:
            _log.warning("backup: old ones of %s stay: %s", volume, error)

    def stop(self) -> None:
        """Let no backup go on or begin: one of a large home would outlast any patience with an agent that ends."""
        self._stopping = True
        for task in self._running:
            task.cancel()

    async def _taken(self, subject: Subject) -> Manifest:
        made_of = await helper(self._engine, self._names, self._policy.helper_image, own_container())
        writer = await self._in_thread(partial(self._store.begin, subject, self._clock))
        try:
            archive = self._engine.archive_volume(subject.volume, made_of, self._policy.max_bytes, self._into(writer))
            tar_bytes = await self._until_stopped(asyncio.create_task(archive))
            return await self._in_thread(partial(writer.commit, tar_bytes))
        finally:
            await self._in_thread(writer.abort)

    async def _until_stopped(self, task: asyncio.Task[int]) -> int:
        self._running.add(task)
        if self._stopping:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            raise EngineError("the agent is being stopped") from None
        finally:
            self._running.discard(task)

    def _into(self, writer: Writer) -> Callable[[bytes], None]:
        """Writes a compressed tar, and looks now and then whether there still is room for more than it."""
        unlooked = LOOK_EVERY_BYTES

        def take(piece: bytes) -> None:
            nonlocal unlooked
            unlooked += len(piece)
            if unlooked >= LOOK_EVERY_BYTES:
                self._check_room()
                unlooked = 0
            writer.write(piece)

        return take

    def _check_room(self) -> None:
        disk = os.statvfs(self._policy.backup_dir)
        if disk.f_bavail * disk.f_frsize < RESERVE_BYTES:
            raise OSError(errno.ENOSPC, "no room for a backup and its reserve")

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        """Cancelled, this ends when the work has: nothing else is done to its files meanwhile."""
        ended = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            await asyncio.gather(ended, return_exceptions=True)
            raise


def pruning(manifest: Manifest, client: str, actor: str) -> Entry:
    """What the audit says of a backup's removal, which has a request id of its own, whatever it comes after."""
    return Entry(
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


def _failed(volume: VolumeName) -> Refusal:
    return Refusal(Reason.BACKUP_FAILED, detail=Detail(volume=volume.value))
