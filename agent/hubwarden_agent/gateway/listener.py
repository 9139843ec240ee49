"""The gateway's socket: who connects, how many at once, and how long a request may take to arrive.

What holds here: an open connection costs a descriptor that the RPCs need too, so their number is bounded, and one that
has not sent a whole request header in time is closed. aiohttp bounds sizes (`SERVER_OPTIONS`), the time between two
requests, and at the end how long running requests may take; this file adds what it has no option for.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""What answers a request. There is no router, so nothing is answered by aiohttp but what is no HTTP."""

MAX_CONNECTIONS = 256
"""DockerSpawner has one worker thread, and so one connection."""

HEADER_SECONDS = 10.0
"""From a connection, or the first byte of a request, to the end of its header."""


class _Brief(logging.Filter):
    """What is no HTTP never reaches us, and aiohttp would log it in full: here it is one short line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        error = record.exc_info[1] if record.exc_info else None
        record.msg, record.args, record.exc_info = "aiohttp: %s", (type(error).__name__,), None
        return True


_log = logging.getLogger(__name__)
_log.addFilter(_Brief())

SERVER_OPTIONS: dict[str, Any] = {
    "access_log": None,
    "auto_decompress": False,
    "keepalive_timeout": 75.0,
    "logger": _log,
    "lingering_time": 2.0,
    "max_field_size": 8190,  # docker-py sends a registry's credentials in a header; nobody reads it
    "max_headers": 64,
    "max_line_size": 4096,
}
"""Bounds on what aiohttp reads before anything of ours does."""


class Listener:
    """Serves on a socket that is bound already.

    Args:
        handler: the gateway's.
        drain_seconds: how long running requests may take once it is stopped.
    """

    def __init__(self, handler: Handler, drain_seconds: float) -> None:
        self._factory = web.Server(handler, **SERVER_OPTIONS)
        self._runner = web.ServerRunner(self._factory, shutdown_timeout=drain_seconds)
        self._connections: set[Guard] = set()
        self._server: asyncio.Server | None = None

    async def start(self, bound: socket.socket) -> None:
        """Begin to listen."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Guard(self._factory, self._connections), sock=bound)

    async def stop(self) -> None:
        """Take no more connections, finish what runs, close the rest."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()


class Guard(asyncio.Protocol):
    """One connection: aiohttp's own protocol, and a deadline before every request."""

    def __init__(self, factory: Callable[[], asyncio.Protocol], connections: set[Guard]) -> None:
        self._inner = factory()
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._serving = False

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Its header has arrived; no deadline of ours while it is answered."""
        self._disarm()
        self._serving = True
        try:
            yield
        finally:
            self._serving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._transport.abort()
            return
        self._connections.add(self)
        self._inner.connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self in self._connections:
            self._arm()
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""
        return self._inner.eof_received() if self in self._connections else None

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._disarm()
        if self in self._connections:
            self._connections.discard(self)
            self._inner.connection_lost(exc)

    def _arm(self) -> None:
        if self._deadline is None and not self._serving and self._transport is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(HEADER_SECONDS, self._transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


@contextmanager
def header_arrived(request: web.BaseRequest) -> Iterator[None]:
    """For the body, the request's connection is being served."""
    guard = request.transport.get_protocol() if request.transport is not None else None
    if isinstance(guard, Guard):
        with guard.serving():
            yield
    else:
        yield
