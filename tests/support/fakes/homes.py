"""The part of the fake engine that reads and writes volumes: helpers that do what GNU tar does, without a tar.

A volume's content is the pieces of a tar, as they were written. A helper is a container for as long as it runs, and
frames its output as Docker does, so that what reads it is the agent's own code.
"""

from __future__ import annotations

import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import zstandard
from hubwarden_agent.engine.home_port import Helper, VolumeSize
from hubwarden_agent.home_content.helper import OVER_LIMIT
from hubwarden_agent.home_content.volume_content import EXTRACT, archive_command
from hubwarden_agent.names import VolumeName

if TYPE_CHECKING:
    from support.fakes.engine import FakeEngine

STDOUT, STDERR = 1, 2
EMPTY_TAR = tarfile.TarInfo(".").tobuf() + bytes(2 * tarfile.BLOCKSIZE)


class FakeHomes:
    """`HomeEngine` in memory."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    def run_helper(
        self,
        helper: Helper,
        volume: VolumeName,
        command: tuple[str, ...],
        transfer: Callable[[socket.socket], object],
        *,
        writes: bool,
    ) -> int:
        with self._engine.helping(volume, helper.scheme):
            ours, theirs = socket.socketpair()
            statuses = list[int]()
            if writes:
                assert command == EXTRACT
            else:
                limit = next(int(word) for word in command if word.isdecimal())
                assert command == archive_command(limit)

            def run() -> None:
                with theirs, suppress(OSError):  # nobody listens any more
                    status, said = self._extract(volume, theirs) if writes else self._archive(volume, theirs, limit)
                    statuses.append(status)
                    send(theirs, STDERR, said)

            program = threading.Thread(target=run)
            program.start()
            try:
                with ours:
                    transfer(ours)
            finally:
                program.join()
            return statuses[0]

    def volume_sizes(self) -> tuple[VolumeSize, ...]:
        engine = self._engine
        engine.ask("volume_sizes")
        return tuple(
            VolumeSize(one.name, one.created, sum(map(len, engine.contents.get(one.name, ()))))
            for one in engine.volumes.values()
        )

    def _archive(self, volume: VolumeName, output: socket.socket, limit: int) -> tuple[int, bytes]:
        content = self._engine.contents.get(volume, (EMPTY_TAR,))
        total, passed = sum(map(len, content)), 0
        if total > limit:
            return OVER_LIMIT, b""
        for piece in compressed(content):
            send(output, STDOUT, piece)
            passed += len(piece)
        return 0, f"Total bytes written: {total} (x)\nCompressed: {total} bytes to {passed}\n".encode()

    def _extract(self, volume: VolumeName, source: socket.socket) -> tuple[int, bytes]:
        taken = list[bytes]()
        while chunk := source.recv(65536):
            taken.append(chunk)
        self._engine.contents[volume] = tuple(taken)
        return 0, f"Total bytes read: {sum(map(len, taken))} (x)\n".encode()


def compressed(content: tuple[bytes, ...]) -> Iterator[bytes]:
    """One frame of zstd, in as many pieces as there are and one more."""
    compressor = zstandard.ZstdCompressor().compressobj()
    for piece in content:
        yield compressor.compress(piece) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    yield compressor.flush()


def send(output: socket.socket, stream: int, content: bytes) -> None:
    """As Docker frames what a container prints."""
    output.sendall(bytes([stream, 0, 0, 0]) + len(content).to_bytes(4, "big") + content)
