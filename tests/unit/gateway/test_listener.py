"""The threads that serve: how many at once, what becomes of a client that is not served, and the end."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.gateway import http_request
from hubwarden_agent.gateway import listener as listening
from hubwarden_agent.gateway.deeds import Answer
from hubwarden_agent.gateway.http_request import Gone, Incoming
from hubwarden_agent.gateway.listener import Listener

PATIENCE = 30
"""Seconds for what takes none."""
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Slow:
    """Answers "done" once it may."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()

    def answer(self, incoming: Incoming) -> Answer:
        """As a handler does."""
        incoming.head()
        self.begun.release()
        assert self.may_end.wait(PATIENCE)
        return Answer(200, "done", "text/plain")


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


def listener(slow: Slow, threads: int = 2, drain_seconds: float = PATIENCE) -> Listener:
    """One that answers so."""
    return Listener(slow.answer, SystemClock(), threads, drain_seconds)


def test_a_running_request_is_finished(bound: socket.socket, slow: Slow) -> None:
    """And its answer arrives; whoever comes later finds no listener."""
    serving, path = listener(slow), bound.getsockname()
    serving.start(bound)
    asking = client(bound, REQUEST)
    assert slow.begun.acquire(timeout=PATIENCE)
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(serving.stop)
        refused = 0
        for _ in range(3000):  # until it no longer listens
            with socket.socket(socket.AF_UNIX) as late:
                refused = late.connect_ex(path)
            if refused:
                break
            time.sleep(0.01)
        assert refused == errno.ECONNREFUSED
        assert not stopping.done()
        slow.may_end.set()
        assert rest(asking).endswith(b"done")
        assert stopping.result(PATIENCE) is True
        assert serving.stop() is True  # once more changes nothing


def test_a_request_that_does_not_end_is_given_up(bound: socket.socket, slow: Slow) -> None:
    """When a request does not end in time, its connection is closed."""
    serving = listener(slow, drain_seconds=0.1)
    serving.start(bound)
    with client(bound, REQUEST):
        assert slow.begun.acquire(timeout=PATIENCE)
        assert serving.stop() is False
        assert not slow.may_end.is_set()


@pytest.mark.parametrize("sent", [b"", REQUEST[:10]])
def test_whoever_has_not_asked_by_then_is_not_waited_for(bound: socket.socket, slow: Slow, sent: bytes) -> None:
    """A connection without a request ends with the listener, and not when it would have been let go of."""
    serving = listener(slow, threads=1, drain_seconds=http_request.HEAD_SECONDS / 2)
    serving.start(bound)
    with client(bound, sent) as idle:
        until_taken(serving)
        assert serving.stop() is True
        assert idle.recv(1) == b""


def until_taken(serving: Listener) -> None:
    """Until a thread has the connection."""
    for _ in range(3000):
        if serving._connections:  # noqa: SLF001 - the state of its connections shows nowhere else
            return
        time.sleep(0.01)
    raise AssertionError("nobody took it")


def test_a_listener_that_never_started_can_be_stopped(slow: Slow) -> None:
    """When a listener was never started, stopping it does nothing."""
    assert listener(slow).stop() is True


def test_there_are_never_more_at_once_than_threads(bound: socket.socket, slow: Slow) -> None:
    """The third waits in the queue, and is served when one of the first two is done."""
    serving = listener(slow, threads=2)
    serving.start(bound)
    asking = [client(bound, REQUEST) for _ in range(3)]
    for _ in range(2):
        assert slow.begun.acquire(timeout=PATIENCE)
    assert not slow.begun.acquire(timeout=0.2)
    assert len(serving._connections) == 2  # noqa: SLF001 - the state of its connections shows nowhere else
    slow.may_end.set()
    assert all(rest(one).endswith(b"done") for one in asking)
    serving.stop()


