"""How a client of the gateway is connected, and what is proven of it.

Invariants:
- Over TCP there is TLS 1.2 or newer with a client certificate of `tls.client_ca`, or no byte is read as HTTP.
- A client is known by a typed alternative name (`dns:` or `uri:`), never by a common name.
- Each handshake uses the files of its moment, and no TLS session is resumed by a ticket.

Must not: block without the connection's timeout.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from hubwarden_agent.authorization import MAX_CLIENT_TEXT, UNNAMED, alternative_names

if TYPE_CHECKING:
    from hubwarden_agent.tls import TlsMaterial


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is connected: `name` is for the audit, `allowed` is whether the operator lets them in."""

    name: str = ""
    allowed: bool = False


class Transport(Protocol):
    """What a listener's connections are."""

    def secure(self, connection: socket.socket) -> socket.socket:
        """The connection to read and write instead, which nothing was exchanged on. Raises OSError."""

    def peer(self, connection: socket.socket) -> Peer:
        """Who is connected, after a handshake if there is one. Raises OSError."""


class UnixTransport:
    """A unix socket: its mode has decided, and the kernel knows the uid and the primary gid that connected."""

    def secure(self, connection: socket.socket) -> socket.socket:
        """See `Transport.secure`."""
        return connection

    def peer(self, connection: socket.socket) -> Peer:
        """See `Transport.peer`."""
        _, uid, gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return Peer(f"uid={uid} gid={gid}", allowed=True)


class TlsTransport:
    """Mutual TLS. `material` is asked at each handshake, so a client that was taken off the list is refused."""

    def __init__(self, material: Callable[[], TlsMaterial]) -> None:
        self._material = material

    def secure(self, connection: socket.socket) -> socket.socket:
        """See `Transport.secure`."""
        return self._material().context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def peer(self, connection: socket.socket) -> Peer:
        """See `Transport.peer`."""
        secured = cast("ssl.SSLSocket", connection)
        secured.do_handshake()
        names = names_of(secured.getpeercert() or {})
        allowed = names & self._material().gateway_clients
        name = min(allowed) if allowed else ", ".join(sorted(names))[:MAX_CLIENT_TEXT] or UNNAMED
        return Peer(name, bool(allowed))


def names_of(certificate: Any) -> frozenset[str]:
    """The verified names of a certificate as `ssl` shows it, as `authorization` writes them."""
    names = certificate.get("subjectAltName", ())  # the name of another kind may be a tuple
    found = {kind: [name.encode() for other, name in names if other == kind] for kind in ("DNS", "URI")}
    return alternative_names({"peer_dns": found["DNS"], "peer_uri": found["URI"]})
