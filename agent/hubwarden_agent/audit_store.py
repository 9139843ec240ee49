"""The audit's files: the segment that is written, the ones that were set aside, and the chain through all of them.

Invariants: lines are on disk (fsync) when `append` returns; what could not be written whole was taken back, or,
where not even that worked, nothing is ever written behind it. Segments are numbered, so that their order does not
depend on a clock. What a crash cut off is reported and set aside as it is. Old segments go only once a line of the new
one is on disk, so that a full disk never costs history.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from hubwarden_agent.audit_chain import ChainError, ChainHead, head_of, link, read
from hubwarden_agent.logging_setup import anchors

AUDIT_FILE = "audit.jsonl"
"""In the state directory."""

_log = logging.getLogger(__name__)


def rotated(path: Path) -> list[Path]:
    """The segments beside the one that is written, the oldest first."""
    name = re.compile(rf"{re.escape(path.stem)}-([0-9]+){re.escape(path.suffix)}")
    numbered = {file: name.fullmatch(file.name) for file in path.parent.iterdir()}
    return sorted((file for file, match in numbered.items() if match), key=_number)


def _number(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])


def lines_backwards(file: Path) -> Iterator[bytes]:
    """The lines of a segment with their ends, the last one first; only that one may lack its end."""
    with file.open("rb") as opened:
        if not (end := opened.seek(0, os.SEEK_END)):
            return
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            while end:
                begin = data.rfind(b"\n", 0, end - 1) + 1
                yield data[begin:end]
                end = begin


class AuditStore:
    """The segments of one audit trail.

    Args:
        path: the one that is written; made if missing. Its directory has to exist.
        max_bytes: a segment that has grown to this is set aside before the next lines.
        keep: how many that were set aside are kept.
        fsync: flushes one file descriptor to disk; `os.fsync` but in tests.

    Raises:
        OSError: the file cannot be opened, or the ones that are there not read.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int, fsync: Callable[[int], None] = os.fsync) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._fsync = fsync
        self._little_room = False
        self._descriptor = self._open()
        self._head, self._closed = self._found()
        self._announce(path)

    @property
    def head(self) -> ChainHead:
        """The last line that is on disk."""
        return self._head

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Put lines on disk, with one flush for all of them.

        Raises:
            OSError: none of them is there, and nothing of them will ever be read as a line.
        """
        begun = self._closed or self._is_full_or_gone()
        if begun:
            self._begin_segment()
        linked, head = b"", self._head
        for fields in lines:
            line, head = link(fields, head)
            linked += line
        before = os.fstat(self._descriptor).st_size
        try:
            self._put(linked)
        except OSError:
            self._take_back(before)
            raise
        self._head = head
        try:
            if begun:
                self._drop_old()
            self._watch_room()
        except OSError:  # the lines are on disk, and nobody may be told otherwise
            _log.exception("audit: old segments or the room on the disk cannot be looked after")

    def history(self) -> Iterator[dict[str, Any]]:
        """Every sound line that is kept, the newest first. Whether they fit each other is for `audit verify` to say."""
        for file in (self._path, *reversed(rotated(self._path))):
            for line in lines_backwards(file):
                with suppress(ChainError):
                    yield read(whole(line))

    def close(self) -> None:
        """Say where the chain ends, and close the file."""
        self._announce(self._path)
        os.close(self._descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)  # or a crash could lose the file's name, and with it lines that were said to be on disk
        finally:
            os.close(directory)
        return descriptor

    def _found(self) -> tuple[ChainHead, bool]:
        """The head to go on from, and whether what is there must not be written behind."""
        closed = False
        try:
            for line in islice(lines_backwards(self._path), 1):
                read(whole(line))
        except ChainError as error:
            closed = True
            _log.error("audit: the last line: %s. A new segment begins.", error, extra={"file": str(self._path)})
        return next((head_of(fields) for fields in self.history()), ChainHead()), closed

    def _begin_segment(self) -> None:
        """In an order in which a disk that fails half way leaves a descriptor that is ours, and the next line a try."""
        if self._path.exists():
            earlier = rotated(self._path)
            number = _number(earlier[-1]) + 1 if earlier else 1
            aside = self._path.with_name(f"{self._path.stem}-{number:06}{self._path.suffix}")
            self._path.rename(aside)
            self._announce(aside)
        full, self._descriptor = self._descriptor, self._open()
        os.close(full)
        self._closed = False

    def _is_full_or_gone(self) -> bool:
        status = os.fstat(self._descriptor)
        return status.st_size >= self._max_bytes or not status.st_nlink

    def _put(self, lines: bytes) -> None:
        if os.write(self._descriptor, lines) != len(lines):
            raise OSError("the disk took only a part of what was written")
        self._fsync(self._descriptor)

    def _take_back(self, size: int) -> None:
        """Nobody was told of these lines; where they cannot be taken back they end their segment."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:
            self._closed = True
            _log.exception("audit: a line that was not written whole cannot be taken back")

    def _drop_old(self) -> None:
        for old in rotated(self._path)[: -self._keep]:
            old.unlink()

    def _watch_room(self) -> None:
        """Warn once when not even one more segment fits on the disk, and again after there was room."""
        disk = os.fstatvfs(self._descriptor)
        free = disk.f_bavail * disk.f_frsize
        if free < self._max_bytes and not self._little_room:
            _log.warning("audit: the disk is nearly full; when it is, nothing is done", extra={"free_bytes": free})
        self._little_room = free < self._max_bytes

    def _announce(self, segment: Path) -> None:
        anchors.info("audit: anchor", extra={"segment": segment.name, "anchor": str(self._head)})


def whole(line: bytes) -> bytes:
    """A line without its end.

    Raises:
        ChainError: it has none.
    """
    if not line.endswith(b"\n"):
        raise ChainError("it was cut off")
    return line[:-1]
