"""Listeners: the service and the gateway on their sockets, health on one of its own, and an end that loses nothing.

What holds here: a socket is never open wider than the policy says, not even for a moment, and nobody but this process
serves it while the state directory is locked. Health is served on a private socket in the state directory (and by
`remote` over TLS), and says SERVING only while Docker answers. This file decides nothing about requests.
"""

from __future__ import annotations

import asyncio
import fcntl
import grp
import logging
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hubwarden.v1 import agent_pb2

from hubwarden_agent import grpc_limits
from hubwarden_agent.config import HEALTH_SOCKET
from hubwarden_agent.engine.port import Engine, EngineError
from hubwarden_agent.messages import add_service
from hubwarden_agent.service import AgentService

HEALTH_INTERVAL = 5.0
"""Seconds between two looks at Docker."""
AGENT_SERVICE = agent_pb2.DESCRIPTOR.services_by_name["DockerAgentService"]
SERVICE = AGENT_SERVICE.full_name

_log = logging.getLogger(__name__)


class AlreadyRunning(Exception):  # noqa: N818 - that is what it says
    """Another process holds the state directory."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the state directory for the body.

    Raises:
        AlreadyRunning: another process holds it.
        OSError: it is not there, or not ours to write.
    """
    with (directory / "lock").open("w") as file:
        _lock(file, directory)
        yield


def _lock(file: IO[str], directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AlreadyRunning(f"another agent or tool is using {directory}") from error


@contextmanager
def socket_place(path: Path, mode: int, group: int | None) -> Iterator[None]:
    """Clear the way for a socket that the body binds, and give it its mode and group afterwards.

    What a killed agent left behind is removed; a socket that somebody serves (another agent, or Docker itself), and
    anything that is not a socket, is left alone. Until the mode is set, nobody but our own user can connect.

    Raises:
        OSError: something else is there, or the group is not ours to give.
    """
    if os.path.lexists(path):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} is there and is not a socket")
        if _served(path):
            raise FileExistsError(f"{path} is there and somebody serves it")
        path.unlink()
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(mode)


def _served(path: Path) -> bool:
    """Whether anybody listens on a socket; what is left of a killed process refuses at once."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # a full backlog has a listener
            return True
    return True


def bound_socket(address: str, mode: int, group: int | None) -> socket.socket:
    """A unix socket that nobody listens on yet, with its mode and group.

    Raises:
        OSError: as `socket_place`.
    """
    path = Path(address.removeprefix("unix://"))
    bound = socket.socket(socket.AF_UNIX)
    with socket_place(path, mode, group):
        bound.bind(str(path))
    return bound


def group_id(name: str) -> int | None:
    """A group's number, from its name or number; None for the process's own.

    Raises:
        KeyError: there is no group of that name.
    """
    if not name:
        return None
    return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid


async def serve_agent(service: AgentService, addresses: Sequence[str], mode: int, group: int | None) -> grpc.aio.Server:
    """Start serving the two methods, and nothing else.

    Raises:
        OSError: a socket cannot be made.
    """
    limits = grpc_limits.UNIX
    server = grpc.aio.server(options=limits.options, maximum_concurrent_rpcs=limits.calls)
    add_service(server, AGENT_SERVICE, service)
    for address in addresses:
        with listening(address), socket_place(Path(address.removeprefix("unix://")), mode, group):
            server.add_insecure_port(address)
    await server.start()
    return server


@contextmanager
def listening(address: str) -> Iterator[None]:
    """For the body, which has gRPC listen.

    Raises:
        OSError: gRPC cannot, and says so with a RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}") from error


class Health:
    """The standard health service on a private socket, following whether Docker answers.

    Attributes:
        servicer: the service, for whoever else serves it.
    """

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._socket = directory / HEALTH_SOCKET
        self.servicer = health.aio.HealthServicer()  # type: ignore[attr-defined] # the stubs leave it out
        limits = grpc_limits.HEALTH
        self._server = grpc.aio.server(options=limits.options, maximum_concurrent_rpcs=limits.calls)
        self._docker_answers: bool | None = None

    async def start(self) -> None:
        """Serve. Says NOT_SERVING until `follow` has seen Docker answer."""
        health_pb2_grpc.add_HealthServicer_to_server(self.servicer, self._server)
        await self._set(health_pb2.HealthCheckResponse.NOT_SERVING)
        with listening(str(self._socket)), socket_place(self._socket, 0o600, None):
            self._server.add_insecure_port(f"unix://{self._socket}")
        await self._server.start()

    async def follow(self) -> None:
        """Look at Docker, now and from then on, until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(HEALTH_INTERVAL)

    async def leave(self) -> None:
        """Say NOT_SERVING from here on."""
        await self.servicer.enter_graceful_shutdown()

    async def stop(self) -> None:
        """Stop serving."""
        await self._server.stop(None)

    async def _look(self) -> None:
        answers = True
        try:
            await self._engine.ping()
        except EngineError as error:
            answers = False
            if self._docker_answers is not False:
                _log.warning("Docker does not answer", extra={"cause": str(error)})
        except Exception:  # noqa: BLE001 - whatever it is, an agent that stopped looking must not say SERVING
            answers = False
            _log.exception("looking at Docker failed unforeseen")
        if answers and self._docker_answers is False:
            _log.info("Docker answers again")
        self._docker_answers = answers
        serving = health_pb2.HealthCheckResponse.SERVING
        await self._set(serving if answers else health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _set(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", SERVICE):
            await self.servicer.set(service, status)
