"""One backup's files, written and read: hashing as the bytes go by, with constant memory.

Invariants: see `backup_store`, which is the only one to open these. Every path is relative to a descriptor of the
store's directory, and never leads over a link.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from hubwarden_agent.clock import Clock
from hubwarden_agent.home_content.backup_manifest import BackupSource, BadBackup, Manifest

TAR, MANIFEST, PART = ".tar.zst", ".json", ".part"
CHUNK_BYTES = 256 * 1024
MAX_WINDOW_BYTES = 8 * 1024**2
"""What a decompressor may be made to allocate; level 3 asks for a quarter of it."""

_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Writer:
    """A backup that is being written. Ends with `commit` or `abort`; after any error only with `abort`.

    Args:
        directory: a descriptor of the store's, which this closes.
        subject: what is kept.
        clock: gives the time at which the backup was begun.

    Raises:
        OSError: it cannot be begun.
    """

    def __init__(self, directory: int, subject: BackupSource, clock: Clock) -> None:
        self._directory = directory
        self._subject = subject
        self._created = clock.now().replace(microsecond=0)
        self._file_bytes = 0
        self._hash = hashlib.sha256()
        self._open = [directory]
        self._names: list[str] = []
        try:
            self._tar = self._made(f"{subject.request_id}{TAR}{PART}")
        except OSError:
            self.abort()
            raise

    def write(self, chunk: bytes) -> None:
        """Add bytes of the compressed tar.

        Raises:
            OSError: the disk does not take them.
        """
        self._hash.update(chunk)
        self._file_bytes += len(chunk)
        _write(self._tar, chunk)

    def commit(self, tar_bytes: int) -> Manifest:
        """Put the backup in place, durably.

        Args:
            tar_bytes: what the tar has when it is not compressed.

        Raises:
            OSError: it is not there.
        """
        os.fsync(self._tar)
        manifest = self._manifest(tar_bytes)
        line = _readable(manifest)
        file = self._made(f"{self._subject.request_id}{MANIFEST}{PART}")
        _write(file, line)
        os.fsync(file)
        # Whatever moment the machine dies at, no manifest stands without its tar.
        for index, suffix in enumerate((TAR, MANIFEST)):
            name = f"{manifest.backup_id}{suffix}"
            os.rename(self._names[index], name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            self._names[index] = name
            os.fsync(self._directory)
        self._names.clear()
        self.abort()
        return manifest

    def abort(self) -> None:
        """Close everything, and leave nothing of a backup that was not put in place. May be repeated."""
        for name in reversed(self._names):
            with suppress(OSError):  # the next sweep takes what stays
                os.unlink(name, dir_fd=self._directory)
        while self._open:
            os.close(self._open.pop())
        self._names.clear()

    def _made(self, name: str) -> int:
        file = os.open(name, _WRITING, 0o600, dir_fd=self._directory)
        self._open.append(file)
        self._names.append(name)
        return file

    def _manifest(self, tar_bytes: int) -> Manifest:
        from importlib.metadata import version  # noqa: PLC0415 - see the top

        about = self._subject
        return Manifest(
            username=about.username,
            volume=about.volume,
            driver=about.driver,
            options=dict(about.options),
            labels=dict(about.labels),
            request_id=about.request_id,
            created=self._created,
            tar_bytes=tar_bytes,
            file_bytes=self._file_bytes,
            sha256=self._hash.hexdigest(),
            agent_version=version("hubwarden-agent"),
        )


@dataclass(frozen=True, slots=True)
class Reader:
    """A backup that is being read, through the descriptor `file`.

    Raises:
        BadBackup: the file's size is not what the manifest says.
    """

    file: int
    manifest: Manifest

    def __post_init__(self) -> None:
        if os.fstat(self.file).st_size != self.manifest.file_bytes:
            raise BadBackup("its tar does not have the size that its manifest says")

    def verify(self) -> None:
        """Read everything once, compressed and then not.

        Raises:
            BadBackup: it is not what the manifest says.
            OSError: it cannot be read.
        """
        with self._rewound() as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != self.manifest.sha256:
                raise BadBackup("its tar does not have the hash that its manifest says")
        for _ in self.chunks():
            pass

    def chunks(self) -> Iterator[bytes]:
        """The tar, in pieces of a bounded size.

        Raises:
            BadBackup: it is longer or shorter than the manifest says, or not what was compressed.
            OSError: it cannot be read.
        """
        import zstandard  # noqa: PLC0415 - see the top

        left = self.manifest.tar_bytes
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        with self._rewound() as file, decompressor.stream_reader(file, read_size=CHUNK_BYTES) as tar:
            try:
                while chunk := tar.read(CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        break
                    yield chunk
            except zstandard.ZstdError as error:
                raise BadBackup("its tar cannot be decompressed") from error
        if left:
            raise BadBackup("its tar does not have the length that its manifest says")

    @contextmanager
    def _rewound(self) -> Iterator[io.FileIO]:
        os.lseek(self.file, 0, os.SEEK_SET)
        with io.FileIO(self.file, closefd=False) as file:
            yield file


@contextmanager
def opened(directory: int, name: str) -> Iterator[int]:
    """A file of the store, for reading.

    Raises:
        BadBackup: it is not there, or not a file of our own.
        OSError: it cannot be opened.
    """
    try:
        file = os.open(name, _READING, dir_fd=directory)
    except FileNotFoundError as error:
        raise BadBackup(f"{name} is missing") from error
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise BadBackup(f"{name} is a link") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise BadBackup(f"{name} is not a file of our own")
        yield file
    finally:
        os.close(file)


def _readable(manifest: Manifest) -> bytes:
    """The manifest's line, if it can be read again: by then, the volume may be gone. Raises `OSError`."""
    try:
        Manifest.parse(manifest.line())
    except (BadBackup, UnicodeError) as error:
        raise OSError(errno.EINVAL, "its manifest could not be read again") from error
    return manifest.line()


def _write(file: int, content: bytes) -> None:
    """All of it; the system may take less at a time."""
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]
