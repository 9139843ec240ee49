"""Where Prometheus looks: `GET /metrics` on a socket of its own.

What holds here: it only ever reads. It is off unless `listen.metrics` says where, and never on an address that the
operator did not name.
"""

from __future__ import annotations

import socket

from hubwarden_agent.clock import Clock
from hubwarden_agent.gateway.deeds import Answer
from hubwarden_agent.gateway.http_request import Incoming
from hubwarden_agent.gateway.listener import Listener
from hubwarden_agent.gateway.refusals import GatewayRefusal
from hubwarden_agent.measuring import Measuring
from hubwarden_agent.server import bound_socket

DRAIN_SECONDS = 1.0
THREADS = 4
HEAD_SECONDS = 2.0
"""Prometheus sends its request at once, and by default waits ten seconds for the answer."""
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def serve_metrics(metrics: Measuring, clock: Clock, address: str, mode: int, group: int | None) -> Listener:
    """Begin to serve.

    Args:
        metrics: what is shown.
        clock: dates answers, and times clients.
        address: `unix:///path` or `ADDRESS:PORT`.
        mode: of a unix socket.
        group: of a unix socket.

    Raises:
        OSError: the socket cannot be made.
    """

    def show(incoming: Incoming) -> Answer:
        try:
            head = incoming.head(HEAD_SECONDS)
        except GatewayRefusal as refusal:
            return Answer(refusal.status, content_type=_CONTENT_TYPE)
        if (head.method, head.target.partition("?")[0]) != ("GET", "/metrics"):
            return Answer(404, content_type=_CONTENT_TYPE)
        return Answer(200, metrics.text().decode(), _CONTENT_TYPE)

    listener = Listener(show, clock, THREADS, DRAIN_SECONDS)
    listener.start(_bound(address, mode, group))
    return listener


def _bound(address: str, mode: int, group: int | None) -> socket.socket:
    if address.startswith("unix://"):
        return bound_socket(address, mode, group)
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family)
