"""The threads that serve: how many at once, what becomes of a client that is not served, and the end."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.gateway import listener as listening
from hubwarden_agent.gateway import request_reader
from hubwarden_agent.gateway.listener import Listener
from hubwarden_agent.gateway.request_context import Response
from hubwarden_agent.gateway.request_reader import ClientDisconnected, RequestReader
from hubwarden_agent.gateway.transports import UnixTransport
from support.waiting.conditions import wait_for

PATIENCE = 30
"""Seconds for what takes none."""
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Slow:
    """Answers "done" once it may."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()

    def answer(self, reader: RequestReader) -> Response:
        """As a handler does."""
        reader.head()
        self.begun.release()
        assert self.may_end.wait(PATIENCE)
        return Response(200, "done", "text/plain")


@pytest.fixture
def slow() -> Iterator[Slow]:
    """It, which ends with the test."""
    slow = Slow()
    yield slow
    slow.may_end.set()


@pytest.fixture
def bound(tmp_path: Path) -> socket.socket:
    """A socket on a path of its own."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(tmp_path / "docker.sock"))
    return made


def client(bound: socket.socket, data: bytes = b"") -> socket.socket:
    """A connection on which that was sent."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(bound.getsockname())
    connection.sendall(data)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Everything until the end."""
    with connection, connection.makefile("rb") as stream:
        return stream.read()


def listener(slow: Slow, workers: int = 2) -> Listener:
    """One that answers so."""
    return Listener(slow.answer, SystemClock(), workers, UnixTransport())


def test_a_running_request_is_finished(bound: socket.socket, slow: Slow) -> None:
    """When the listener stops, a running request is answered and new connections are refused."""
    serving, path = listener(slow), bound.getsockname()
    serving.start(bound)
    asking = client(bound, REQUEST)
    assert slow.begun.acquire(timeout=PATIENCE)
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(serving.stop, PATIENCE)
        assert wait_for(lambda: refused(path), "the listener closes", PATIENCE) == errno.ECONNREFUSED
        assert not stopping.done()
        slow.may_end.set()
        assert rest(asking).endswith(b"done")
        assert stopping.result(PATIENCE) is True
        assert serving.stop(PATIENCE) is True  # once more changes nothing


def test_a_request_that_does_not_end_is_given_up(bound: socket.socket, slow: Slow) -> None:
    """When a request does not end in time, its connection is closed."""
    serving = listener(slow)
    serving.start(bound)
    with client(bound, REQUEST):
        assert slow.begun.acquire(timeout=PATIENCE)
        assert serving.stop(0.1) is False
        assert not slow.may_end.is_set()


@pytest.mark.parametrize("sent", [b"", REQUEST[:10]])
def test_a_connection_without_a_request_does_not_delay_the_stop(bound: socket.socket, slow: Slow, sent: bytes) -> None:
    """A connection without a request ends with the listener, and not when it would have been let go of."""
    serving = listener(slow, workers=1)
    serving.start(bound)
    with client(bound, sent) as idle:
        wait_until_accepted(serving)
        assert serving.stop(request_reader.HEAD_SECONDS / 2) is True
        assert idle.recv(1) == b""


def refused(path: str) -> int:
    """The error of a new connection; 0 if there is none."""
    with socket.socket(socket.AF_UNIX) as late:
        return late.connect_ex(path)


def wait_until_accepted(serving: Listener) -> None:
    """Return once a worker has the connection."""
    wait_for(lambda: serving._connections, "a worker accepts", PATIENCE)  # noqa: SLF001 - shows nowhere else


def test_a_listener_that_never_started_can_be_stopped(slow: Slow) -> None:
    """When a listener was never started, stopping it does nothing."""
    assert listener(slow).stop(0) is True


def test_there_are_never_more_at_once_than_threads(bound: socket.socket, slow: Slow) -> None:
    """The third waits in the queue, and is served when one of the first two is done."""
    serving = listener(slow, workers=2)
    serving.start(bound)
    asking = [client(bound, REQUEST) for _ in range(3)]
    for _ in range(2):
        assert slow.begun.acquire(timeout=PATIENCE)
    assert not slow.begun.acquire(timeout=0.2)
    assert len(serving._connections) == 2  # noqa: SLF001 - the state of its connections shows nowhere else
    slow.may_end.set()
    assert all(rest(one).endswith(b"done") for one in asking)
    serving.stop(PATIENCE)


@pytest.mark.parametrize("failure", [ClientDisconnected(), OSError(errno.EIO, "x"), RuntimeError("x"), MemoryError()])
def test_whatever_happens_a_thread_serves_the_next(
    bound: socket.socket, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is closed without an answer; what nobody foresaw is in the log."""
    failures = [failure]

    def answer(reader: RequestReader) -> Response:
        reader.head()
        if failures:
            raise failures.pop()
        return Response(200, "done")

    serving = Listener(answer, SystemClock(), 1, UnixTransport())
    serving.start(bound)
    assert rest(client(bound, REQUEST)) == b""
    assert rest(client(bound, REQUEST)).endswith(b"done")
    serving.stop(PATIENCE)
    assert ("unexpectedly" in caplog.text) == (not isinstance(failure, ClientDisconnected | OSError))


def test_no_descriptor_to_be_had(
    bound: socket.socket, slow: Slow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, tried again after a while, and does not take the processor meanwhile."""
    monkeypatch.setattr(listening, "RETRY_SECONDS", 0.05)

    class Scarce(socket.socket):
        tries = 0

        def accept(self) -> tuple[socket.socket, object]:
            Scarce.tries += 1
            if Scarce.tries <= 3:
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    class Counted(threading.Event):
        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            Counted.waits += timeout == listening.RETRY_SECONDS
            return super().wait(timeout)

    slow.may_end.set()
    serving = listener(slow, workers=1)
    serving._stopping = Counted()  # noqa: SLF001 - the state of its connections shows nowhere else
    serving.start(Scarce(fileno=bound.detach()))
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(serving._socket.getsockname() if serving._socket else "")  # noqa: SLF001 - the state of its connections shows nowhere else
    asking.sendall(REQUEST)
    assert rest(asking).endswith(b"done")
    serving.stop(PATIENCE)
    assert (caplog.text.count("cannot accept a connection"), Counted.waits) == (3, 3)


def test_a_client_that_never_takes_its_answer(bound: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a client never reads its response, its connection is closed after the send timeout."""
    monkeypatch.setattr(listening, "SEND_SECONDS", 0.1)

    def answer(reader: RequestReader) -> Response:
        reader.head()
        return Response(200, "x" * 10_000_000)

    serving = Listener(answer, SystemClock(), 1, UnixTransport())
    serving.start(bound)
    with client(bound, REQUEST):
        wait_until_accepted(serving)
        wait_for(lambda: not serving._connections, "the worker gives up", PATIENCE)  # noqa: SLF001 - shows nowhere else
    serving.stop(PATIENCE)


def test_queued_connections_are_closed_at_once_by_a_stop(bound: socket.socket, slow: Slow) -> None:
    """When the listener stops, queued connections are closed before running requests end."""
    serving = listener(slow, workers=1)
    serving.start(bound)
    first, queued = client(bound, REQUEST), client(bound, REQUEST)
    assert slow.begun.acquire(timeout=PATIENCE)
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(serving.stop, PATIENCE)
        with queued, pytest.raises(ConnectionResetError):
            queued.recv(1)
        assert not stopping.done()
        slow.may_end.set()
        assert rest(first).endswith(b"done")
        assert stopping.result(PATIENCE)
