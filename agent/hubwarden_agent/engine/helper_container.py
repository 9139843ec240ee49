"""A volume's content as a tar, out of it and into it, by one fixed helper container.

Invariants:
- The helper is made of `helper_body` alone, is verified to be of the intended image before it starts, and is removed
  however the run ends.
- Bytes are passed on as they come: memory is constant, and a slow consumer slows tar down.
- A tar is whole only if GNU tar exits well *and* the number of bytes that it reports equals the number that passed
  through here. A stream that the engine drops in the middle is therefore never taken for its end.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from docker import APIClient

from hubwarden_agent.engine.docker_client import DockerClients, map_errors
from hubwarden_agent.engine.helper_body import reading_body, writing_body
from hubwarden_agent.engine.port import HELPER_LABEL, HELPER_NAME, EngineError, EngineUnavailable, Helper, TooLarge
from hubwarden_agent.helper import OVER_LIMIT
from hubwarden_agent.names import VolumeName

CHUNK_BYTES = 256 * 1024
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
            if size >= CHUNK_BYTES:
                take(b"".join(held))
                total, held, size = total + size, [], 0
        if held:
            take(b"".join(held))
        return total + size

    def extract(self, chunks: Iterable[bytes]) -> int:
        """Give tar what it shall read. Returns how many bytes that was."""
        # Listened to meanwhile: a tar that complains of every file must not wait for us while we wait for it.
        listener = threading.Thread(target=self._listen)
        listener.start()
        total = 0
        try:
            for chunk in chunks:
                total += len(chunk)
                if not self._send(chunk):
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
            with self._connection.makefile("rb", buffering=CHUNK_BYTES) as stream:
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

    def _send(self, chunk: bytes) -> bool:
        """Whether tar takes it; one that has ended does not, and its exit status says why."""
        try:
            self._connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            return False
        except OSError as error:
            raise EngineUnavailable(f"a helper does not take its input: {error}") from error
        return True


class OpenStreams:
    """The connections of running helpers, so that a shutdown can end them although no byte comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._ended = False

    @contextmanager
    def held(self, connection: socket.socket) -> Iterator[None]:
        """Transfer over a connection in the body.

        Raises:
            EngineError: `end` was called, so what was transferred may be cut.
        """
        with self._lock:
            self._check()
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)
        self._check()

    def end(self) -> None:
        """End each transfer, and let no other begin."""
        with self._lock:
            self._ended = True
            for connection in self._open:
                with suppress(OSError):  # it has ended already
                    connection.shutdown(socket.SHUT_RDWR)

    def _check(self) -> None:
        if self._ended:
            raise EngineError("the agent is shutting down")


def archive(
    clients: DockerClients,
    running: OpenStreams,
    volume: VolumeName,
    helper: Helper,
    max_bytes: int,
    take: Callable[[bytes], object],
) -> int:
    """See `Engine.archive_volume`."""
    body = reading_body(volume, helper, max_bytes)
    return _run(clients, running, body, volume, lambda streams: streams.archive(take), ARCHIVED)


def extract(
    clients: DockerClients, running: OpenStreams, volume: VolumeName, helper: Helper, chunks: Iterable[bytes]
) -> None:
    """See `Engine.extract_volume`."""
    body = writing_body(volume, helper)
    _run(clients, running, body, volume, lambda streams: streams.extract(chunks), EXTRACTED)


def _run(
    clients: DockerClients,
    running: OpenStreams,
    body: Mapping[str, Any],
    volume: VolumeName,
    transfer: Callable[[Streams], int],
    totals: re.Pattern[bytes],
) -> int:
    """Remove what an earlier run left on the volume, run a helper container, and verify its end.

    Returns:
        the length of its tar in bytes.

    Raises:
        EngineError: the helper did not end well. What `transfer` raises ends the helper and is raised.
    """
    with map_errors():
        client = clients.changing
        remove_helpers(client, body["Labels"][HELPER_LABEL], volume)
        name = f"hubwarden-helper-{secrets.token_hex(8)}"
        made = client.create_container_from_config(body, name)["Id"]
    try:
        with map_errors():
            connection = _attach(client, made, body["Image"])
        with connection:
            with map_errors():
                client.start(made)
            streams = Streams(connection)
            with running.held(connection):
                total = transfer(streams)
        with map_errors():
            status = client.wait(made)["StatusCode"]
        return verify_totals(status, streams.stderr, total, totals)
    finally:
        _remove(client, made)


def _remove(client: APIClient, container: str) -> None:
    try:
        with map_errors():
            client.remove_container(container, v=True, force=True)
    except EngineError as error:
        # It still holds the volume, so nobody removes that; the next run on the volume removes it.
        _log.warning("a helper container is left behind: %s", error)


def _attach(client: APIClient, container: str, image: str) -> socket.socket:
    """Turn a connection into the container's streams, before it starts: its first bytes would be lost.

    The SDK returns a file that only reads, hence the duplicate. The file has buffered nothing: a container that has not
    started has no output.
    """
    if client.inspect_container(container)["Image"] != image:
        raise EngineError("the helper is of another image than was asked for")
    stream = client.attach_socket(container, {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1})
    connection = socket.socket(fileno=os.dup(stream.fileno()))
    connection.settimeout(client.timeout)
    stream._response.close()  # noqa: SLF001 - or the SDK's own descriptor is left to the garbage collector
    return connection


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


def remove_helpers(client: APIClient, scheme: str, volume: VolumeName | None) -> None:
    """See `Engine.remove_helpers`. The name is looked at, too: an image can give its containers any label."""
    filters = {"label": [f"{HELPER_LABEL}={scheme}"]} | ({"volume": [volume.value]} if volume else {})
    for summary in client.containers(all=True, filters=filters):
        if any(HELPER_NAME.fullmatch(name.removeprefix("/")) for name in summary["Names"]):
            client.remove_container(summary["Id"], v=True, force=True)
