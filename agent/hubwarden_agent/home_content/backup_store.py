"""The store of backups: two files each, `<id>.tar.zst` and `<id>.json`, in a directory that is ours alone.

Invariants: a backup is there from the moment its manifest is, which is renamed into place last, when all of it is
on disk (fsync). Nothing is ever written over. A file is read through one descriptor that no link led to, its whole hash
is checked before a byte of it is used, and what comes out of it is bounded by what its manifest says. Memory is
constant, whatever the size. This file knows nothing of engines and takes no lock: only who holds the state directory
may write, prune or sweep.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hubwarden_agent.clock import Clock
from hubwarden_agent.home_content.backup_file import MANIFEST, PART, TAR, Reader, Writer, opened
from hubwarden_agent.home_content.backup_manifest import MAX_BYTES, BackupSource, BadBackup, Manifest, volume_part
from hubwarden_agent.names import BackupId, RequestId, VolumeName

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNFINISHED = re.compile(
    f"{RequestId.pattern.pattern}({re.escape(TAR)}|{re.escape(MANIFEST)}){re.escape(PART)}"
    f"|{BackupId.pattern.pattern}{re.escape(TAR)}"
)
"""Names that only an unfinished backup has, as far as there is no manifest to it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Store:
    """The backups in one directory, which has to be our own and closed to everybody else (mode 0700).

    Every method raises `OSError` when the directory is not so (`PermissionError`), is not there, or cannot be used.
    """

    directory: Path

    def begin(self, subject: BackupSource, clock: Clock) -> Writer:
        """Begin a backup. Its end is `Writer.commit` or `Writer.abort`."""
        return Writer(self._open_directory(), subject, clock)

    def ids(self) -> list[BackupId]:
        """Every backup that has a manifest, sound or not, the oldest first."""
        with self._entries() as directory:
            return [BackupId(name.removesuffix(MANIFEST)) for name in _names(directory) if _is_id(name)]

    def manifest(self, backup_id: BackupId) -> Manifest:
        """A backup's manifest, if its tar is there with the right size.

        Raises:
            BadBackup: one or the other is not as it should be.
        """
        with self.open(backup_id) as reader:
            return reader.manifest

    def all(self) -> list[Manifest]:
        """The manifests of all backups that look sound, the oldest first. Others are logged and left alone."""
        return list(self._sound(self.ids()))

    def of(self, volume: VolumeName) -> list[Manifest]:
        """The same of one volume's."""
        part = f"-{volume_part(volume)}-"
        return [one for one in self._sound(one for one in self.ids() if part in one.value) if one.volume == volume]

    @contextmanager
    def open(self, backup_id: BackupId) -> Iterator[Reader]:
        """Both files of a backup, for reading; `Reader.verify` comes before `Reader.chunks`.

        Raises:
            BadBackup: what can be seen without reading the tar is not as it should be.
        """
        with self._entries() as directory:
            with opened(directory, f"{backup_id}{MANIFEST}") as file:
                manifest = Manifest.parse(os.read(file, MAX_BYTES + 1))
            if manifest.backup_id != backup_id:
                raise BadBackup("its manifest is another backup's")
            with opened(directory, f"{backup_id}{TAR}") as file:
                yield Reader(file, manifest)

    def verify(self, backup_id: BackupId) -> Manifest:
        """Read all of a backup and hold it against its manifest.

        Raises:
            BadBackup: it is not whole.
        """
        with self.open(backup_id) as reader:
            reader.verify()
            return reader.manifest

    def remove(self, backup_id: BackupId) -> None:
        """Remove a backup, its manifest first."""
        with self._entries() as directory:
            for suffix in (MANIFEST, TAR):
                with suppress(FileNotFoundError):
                    os.unlink(f"{backup_id}{suffix}", dir_fd=directory)
            os.fsync(directory)

    def sweep(self) -> list[str]:
        """Remove what was never finished: parts, and tars without a manifest. Returns their names."""
        kept = {f"{one}{TAR}" for one in self.ids()}
        with self._entries() as directory:
            left = [name for name in _names(directory) if _UNFINISHED.fullmatch(name) and name not in kept]
            for name in left:
                os.unlink(name, dir_fd=directory)
        return left

    def _sound(self, ids: Iterator[BackupId] | list[BackupId]) -> Iterator[Manifest]:
        for one in ids:
            try:
                yield self.manifest(one)
            except BadBackup as error:
                _log.warning("backup %s is not sound: %s", one, error)

    def _open_directory(self) -> int:
        directory = os.open(self.directory, _DIRECTORY)
        status = os.fstat(directory)
        if status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return directory
        os.close(directory)
        raise PermissionError(f"{self.directory} must belong to uid {os.geteuid()} and have mode 0700")

    @contextmanager
    def _entries(self) -> Iterator[int]:
        directory = self._open_directory()
        try:
            yield directory
        finally:
            os.close(directory)


def _names(directory: int) -> list[str]:
    return sorted(os.listdir(directory))


def _is_id(name: str) -> bool:
    return name.endswith(MANIFEST) and BackupId.pattern.fullmatch(name.removesuffix(MANIFEST)) is not None