@pytest.mark.parametrize("failure", [Gone(), OSError(errno.EIO, "x"), RuntimeError("x"), MemoryError()])
def test_whatever_happens_a_thread_serves_the_next(
    bound: socket.socket, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is closed without an answer; what nobody foresaw is in the log."""
    failures = [failure]

    def answer(incoming: Incoming) -> Answer:
        incoming.head()
        if failures:
            raise failures.pop()
        return Answer(200, "done")

    serving = Listener(answer, SystemClock(), 1, PATIENCE)
    serving.start(bound)
    assert rest(client(bound, REQUEST)) == b""
    assert rest(client(bound, REQUEST)).endswith(b"done")
    serving.stop()
    assert ("unforeseen" in caplog.text) == (not isinstance(failure, Gone | OSError))


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
    serving = listener(slow, threads=1)
    serving._stopping = Counted()  # noqa: SLF001 - the state of its connections shows nowhere else
    serving.start(Scarce(fileno=bound.detach()))
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(serving._bound.getsockname() if serving._bound else "")  # noqa: SLF001 - the state of its connections shows nowhere else
    asking.sendall(REQUEST)
    assert rest(asking).endswith(b"done")
    serving.stop()
    assert (caplog.text.count("cannot take a connection"), Counted.waits) == (3, 3)


def test_a_client_that_never_takes_its_answer(bound: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a client never reads its response, its connection is closed after the send timeout."""
    monkeypatch.setattr(listening, "SEND_SECONDS", 0.1)

    def answer(incoming: Incoming) -> Answer:
        incoming.head()
        return Answer(200, "x" * 10_000_000)

    serving = Listener(answer, SystemClock(), 1, PATIENCE)
    serving.start(bound)
    with client(bound, REQUEST):
        until_taken(serving)
        for _ in range(3000):
            if not serving._connections:  # noqa: SLF001 - the state of its connections shows nowhere else
                break
            time.sleep(0.01)
        assert not serving._connections  # noqa: SLF001 - the state of its connections shows nowhere else
    serving.stop()


def test_whoever_waits_in_the_queue_at_the_end_is_told_at_once(bound: socket.socket, slow: Slow) -> None:
    """When the listener stops, queued connections are closed before running requests end."""
    serving = listener(slow, threads=1)
    serving.start(bound)
    first, queued = client(bound, REQUEST), client(bound, REQUEST)
    assert slow.begun.acquire(timeout=PATIENCE)
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(serving.stop)
        with queued, pytest.raises(ConnectionResetError):
            queued.recv(1)
        assert not stopping.done()
        slow.may_end.set()
        assert rest(first).endswith(b"done")
        assert stopping.result(PATIENCE)


def test_no_thread_to_be_had(bound: socket.socket, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails, and those that were started end with the listener."""
    started, start = list[threading.Thread](), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    serving = listener(slow, threads=3)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="2 of 3"):
            serving.start(bound)
    assert serving.stop() is True
    assert not any(thread.is_alive() for thread in started)


def test_whatever_follows_an_answer_a_thread_serves_the_next(
    bound: socket.socket, slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when that fails in a way that nobody foresaw."""

    def fail() -> None:
        raise MemoryError

    slow.may_end.set()
    serving = Listener(slow.answer, SystemClock(), 1, PATIENCE, fail)
    serving.start(bound)
    for _ in range(3):
        assert rest(client(bound, REQUEST)).endswith(b"done")
    serving.stop()
    assert caplog.text.count("unforeseen") == 3


def test_what_follows_an_answer_follows_it_always(bound: socket.socket) -> None:
    """Also when nobody is there to take it, or it could not be made."""
    answered = list[int]()

    def answer(incoming: Incoming) -> Answer:
        if incoming.head().target == "/fail":
            raise RuntimeError
        return Answer(204)

    serving = Listener(answer, SystemClock(), 1, PATIENCE, lambda: answered.append(1))
    serving.start(bound)
    rest(client(bound, REQUEST))
    rest(client(bound, REQUEST.replace(b"/ ", b"/fail ")))
    with client(bound, b"GET"):
        until_taken(serving)
    serving.stop()
    assert len(answered) == 3
