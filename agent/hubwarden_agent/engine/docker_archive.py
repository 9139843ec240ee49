"""A volume's content as a tar, out of it and into it, by one fixed helper container.

What holds here: the helper is made of `helper_body` alone, is seen to be of the image that was asked for
before it starts, and is removed whatever comes of it. Bytes are handed on as they come, so memory is constant, and
whoever is slow slows tar down. A tar is whole only if GNU tar ended well *and* what it says that it wrote (or read)
adds up to the bytes that went by here: an engine that lets go of a stream in the middle is not taken for its end. A run
has a thread of its own; any other may end it early.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from docker import APIClient

from hubwarden_agent.engine.docker_client import DockerClients, map_errors
from hubwarden_agent.engine.port import HELPER_LABEL, HELPER_NAME, HELPERS, EngineError, EngineUnavailable, TooLarge
from hubwarden_agent.helper import OVER_LIMIT
from hubwarden_agent.names import VolumeName

PIECE_BYTES = 256 * 1024
STDERR_BYTES = 4096
"""The end of what tar says, where it says how it went. For the log only: it names the user's files."""

ARCHIVED = re.compile(
    rb"(?:^|\n)Total bytes written: (?P<tar>[0-9]+) \([^\n]*\)\nCompressed: (?P=tar) bytes to (?P<passed>[0-9]+)\n\Z"
)
"""The last that a helper says which wrote a tar: tar wrote as much as was compressed, and that is what `passed` on."""
EXTRACTED = re.compile(rb"(?:^|\n)Total bytes read: (?P<tar>(?P<passed>[0-9]+)) \([^\n]*\)\n\Z")
"""The last that a helper says which read a tar."""
_HEADER_BYTES = 8
_STDOUT, _STDERR = 1, 2
_log = logging.getLogger(__name__)


