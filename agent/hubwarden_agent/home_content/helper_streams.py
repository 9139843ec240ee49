"""A helper container's input and output over the connection that Docker attached to it.

Invariants: bytes are passed on as they come, so memory is constant and a slow consumer slows the helper down. An output
that ends within one of Docker's frames is an error, never an end.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from hubwarden_agent.engine.port import EngineError, EngineUnavailable

CHUNK_BYTES = 256 * 1024
STDERR_BYTES = 4096
"""The end of what tar says, where it says how it went. For the log only: it names the user's files."""
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
