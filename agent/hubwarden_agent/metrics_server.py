"""`GET /metrics` for Prometheus, on a socket of its own, by Prometheus' own request handler.

Invariants: off unless `listen.metrics` says where, and never on an address that the operator did not name.
"""

from __future__ import annotations

import socket
import threading
from socketserver import TCPServer, ThreadingMixIn

from prometheus_client import CollectorRegistry, MetricsHandler

from hubwarden_agent.listeners import bound_socket

CLIENT_SECONDS = 2
"""For which a client may be silent. Prometheus sends its request at once, and by default waits 10 s for the answer."""


class _Server(ThreadingMixIn, TCPServer):
    """On a socket that is bound already."""

    daemon_threads = True

    def __init__(self, bound: socket.socket, registry: CollectorRegistry) -> None:
        handler = type("Handler", (MetricsHandler,), {"registry": registry, "timeout": CLIENT_SECONDS})
        super().__init__(("", 0), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.server_activate()


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
    server = _Server(_bound(address, mode, group), registry)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def _bound(address: str, mode: int, group: int | None) -> socket.socket:
    if address.startswith("unix://"):
        return bound_socket(address, mode, group)
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family)
