"""The TCP listener: mutual TLS, with certificates and a list of clients that are reloaded while it serves.

Invariants:
- Nothing listens on TCP without demanding a client certificate, and no method answers a caller that is not authorized.
- Reload is atomic: invalid files leave the old credentials active and log an error. The lists of clients do not wait
  for the files: they are taken over whenever `[tls]` can be read.
- A reload leaves connections and operations under way alone; `grpc_limits` bounds how long a connection lives.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hubwarden_agent import grpc_limits
from hubwarden_agent.authorization import Authorizer
from hubwarden_agent.config import ConfigurationError, Tls
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.listeners import agent_server, listening
from hubwarden_agent.messages import Received, add_service
from hubwarden_agent.service import AgentService, abort
from hubwarden_agent.tls import TlsMaterial

RELOAD_INTERVAL = 5.0
"""Seconds between two looks at the files."""

HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"]

_log = logging.getLogger(__name__)


class CertificateStore:
    """The material that is served with now.

    Attributes:
        current: what every handshake and every call uses.
        last_error: why the files as they are cannot be used; empty when they are what is served.

    Args:
        read_settings: reads `[tls]`.
        read_files: reads and checks the files that it names.

    Raises:
        ConfigurationError: the files cannot be used.
    """

    def __init__(self, read_settings: Callable[[], Tls], read_files: Callable[[Tls], TlsMaterial]) -> None:
        self._read_settings = read_settings
        self._read_files = read_files
        self.current = read_files(read_settings())
        self.last_error = ""

    def reload(self) -> None:
        """Use the lists of clients as they are now, and then what the files hold, if it is sound. Raises nothing."""
        try:
            settings = self._read_settings()
            self._list(settings)
            material = self._read_files(settings)
        except Exception as error:  # noqa: BLE001 - the thread that reloads must go on, or nobody is revoked any more
            if str(error) != self.last_error:
                foreseen = isinstance(error, ConfigurationError)
                _log.error("tls: keeping what is served: %s", error, exc_info=not foreseen)
            self.last_error = str(error) or type(error).__name__
            return
        if material != self.current or self.last_error:
            _log.info("tls: serving what the files hold", extra={"material": repr(material)})
        self.current, self.last_error = material, ""

    def _list(self, settings: Tls) -> None:
        clients, gateway_clients = frozenset(settings.clients), frozenset(settings.gateway_clients)
        listed = replace(self.current, clients=clients, gateway_clients=gateway_clients)
        if listed != self.current:
            _log.info("tls: the lists of clients have changed", extra={"material": repr(listed)})
            self.current = listed

    def run(self, stopping: threading.Event) -> None:
        """Reload, from then on, until `stopping`."""
        while not stopping.wait(RELOAD_INTERVAL):
            self.reload()

    def credentials(self) -> grpc.ServerCredentials:
        """For a listener. Every handshake gets the material of its moment, so that no TLS session outlives it."""
        return grpc.dynamic_ssl_server_credentials(self._offered(), self._offered, require_client_authentication=True)

    def _offered(self) -> Any:
        material = self.current
        return grpc.ssl_server_certificate_configuration(
            [(material.key, material.certificate)], root_certificates=material.client_ca
        )


class AuthorizedHealth:
    """The standard health service's `Check` for authorized callers, for `messages.add_service`."""

    def __init__(self, health: health_pb2_grpc.HealthServicer, authorizer: Authorizer) -> None:
        self._health: Any = health
        self._authorizer = authorizer

    def Check(  # noqa: N802 - the contract's name
        self, received: Received[health_pb2.HealthCheckRequest], context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """See the health service."""
        try:
            self._authorizer.authorize(context, "health", "")
            received.check()
        except RequestRefused as refusal:
            abort(context, refusal, "")
        response: health_pb2.HealthCheckResponse = self._health.Check(received.message, context)
        return response


@dataclass(frozen=True, slots=True)
class TlsListener:
    """The two methods, and health, on TCP addresses (HOST:PORT)."""

    addresses: Sequence[str]
    certificates: CertificateStore
    service: AgentService
    health: AuthorizedHealth

    def serve(self) -> grpc.Server:
        """Start serving.

        Raises:
            OSError: an address cannot be listened on.
        """
        server = agent_server(self.service, grpc_limits.TCP)
        add_service(server, HEALTH_SERVICE, self.health)
        for address in self.addresses:
            with listening(address):
                server.add_secure_port(address, self.certificates.credentials())
        server.start()
        return server
