"""Listeners: unix sockets, the gRPC servers on them, and the health service.

Invariants:
- A socket is never open wider than the policy says, not even for a moment.
- Health says SERVING only while Docker answers. It has a private socket, a thread and an executor of its own.

Must not: decide about requests.
"""

from __future__ import annotations

import grp
import logging
import os
import socket
import stat
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hubwarden.v1 import agent_pb2

from hubwarden_agent import grpc_limits
from hubwarden_agent.addresses import TCP
from hubwarden_agent.config import HEALTH_SOCKET
from hubwarden_agent.engine.port import Engine, EngineError
from hubwarden_agent.grpc_limits import ListenerLimits
from hubwarden_agent.messages import add_service
from hubwarden_agent.service import AgentService

HEALTH_INTERVAL = 5.0
"""Seconds between two checks of Docker."""
AGENT_SERVICE = agent_pb2.DESCRIPTOR.services_by_name["DockerAgentService"]
SERVICE = AGENT_SERVICE.full_name

_log = logging.getLogger(__name__)


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
    """A socket for a listener.

    Args:
        address: `unix:///path`, or `HOST:PORT` with or without `tcp://`.
        mode: of a unix socket.
        group: of a unix socket.

    Raises:
        OSError: as `socket_place`, or the address cannot be had.
    """
    if not address.startswith("unix://"):
        host, _, port = address.removeprefix(TCP).rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        return socket.create_server((host.strip("[]"), int(port)), family=family)
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


def limited_server(limits: ListenerLimits, name: str) -> grpc.Server:
    """A server with a thread for each call that the limits allow at once."""
    workers = ThreadPoolExecutor(limits.calls, name)
    return grpc.server(workers, options=limits.options, maximum_concurrent_rpcs=limits.calls)


def agent_server(service: AgentService, limits: ListenerLimits) -> grpc.Server:
    """A server of the two methods and of nothing else, with threads of its own: other listeners are not affected."""
    server = limited_server(limits, "grpc")
    add_service(server, AGENT_SERVICE, service)
    return server


def serve_unix(service: AgentService, addresses: Sequence[str], mode: int, group: int | None) -> grpc.Server:
    """Serve on unix sockets.

    Raises:
        OSError: a socket cannot be made.
    """
    server = agent_server(service, grpc_limits.UNIX)
    for address in addresses:
        with listening(address), socket_place(Path(address.removeprefix("unix://")), mode, group):
            server.add_insecure_port(address)
    server.start()
    return server


@contextmanager
def listening(address: str) -> Iterator[None]:
    """For the body, which has gRPC listen.

    Raises:
        OSError: gRPC cannot; it raises a RuntimeError then.
    """
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}") from error


class Health:
    """The standard health service on a private socket, following whether Docker answers.

    Attributes:
        servicer: the service, for the TLS listener.
    """

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._socket = directory / HEALTH_SOCKET
        self.servicer = health.HealthServicer()
        self._server = limited_server(grpc_limits.HEALTH, "health")
        self._docker_answers: bool | None = None

    def start(self) -> None:
        """Serve. Says NOT_SERVING until `run` has seen Docker answer.

        Raises:
            OSError: the socket cannot be made.
        """
        health_pb2_grpc.add_HealthServicer_to_server(self.servicer, self._server)
        self._set(health_pb2.HealthCheckResponse.NOT_SERVING)
        with listening(str(self._socket)), socket_place(self._socket, 0o600, None):
            self._server.add_insecure_port(f"unix://{self._socket}")
        self._server.start()

    def run(self, stopping: threading.Event) -> None:
        """Check Docker, now and from then on, until `stopping`."""
        while not stopping.is_set():
            self.check()
            stopping.wait(HEALTH_INTERVAL)

    def set_not_serving(self) -> None:
        """Say NOT_SERVING from here on."""
        self.servicer.enter_graceful_shutdown()

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop(None)

    def check(self) -> None:
        """Ask Docker once, and set the status."""
        answers = True
        try:
            self._engine.ping()
        except EngineError as error:
            answers = False
            if self._docker_answers is not False:
                _log.warning("Docker does not answer", extra={"cause": str(error)})
        except Exception:  # noqa: BLE001 - an agent that no longer checks must not say SERVING
            answers = False
            _log.exception("checking Docker failed unexpectedly")
        if answers and self._docker_answers is False:
            _log.info("Docker answers again")
        self._docker_answers = answers
        serving = health_pb2.HealthCheckResponse.SERVING
        self._set(serving if answers else health_pb2.HealthCheckResponse.NOT_SERVING)

    def _set(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", SERVICE):
            self.servicer.set(service, status)
