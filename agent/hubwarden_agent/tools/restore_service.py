"""What a restore is, step by step: a verified backup into the volume that it came from, or another.

Invariants: the whole backup was read and found sound before anything is changed, and nothing here ever removes or
changes a backup. A volume that holds anything is only replaced when told to, and after its content became a backup of
its own; one that points elsewhere never is, because removing it erases nothing. Before the first change, the intent is
in the audit, and what is about to be filled in the state directory (`pending_restores`). What fails is undone; what is
killed is found, reported and begun anew by the next run, and until then the agent does nothing for that home's user.
"""

from __future__ import annotations

import io
import logging
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zstandard

from hubwarden_agent.audit import Audit, AuditEntry
from hubwarden_agent.audit_scope import audited, map_engine_errors
from hubwarden_agent.clock import Clock
from hubwarden_agent.engine.home_port import Helper
from hubwarden_agent.engine.port import Engine, EngineError, Volume
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.home_content import pending_restores
from hubwarden_agent.home_content.backup_file import MAX_WINDOW_BYTES, Reader
from hubwarden_agent.home_content.backup_manifest import Manifest
from hubwarden_agent.home_content.backup_service import Backups
from hubwarden_agent.home_content.pending_restores import Unfinished
from hubwarden_agent.home_content.volume_content import TooLarge, VolumeContent
from hubwarden_agent.names import RequestId, Username, VolumeName
from hubwarden_agent.operations.reset_checks import RemovalInProgress
from hubwarden_agent.operations.volume_removal import Removal, RemovalPlan, recreate
from hubwarden_agent.ownership import is_local

EMPTY_TAR_BYTES = 512 * 1024
"""No empty folder's tar is longer: its attributes have room for 64 KiB each, and are few."""
_log = logging.getLogger(__name__)


class NotRestored(Exception):  # noqa: N818 - that is what it says
    """Why a restore was not begun, in a sentence for the operator. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What an operator asks for: a backup of this user into this volume, setting aside what is there or not."""

    request_id: RequestId
    operator: Username
    username: Username
    volume: VolumeName
    aside: bool


@dataclass(frozen=True, slots=True)
class VolumeState:
    """What is there before: no target when there is no volume; half filled by an earlier restore that was killed."""

    target: RemovalPlan | None = None
    holds_something: bool = False
    is_half_filled: bool = False