class Streams:
    """A helper's input and output: Docker takes its input as it is, and frames its output (stream, length, bytes)."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.stderr = b""

    def archive(self, take: Callable[[bytes], object]) -> int:
        """Hand on what tar writes, in pieces. Returns how many bytes that was."""
        total, held, size = 0, list[bytes](), 0
        for content in self._output():
            held.append(content)
            size += len(content)
            if size >= PIECE_BYTES:
                take(b"".join(held))
                total, held, size = total + size, [], 0
        if held:
            take(b"".join(held))
        return total + size

    def extract(self, pieces: Iterable[bytes]) -> int:
        """Give tar what it shall read. Returns how many bytes that was."""
        # Listened to meanwhile: a tar that complains of every file must not wait for us while we wait for it.
        listener = threading.Thread(target=self._listen)
        listener.start()
        total = 0
        try:
            for piece in pieces:
                total += len(piece)
                if not self._send(piece):
                    break
            else:
                self._connection.shutdown(socket.SHUT_WR)
        except BaseException:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            raise
        finally:
            listener.join()
        return total

    def _output(self) -> Iterator[bytes]:
        """Its standard output, to its end; what it says beside that is kept in `stderr`."""
        try:
            with self._connection.makefile("rb", buffering=PIECE_BYTES) as stream:
                while header := stream.read(_HEADER_BYTES):
                    length = int.from_bytes(header[4:], "big")
                    content = stream.read(length)
                    if len(header) < _HEADER_BYTES or len(content) < length:
                        raise EngineUnavailable("a helper's output ended within a frame")
                    if header[0] == _STDOUT:
                        yield content
                    elif header[0] == _STDERR:
                        self.stderr = (self.stderr + content)[-STDERR_BYTES:]
        except OSError as error:
            raise EngineUnavailable(f"a helper's output was lost: {error}") from error

    def _listen(self) -> None:
        try:
            for _ in self._output():
                pass
        except EngineUnavailable as error:
            _log.warning("%s", error)

    def _send(self, piece: bytes) -> bool:
        """Whether tar takes it; one that has ended does not, and its exit status says why."""
        try:
            self._connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return False
        except OSError as error:
            raise EngineUnavailable(f"a helper does not take its input: {error}") from error
        return True


Work = Callable[[Streams], int]


class HelperRun:
    """One helper container, from its making to its removal.

    Args:
        clients: the engine's; the timeout for changes is how long the helper may take or give nothing.
    """

    def __init__(self, clients: DockerClients) -> None:
        self._clients = clients
        self._ending = threading.Lock()
        self._ended_early = False
        self._connection: socket.socket | None = None

    def run(self, body: Mapping[str, Any], volume: VolumeName, work: Work, totals: re.Pattern[bytes]) -> int:
        """Take away what an earlier run on the volume left, make the helper, let the work go on, and judge the end.

        Returns how many bytes its tar had.

        Raises:
            EngineError: not well, or it was ended early.
        """
        with map_errors():
            client = self._clients.changing
            remove_helpers(client, body["Labels"][HELPER_LABEL], volume)
            name = f"hubwarden-helper-{secrets.token_hex(8)}"
            made = client.create_container_from_config(body, name)["Id"]
        try:
            with map_errors():
                connection = self._attached(client, made, body["Image"])
            with connection:
                with map_errors():
                    client.start(made)
                streams = Streams(connection)
                total = work(streams)
            if self._ended_early:  # its tar may be held up by what nobody reads any more, and not end
                raise EngineError("a helper was ended early")
            with map_errors():
                status = client.wait(made)["StatusCode"]
            return judge(status, streams.stderr, total, totals)
        finally:
            self._remove(made)

    def end_early(self) -> None:
        """Whatever it is doing, no more of it: `run` raises, unless all went by already."""
        with self._ending:
            self._ended_early = True
            if self._connection is not None:
                with suppress(OSError):  # it has ended meanwhile
                    self._connection.shutdown(socket.SHUT_RDWR)

    def _attached(self, client: APIClient, container: str, image: str) -> socket.socket:
        """Before it starts, or its first bytes are lost."""
        if client.inspect_container(container)["Image"] != image:
            raise EngineError("the helper is of another image than was asked for")
        with self._ending:
            if self._ended_early:
                raise EngineError("a helper was ended early")
            self._connection = _attach(client, container)
        return self._connection

    def _remove(self, container: str) -> None:
        try:
            with map_errors():
                self._clients.changing.remove_container(container, v=True, force=True)
        except EngineError as error:
            # It still holds the volume, so nobody removes that; the next run on the volume takes it away.
            _log.warning("a helper stays behind: %s", error)


def judge(status: int, stderr: bytes, passed: int, totals: re.Pattern[bytes]) -> int:
    """Whether tar went through all of it, by its exit status and by what was counted. Returns the tar's length.

    Raises:
        TooLarge: it was ended, for it is longer than it may be.
        EngineError: it did not, or not all of it came this far.
    """
    if status == OVER_LIMIT:
        raise TooLarge("the volume holds more than may be archived")
    counted = totals.search(stderr)
    if status != 0 or counted is None or int(counted["passed"]) != passed:
        raise EngineError(f"tar ended with {status} after {passed} bytes: {stderr.decode('ascii', 'replace')!r}")
    if said := stderr[: counted.start()]:
        _log.info("tar said: %r", said.decode("ascii", "replace"))
    return int(counted["tar"])


class Helpers:
    """Runs helpers, a few at a time.

    Args:
        clients: as for `HelperRun`.
    """

    def __init__(self, clients: DockerClients) -> None:
        self._clients = clients
        self._threads = ThreadPoolExecutor(HELPERS, "docker-helper")

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, body: Mapping[str, Any], volume: VolumeName, work: Work, totals: re.Pattern[bytes]) -> int:
        """Run one, in a thread of its own. Cancelled, this ends when the helper is gone."""
        run = HelperRun(self._clients)
        ended = asyncio.get_running_loop().run_in_executor(self._threads, run.run, body, volume, work, totals)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            run.end_early()
            await asyncio.gather(ended, return_exceptions=True)
            raise


def _attach(client: APIClient, container: str) -> socket.socket:
    """A connection that Docker has turned into a container's streams.

    The SDK returns a file that only reads, hence the duplicate. The file has buffered nothing: a container that has not
    started has no output.
    """
    stream = client.attach_socket(container, {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1})
    connection = socket.socket(fileno=os.dup(stream.fileno()))
    connection.settimeout(client.timeout)
    stream._response.close()  # noqa: SLF001 - or the SDK's own descriptor is left to the garbage collector
    return connection


def remove_helpers(client: APIClient, scheme: str, volume: VolumeName | None) -> None:
    """See `Engine.remove_helpers`. The name is looked at, too: an image can give its containers any label."""
    filters = {"label": [f"{HELPER_LABEL}={scheme}"]} | ({"volume": [volume.value]} if volume else {})
    for summary in client.containers(all=True, filters=filters):
        if any(HELPER_NAME.fullmatch(name.removeprefix("/")) for name in summary["Names"]):
            client.remove_container(summary["Id"], v=True, force=True)
