"""A listening socket and the fixed pool of threads that serves it.

Invariants:
- A worker accepts a connection, answers the one request on it, and accepts the next. When all workers are busy,
  connections wait in the listen backlog. So there are never more connections open than workers.
- A handshake counts as part of the request's head, and has the same deadline.
- A client that leaves cancels nothing: what has begun is finished and recorded.
"""

from __future__ import annotations

import datetime as dt
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from email.utils import format_datetime
from http import HTTPStatus

from hubwarden_agent.clock import Clock
from hubwarden_agent.gateway import request_reader
from hubwarden_agent.gateway.request_context import Response
from hubwarden_agent.gateway.request_reader import ClientDisconnected, RequestReader
from hubwarden_agent.gateway.transports import Transport

Handler = Callable[[RequestReader], Response]
"""Answers a request. It may raise `ClientDisconnected`; anything else that it raises is logged and answers nobody."""

SEND_SECONDS = 10.0
"""How long a client may take to read its response."""
NO_TIME = 0.001
BACKLOG = 1024
"""Connections that wait for a worker. The kernel refuses more."""
RETRY_SECONDS = 1.0
"""Between two tries to accept a connection when there is no file descriptor."""

_log = logging.getLogger(__name__)


class Listener:
    """Serves a socket that is bound already.

    Args:
        handler: answers each request.
        clock: dates responses, and times clients.
        workers: connections served at once.
        transport: what the connections are.
    """

    def __init__(self, handler: Handler, clock: Clock, workers: int, transport: Transport) -> None:
        self._handler = handler
        self._transport = transport
        self._clock = clock
        self._number = workers
        self._socket: socket.socket | None = None
        self._workers: list[threading.Thread] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self, bound: socket.socket) -> None:
        """Begin to listen.

        Raises:
            OSError: the socket cannot listen.
            RuntimeError: there are not that many threads.
        """
        self._socket = bound
        bound.listen(BACKLOG)
        for number in range(self._number):
            worker = threading.Thread(target=self._serve, args=(bound,), name=f"http-{number}", daemon=True)
            worker.start()
            self._workers.append(worker)

    def stop(self, seconds: float) -> bool:
        """Accept no more connections, finish what runs, and disconnect clients that sent no request yet. Blocks.

        Args:
            seconds: how long running requests may take.

        Returns:
            whether all of them ended.
        """
        if self._socket is None:
            return True
        give_up_at = self._clock.monotonic() + seconds
        self._stopping.set()
        with suppress(OSError):  # it is stopped already
            self._socket.shutdown(socket.SHUT_RDWR)  # ends each accept
        with self._lock:
            for connection in self._connections:
                _shutdown(connection, socket.SHUT_RD)
        self._socket.close()  # connections that wait for a worker are reset now
        for worker in self._workers:
            worker.join(max(0.0, give_up_at - self._clock.monotonic()))
        return not any(worker.is_alive() for worker in self._workers)

    def _serve(self, bound: socket.socket) -> None:
        """What each worker does."""
        while not self._stopping.is_set():
            try:
                connection, _ = bound.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    _log.error("cannot accept a connection: %s", error)
                    self._stopping.wait(RETRY_SECONDS)
                continue
            try:
                with connection, self._transport.secure(connection) as secured:
                    self._answer(secured)
            except OSError:
                pass  # the client is gone, or speaks no TLS
            except Exception:  # noqa: BLE001 - a worker that ends serves nobody any more
                _log.exception("a connection failed unexpectedly")

    def _answer(self, connection: socket.socket) -> None:
        """Serve one connection, however it ends."""
        with self._lock:
            self._connections.add(connection)
            if self._stopping.is_set():
                _shutdown(connection, socket.SHUT_RD)
        reader = RequestReader(connection, self._clock)
        try:
            connection.settimeout(request_reader.HEAD_SECONDS)
            reader.peer = self._transport.peer(connection)
            response = serialize(self._handler(reader), self._clock.now(), without_text=reader.method == "HEAD")
            self._send(connection, response)
            if reader.body_pending:
                _shutdown(connection, socket.SHUT_WR)
                reader.drain()
        except (ClientDisconnected, OSError):
            pass  # there is nobody to answer
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _send(self, connection: socket.socket, response: bytes) -> None:
        """Send all of it. Over TLS, `sendall` would give each 16 KiB the whole time. Raises OSError: not in time."""
        until, rest = self._clock.monotonic() + SEND_SECONDS, memoryview(response)
        while rest:
            connection.settimeout(max(NO_TIME, until - self._clock.monotonic()))
            rest = rest[connection.send(rest) :]


def serialize(response: Response, date: dt.datetime, *, without_text: bool = False) -> bytes:
    """A response as HTTP. Its headers are the agent's own: no text of a client is in them.

    Args:
        response: what to send.
        date: in UTC.
        without_text: as for a HEAD request.
    """
    text = response.text.encode()
    headers = {"Server": "hubwarden", "Date": format_datetime(date, usegmt=True), "Connection": "close"}
    if response.status != HTTPStatus.NO_CONTENT:
        headers |= {"Content-Type": response.content_type, "Content-Length": str(len(text))}
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += (f"{name}: {value}" for name, value in (headers | dict(response.headers)).items())
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if without_text else text)


def _shutdown(connection: socket.socket, how: int) -> None:
    """End one direction of a connection. After SHUT_RD, a worker that reads gets its end, and can still respond."""
    with suppress(OSError):
        # The plain one: that of an `SSLSocket` forgets the TLS session, and what is sent then is not encrypted.
        socket.socket.shutdown(connection, how)