@dataclass(frozen=True, slots=True)
class Restorer:
    """Restores, with everything that it needs to do so.

    Args:
        engine: where the volume is.
        content: reads and writes it.
        helper: what reads and writes volumes.
        removal: removes volumes, as a reset does.
        backups: makes a backup of what is set aside.
        audit: of the agent whose state directory this process holds.
        state: that directory.
        clock: for records.
        say: tells the operator.
    """

    engine: Engine
    content: VolumeContent
    helper: Helper
    removal: Removal
    backups: Backups
    audit: Audit
    state: Path
    clock: Clock
    say: Callable[[str], None]

    def restore(self, order: RestoreRequest, backup: Reader) -> Mapping[str, Any]:
        """Restore a backup. Returns what the audit says of it.

        Raises:
            NotRestored: with what to do; nothing was changed.
            RequestRefused: nothing was changed, or it was undone, or the next run begins it anew.
            BadBackup, OSError: the backup is not sound or cannot be read.
        """
        manifest = backup.manifest
        self._check_fits(order, manifest)
        self.say(f"checking {manifest.backup_id}")
        backup.verify()
        with map_engine_errors():
            found = self._look(order)
        if found.holds_something and not order.aside:
            raise NotRestored(
                f"{order.volume} is not empty: restore with --aside, which first makes a backup of what is in it"
            )
        with audited(self.audit, _entry(order, manifest, found.target), self.clock) as outcome:
            outcome.answer = {"volume": order.volume.value}
            if found.target and found.holds_something:
                aside = self._set_aside(order, found.target.volume)
                outcome.answer |= {"set_aside": aside.backup_id.value}
            self._replace(order, backup, found)
        return outcome.answer

    def _check_fits(self, order: RestoreRequest, manifest: Manifest) -> None:
        if manifest.username != order.username:
            raise NotRestored(f"{manifest.backup_id} is a backup of {manifest.username}, not of {order.username}")
        names = self.removal.names
        if order.volume != names.home_volume(order.username) and names.is_called_home(order.volume):
            raise NotRestored(f"{order.volume} is named as another user's home, where only their own backups go")
        if not is_local(_volume(manifest)):
            raise NotRestored("its volume would only point to files elsewhere: unpack the backup there by hand")

    def _look(self, order: RestoreRequest) -> VolumeState:
        earlier = pending_restores.of(self.state, order.volume)
        if earlier:
            self.say(f"a restore of {earlier.backup_id} into {order.volume} was interrupted: beginning anew")
        try:
            target = self.removal.inspect(order.username, order.volume)
        except RemovalInProgress:
            raise RequestRefused(Reason.OPERATION_IN_PROGRESS, "The server's container is being removed.") from None
        except RequestRefused as refusal:
            if refusal.reason is not Reason.VOLUME_NOT_FOUND:
                raise
            return VolumeState()
        if not is_local(target.volume):  # whatever policy lets a reset do: removing it would erase nothing
            raise RequestRefused(Reason.VOLUME_NOT_LOCAL)
        if earlier and earlier.created == target.volume.created:
            return VolumeState(target, is_half_filled=True)
        return VolumeState(target, holds_something=not self._is_empty(order.volume))

    def _is_empty(self, volume: VolumeName) -> bool:
        held = io.BytesIO()
        try:
            self.content.archive(volume, self.helper, EMPTY_TAR_BYTES, held.write)
        except TooLarge:
            return False
        held.seek(0)
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        try:
            with decompressor.stream_reader(held) as file, tarfile.open(fileobj=file, mode="r|") as tar:
                return all(member.name == "." for member in tar)
        except (tarfile.TarError, zstandard.ZstdError) as error:
            raise EngineError(f"what {volume} holds cannot be read: {error}") from error

    def _set_aside(self, order: RestoreRequest, volume: Volume) -> Manifest:
        self.say(f"setting aside what is in {order.volume}")
        aside = self.backups.take(volume, order.username, order.request_id)
        self.say(f"set aside as {aside.backup_id}")
        return aside

    def _replace(self, order: RestoreRequest, backup: Reader, found: VolumeState) -> None:
        """Everything that changes the volume; what fails half way is undone."""
        half = found.target.volume.created if found.target and found.is_half_filled else ""
        mark = Unfinished(order.request_id, order.username, order.volume, backup.manifest.backup_id, half)
        pending_restores.note(self.state, mark)
        made: Volume | None = None
        try:
            if found.target:
                self.removal.remove(found.target)
                self._say_removed(found.target)
            made = self._create(order.volume, backup.manifest)
            pending_restores.note(self.state, replace(mark, created=made.created))
            self.say(f"restoring into {order.volume}")
            self.content.extract(order.volume, self.helper, backup.chunks())
        except BaseException:
            self._undo(order.volume, found, made)
            raise
        pending_restores.forget(self.state, order.volume)

    def _create(self, name: VolumeName, manifest: Manifest) -> Volume:
        if self.engine.volume(name) is not None:
            raise RequestRefused(Reason.VOLUME_IN_USE, "Somebody else created the volume meanwhile.")
        return recreate(self.engine, name, _volume(manifest))

    def _undo(self, name: VolumeName, found: VolumeState, made: Volume | None) -> None:
        """Back to an empty volume, or none, as it was; where that fails, the next run finds what is noted."""
        old = found.target.volume if found.target else None
        try:
            present = self.engine.volume(name)
            untouched = old is not None and present is not None and present.created == old.created
            if untouched and found.is_half_filled:
                return
            if made is not None:
                self.engine.remove_volume(name)
            if old is not None and not untouched:
                self.engine.create_volume(name, old.driver, old.options, old.labels)
        except EngineError as error:
            _log.error("what was begun could not be undone: restore again (%s)", error)
            return
        pending_restores.forget(self.state, name)

    def _say_removed(self, target: RemovalPlan) -> None:
        for container in target.containers:
            self.say(f"removed the stopped container {container.name}")


def _volume(manifest: Manifest) -> Volume:
    """The volume that a backup would be restored into, as far as the backup says."""
    return Volume(manifest.volume, manifest.driver, "local", "", manifest.labels, manifest.options)


def _entry(order: RestoreRequest, manifest: Manifest, target: RemovalPlan | None) -> AuditEntry:
    entry = AuditEntry(
        operation="restore",
        username=order.username.value,
        server_name="",
        client="tool",
        actor=f"operator:{order.operator}",
        request_id=order.request_id.value,
        object=order.volume.value,
        object_id="",
        backup_id=manifest.backup_id.value,
    )
    return target.named_in(entry) if target else entry
