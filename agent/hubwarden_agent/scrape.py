"""Where Prometheus looks: `GET /metrics` on a socket of its own.

What holds here: it only ever reads. It is off unless `listen.metrics` says where, and never on an address that the
operator did not name.
"""

from __future__ import annotations

import socket

from aiohttp import web

from hubwarden_agent.gateway.listener import Listener
from hubwarden_agent.measuring import Measuring
from hubwarden_agent.server import bound_socket

DRAIN_SECONDS = 1.0
_HEADERS = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8", "Server": "hubwarden"}


async def serve_metrics(metrics: Measuring, address: str, mode: int, group: int | None) -> Listener:
    """Begin to serve.

    Args:
        metrics: what is shown.
        address: `unix:///path` or `ADDRESS:PORT`.
        mode: of a unix socket.
        group: of a unix socket.

    Raises:
        OSError: the socket cannot be made.
    """

    async def show(request: web.BaseRequest) -> web.Response:
        if (request.method, request.path) != ("GET", "/metrics"):
            return web.Response(status=404)
        return web.Response(body=metrics.text(), headers=_HEADERS)

    listener = Listener(show, DRAIN_SECONDS)
    await listener.start(_bound(address, mode, group))
    return listener


def _bound(address: str, mode: int, group: int | None) -> socket.socket:
    if address.startswith("unix://"):
        return bound_socket(address, mode, group)
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family)
