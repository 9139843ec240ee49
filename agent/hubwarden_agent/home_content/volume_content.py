"""A volume's content as a tar, out of it and into it, by one fixed command in a helper container.

Invariants:
- Nothing in a command comes from a request; how much may be read is the operator's policy.
- A tar is whole only if GNU tar exits well *and* the number of bytes that it reports equals the number that passed
  through here. A stream that the engine drops in the middle is therefore never taken for its end.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Iterable

from hubwarden_agent.engine.home_port import HOME, Helper
from hubwarden_agent.engine.port import Engine, EngineError
from hubwarden_agent.home_content.helper import OVER_LIMIT
from hubwarden_agent.home_content.helper_streams import OpenStreams, Streams
from hubwarden_agent.names import VolumeName

_TAR = (
    "/usr/bin/tar",
    f"--directory={HOME}",
    "--file=-",
    "--blocking-factor=128",  # 64 KiB, what a pipe holds
    "--totals",
    "--numeric-owner",
    "--acls",
    "--xattrs",
    "--xattrs-include=*",
)
_ARCHIVE = (
    *_TAR,
    "--create",
    "--format=posix",
    "--pax-option=delete=atime,delete=ctime",  # reading would make every backup another one, and neither comes back
    "--sparse",
    ".",
)
_COMPRESS = ("/opt/hubwarden/bin/python3", "-I", "-m", "hubwarden_agent.home_content.helper")
"""In front of it: how much it may write, and the command. See `helper`."""
EXTRACT = (*_TAR, "--extract", "--same-owner", "--same-permissions", "--delay-directory-restore")

ARCHIVED = re.compile(
    rb"(?:^|\n)Total bytes written: (?P<tar>[0-9]+) \([^\n]*\)\nCompressed: (?P=tar) bytes to (?P<passed>[0-9]+)\n\Z"
)
"""The last that a helper says which wrote a tar: tar wrote as much as was compressed, and that is what `passed` on."""
EXTRACTED = re.compile(rb"(?:^|\n)Total bytes read: (?P<tar>(?P<passed>[0-9]+)) \([^\n]*\)\n\Z")
"""The last that a helper says which read a tar."""
_log = logging.getLogger(__name__)


class TooLarge(EngineError):  # noqa: N818 - that is what it is
    """A volume holds more than it was allowed to."""


class VolumeContent:
    """Archives and fills volumes.

    Args:
        engine: where the volumes are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running = OpenStreams()

    def archive(self, volume: VolumeName, helper: Helper, max_bytes: int, take: Callable[[bytes], object]) -> int:
        """Pass the content of a volume to `take` in chunks: a tar, in one frame of zstd.

        Returns:
            the tar's length in bytes.

        Raises:
            TooLarge: the tar is longer than `max_bytes`.
            EngineError: the tar is not whole. What `take` raises ends the archive and is raised.
        """
        command = archive_command(max_bytes)
        return self._run(volume, helper, command, lambda streams: streams.archive(take), ARCHIVED, writes=False)

    def extract(self, volume: VolumeName, helper: Helper, chunks: Iterable[bytes]) -> None:
        """Write the content of a tar into an empty volume.

        Raises:
            EngineError: not all of it was written. What `chunks` raises is raised.
        """
        self._run(volume, helper, EXTRACT, lambda streams: streams.extract(chunks), EXTRACTED, writes=True)

    def end(self) -> None:
        """End each transfer, with an `EngineError` for who waits for it, and let no other begin."""
        self._running.end()

    def _run(
        self,
        volume: VolumeName,
        helper: Helper,
        command: tuple[str, ...],
        move: Callable[[Streams], int],
        totals: re.Pattern[bytes],
        *,
        writes: bool,
    ) -> int:
        passed, stderr = 0, b""

        def transfer(connection: socket.socket) -> None:
            nonlocal passed, stderr
            streams = Streams(connection)
            with self._running.held(connection):
                passed = move(streams)
            stderr = streams.stderr

        self._engine.remove_helpers(helper.scheme, volume)  # what an earlier run left on the volume
        status = self._engine.homes().run_helper(helper, volume, command, transfer, writes=writes)
        return verify_totals(status, stderr, passed, totals)


def archive_command(max_bytes: int) -> tuple[str, ...]:
    """What a helper runs that reads a volume: a tar of at most `max_bytes`, compressed by it."""
    return (*_COMPRESS, str(max_bytes), *_ARCHIVE)


def verify_totals(status: int, stderr: bytes, passed: int, totals: re.Pattern[bytes]) -> int:
    """Check by exit status and by the counted bytes that tar processed the whole volume. Returns the tar's length.

    Raises:
        TooLarge: it was ended, for it is longer than it may be.
        EngineError: it did not, or not all of it came this far.
    """
    if status == OVER_LIMIT:
        raise TooLarge("the volume holds more than may be archived")
    counted = totals.search(stderr)
    if status != 0 or counted is None or int(counted["passed"]) != passed:
        raise EngineError(f"tar ended with {status} after {passed} bytes: {stderr.decode('ascii', 'replace')!r}")
    if output := stderr[: counted.start()]:
        _log.info("tar said: %r", output.decode("ascii", "replace"))
    return int(counted["tar"])
