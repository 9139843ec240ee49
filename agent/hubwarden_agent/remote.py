"""The TCP listener: mutual TLS or nothing, with certificates and client list that are renewed while it serves.

What holds here: nothing listens on TCP without a client certificate demanded, and no method answers before its caller
was admitted. A reload takes all of the new files or none: a broken one keeps what was there, and says so. Connections
and operations under way are left alone by a reload; `grpc_limits` bounds how long a connection lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hubwarden_agent import grpc_limits
from hubwarden_agent.callers import Callers, Context
from hubwarden_agent.config import ConfigurationError
from hubwarden_agent.errors import Refusal
from hubwarden_agent.messages import Received, add_service
from hubwarden_agent.server import AGENT_SERVICE, listening
from hubwarden_agent.service import AgentService, abort
from hubwarden_agent.tls import Material

RELOAD_INTERVAL = 5.0
"""Seconds between two looks at the files."""

_log = logging.getLogger(__name__)


class Keyring:
    """The material that is served with now.

    Attributes:
        current: what every handshake and every call uses.
        problem: why the files as they are cannot be used; empty when they are what is served.

    Args:
        read: reads and checks the files.

    Raises:
        ConfigurationError: the files cannot be used.
    """

    def __init__(self, read: Callable[[], Material]) -> None:
        self._read = read
        self.current = read()
        self.problem = ""

    def look(self) -> None:
        """Take over what the files say now, if it is sound."""
        try:
            material = self._read()
        except ConfigurationError as error:
            if str(error) != self.problem:
                _log.error("tls: keeping what is served, because the files cannot be used: %s", error)
            self.problem = str(error)
            return
        if material != self.current or self.problem:
            _log.info("tls: serving what the files hold", extra={"material": repr(material)})
        self.current, self.problem = material, ""

    async def follow(self, interval: float = RELOAD_INTERVAL) -> None:
        """Look, from then on, until cancelled. In a thread: a file can be on a disk that hangs."""
        while True:
            await asyncio.sleep(interval)
            await asyncio.to_thread(self.look)

    def credentials(self) -> grpc.ServerCredentials:
        """For a listener. Every handshake gets the material of its moment, so that no TLS session outlives it."""
        return grpc.dynamic_ssl_server_credentials(self._offered(), self._offered, require_client_authentication=True)

    def _offered(self) -> Any:
        material = self.current
        return grpc.ssl_server_certificate_configuration(
            [(material.key, material.certificate)], root_certificates=material.client_ca
        )


class RemoteHealth:
    """The standard health service for admitted callers only, for `messages.add_service`."""

    def __init__(self, health: health_pb2_grpc.HealthServicer, callers: Callers) -> None:
        self._health: Any = health
        self._callers = callers

    async def Check(  # noqa: N802 - the contract's name
        self, received: Received[health_pb2.HealthCheckRequest], context: Context
    ) -> health_pb2.HealthCheckResponse:
        """See the health service."""
        await self._admit(received, context)
        answer: health_pb2.HealthCheckResponse = await self._health.Check(received.message, context)
        return answer

    async def Watch(  # noqa: N802 - as above
        self, received: Received[health_pb2.HealthCheckRequest], context: Context
    ) -> None:
        """See the health service."""
        await self._admit(received, context)
        await self._health.Watch(received.message, context)

    async def _admit(self, received: Received[health_pb2.HealthCheckRequest], context: Context) -> None:
        try:
            await self._callers.admit(context, "health", "")
            received.check()
        except Refusal as refusal:
            await abort(context, refusal, "")


@dataclass(frozen=True, slots=True)
class Remote:
    """The two methods, and health, on TCP addresses (HOST:PORT)."""

    addresses: Sequence[str]
    keyring: Keyring
    service: AgentService
    health: RemoteHealth

    async def serve(self) -> grpc.aio.Server:
        """Start serving.

        Raises:
            OSError: an address cannot be listened on.
        """
        limits = grpc_limits.TCP
        server = grpc.aio.server(options=limits.options, maximum_concurrent_rpcs=limits.calls)
        add_service(server, AGENT_SERVICE, self.service)
        add_service(server, health_pb2.DESCRIPTOR.services_by_name["Health"], self.health)
        for address in self.addresses:
            with listening(address):
                server.add_secure_port(address, self.keyring.credentials())
        await server.start()
        return server
