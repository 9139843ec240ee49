"""A socket and the threads that serve it: who is served at once, and what becomes of them at the end.

What holds here: a thread takes a connection, answers the one request on it, and takes the next; whoever comes when all
are busy waits in the socket's queue. So there are never more connections than threads, and descriptors stay for the
RPCs. A client that goes away cancels nothing: what has begun is finished and recorded.
"""

from __future__ import annotations

import datetime as dt
import logging
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import format_datetime
from http import HTTPStatus

from hubwarden_agent.clock import Clock
from hubwarden_agent.gateway.deeds import Answer
from hubwarden_agent.gateway.http_request import Gone, Incoming

Handler = Callable[[Incoming], Answer]
"""Answers a request. It may raise `Gone`; whatever else it raises is logged, and nobody is answered."""

SEND_SECONDS = 10.0
"""How long a client may take to take its answer."""

QUEUE = 1024
"""Connections that wait for a thread; more than that are the kernel's to refuse."""

RETRY_SECONDS = 1.0
"""Between two tries to take a connection when there is no descriptor to be had."""

_log = logging.getLogger(__name__)


class Listener:
    """Serves on a socket that is bound already.

    Args:
        handler: the gateway's.
        clock: dates answers, and times clients.
        threads: how many connections at once.
        drain_seconds: how long running requests may take once it is stopped.
        answered: is called in the same thread once an answer is on its way.
    """

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        threads: int,
        drain_seconds: float,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        self._handler = handler
        self._clock = clock
        self._drain_seconds = drain_seconds
        self._answered = answered
        self._bound: socket.socket | None = None
        self._number = threads
        self._threads: list[threading.Thread] = []
        self._connections: set[socket.socket] = set()
        self._changing = threading.Lock()
        self._stopping = threading.Event()

    def start(self, bound: socket.socket) -> None:
        """Begin to listen.

        Each thread waits for connections in an epoll of its own, exclusively: the kernel wakes the first that is idle,
        so that the same few do nearly all the work, and do it warm. An accept that blocks would wake them in turns.

        Raises:
            OSError: the socket cannot listen, or there are not so many threads or descriptors to be had.
        """
        self._bound = bound
        bound.settimeout(0)
        bound.listen(QUEUE)
        for number in range(self._number):
            ready = select.epoll()
            ready.register(bound, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            thread = threading.Thread(target=self._serve, args=(bound, ready), name=f"http-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(f"{error}: {number} of {self._number}") from error
            self._threads.append(thread)

    def stop(self) -> bool:
        """Take no more connections, finish what runs, and let go of the rest. Blocks.

        Returns:
            whether all that ran has ended.
        """
        if self._bound is None or self._stopping.is_set():
            return not any(thread.is_alive() for thread in self._threads)
        self._stopping.set()
        self._bound.shutdown(socket.SHUT_RDWR)  # which wakes every thread that waits
        _let_go(self._bound)
        with self._changing:
            for connection in self._connections:  # whoever has not sent a request by now will not
                _shut(connection)
        give_up_at = self._clock.monotonic() + self._drain_seconds
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - self._clock.monotonic()))
        self._bound.close()
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self, bound: socket.socket, ready: select.epoll) -> None:
        """What every thread does."""
        with ready:
            while not self._stopping.is_set():
                ready.poll()
                try:
                    self._take(bound)
                except Exception:  # noqa: BLE001 - a thread that ends serves nobody any more
                    _log.exception("a connection failed unforeseen")

    def _take(self, bound: socket.socket) -> None:
        try:
            connection, _ = bound.accept()
        except BlockingIOError:  # another thread was sooner
            return
        except OSError as error:
            if not self._stopping.is_set():
                _log.error("cannot take a connection: %s", error)
                self._stopping.wait(RETRY_SECONDS)
            return
        with connection, self._kept(connection):
            self._answer(connection)

    @contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[None]:
        """Where `stop` finds it."""
        with self._changing:
            self._connections.add(connection)
            if self._stopping.is_set():
                _shut(connection)
        try:
            yield
        finally:
            with self._changing:
                self._connections.discard(connection)

    def _answer(self, connection: socket.socket) -> None:
        """Serve one connection, whatever comes of it."""
        incoming = Incoming(connection, self._clock)
        try:
            answer = encoded(self._handler(incoming), self._clock.now(), without_text=incoming.method == "HEAD")
            connection.settimeout(SEND_SECONDS)
            connection.sendall(answer)
            if incoming.unread:
                connection.shutdown(socket.SHUT_WR)
                incoming.read_out()
        except (Gone, OSError):
            pass  # there is nobody to answer
        finally:
            self._answered()


def encoded(answer: Answer, date: dt.datetime, *, without_text: bool = False) -> bytes:
    """An answer as HTTP.

    Args:
        answer: its headers are ours, and hold nothing of a client's.
        date: in UTC.
        without_text: as for a HEAD request.
    """
    text = answer.text.encode()
    headers = {"Server": "hubwarden", "Date": format_datetime(date, usegmt=True), "Connection": "close"}
    if answer.status != HTTPStatus.NO_CONTENT:
        headers |= {"Content-Type": answer.content_type, "Content-Length": str(len(text))}
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += (f"{name}: {value}" for name, value in (headers | dict(answer.headers)).items())
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if without_text else text)


def _let_go(bound: socket.socket) -> None:
    """Close whoever waits in the queue of a socket that takes no more."""
    with suppress(OSError):
        while True:
            bound.accept()[0].close()


def _shut(connection: socket.socket) -> None:
    """Whoever reads from it finds its end; an answer can still be sent."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
