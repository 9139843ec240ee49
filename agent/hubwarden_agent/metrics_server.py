"""`GET /metrics` for Prometheus, on a socket of its own, by Prometheus' own request handler.

Invariants: off unless `listen.metrics` says where, and never on an address that the operator did not name.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler

from hubwarden_agent.listeners import bound_socket

SCRAPES = 8
"""At once; a further connection waits. Each has a thread, and another one that ends it."""
CLIENT_SECONDS = 5.0
"""A connection's whole time. Prometheus sends its request at once, and by default waits 10 s for the answer."""

_log = logging.getLogger(__name__)


class _Server(ThreadingMixIn, TCPServer):
    """On a socket that is bound already."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, bound: socket.socket, registry: CollectorRegistry) -> None:
        super().__init__(("", 0), MetricsHandler.factory(registry), bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.server_activate()
        self._slots = threading.BoundedSemaphore(SCRAPES)

    def process_request(self, request: Any, client_address: Any) -> None:
        """See `ThreadingMixIn`."""
        self._slots.acquire()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # there is no thread for it
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See `ThreadingMixIn`."""
        end = threading.Timer(CLIENT_SECONDS, _disconnect, (request,))
        end.daemon = True
        try:
            end.start()
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the library calls it
        """See `TCPServer`."""
        _log.info("a scrape failed", exc_info=True)


def _disconnect(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def serve_metrics(registry: CollectorRegistry, address: str, mode: int, group: int | None) -> _Server:
    """Begin to serve; `shutdown` ends it.

    Args:
        registry: what is shown.
        address: `unix:///path` or `ADDRESS:PORT`.
        mode: of a unix socket.
        group: of a unix socket.

    Raises:
        OSError: the socket cannot be made.
    """
    server = _Server(bound_socket(address, mode, group), registry)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
