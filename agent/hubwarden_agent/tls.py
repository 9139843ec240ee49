"""The files behind a TCP listener: read and checked together, or every mistake with its key and file.

Invariants: a `TlsMaterial` was good when it was made: the key is the certificate's, everything is valid now, and what
`tls.minimum` promises holds with that key. The standard library suffices: the certificate is shown to ourselves in a
handshake in memory. This file must never import gRPC, which reads the suites that `restrict_suites` sets when it is
imported, and must never let a key into a message.
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubwarden_agent.config import ConfigurationError, Tls
from hubwarden_agent.config_types import UNSET

_ECDSA = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"
_RSA = "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
_SUITES = {"1.2": f"{_ECDSA}:{_RSA}", "1.3": _RSA}
"""What TLS 1.2 may use; 1.3 has its own. gRPC knows no minimum, but with RSA's suites alone and a key that is not RSA's
(`_check_shown`) there is nothing that a 1.2 client could agree to."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, without a name in `ssl`: dates are judged here, where the file is known."""


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What a listener shows, and whom it lets in.

    The first three are PEM; `not_after` is the certificate's; `context` is the gateway's, since `ssl` reads files only.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes
    clients: frozenset[str]
    gateway_clients: frozenset[str]
    not_after: dt.datetime
    context: ssl.SSLContext = field(repr=False, compare=False)


def restrict_suites(minimum: str) -> None:
    """Decide which suites this process may use, whatever its environment said. Only works before gRPC is imported."""
    os.environ["GRPC_SSL_CIPHER_SUITES"] = _SUITES[minimum]


def read(settings: Tls, now: dt.datetime) -> TlsMaterial:
    """Read and check every file.

    Raises:
        ConfigurationError: with every mistake.
    """
    found: list[str] = []
    with _about("client_ca", settings.client_ca, found):
        client_ca = settings.client_ca.read_bytes()
        _check_authority(client_ca, now)
    client = server = None
    with _about("certificate", settings.certificate, found):
        certificate = settings.certificate.read_bytes()
        client = _client(certificate)
    with _about("key", settings.key, found):
        key = settings.key.read_bytes()
        server = _server(settings) if client else None
    if client and server:
        with _about("certificate", settings.certificate, found):
            not_after = _check_shown(client, server, settings, now)
            if (certificate, key) != (settings.certificate.read_bytes(), settings.key.read_bytes()):
                raise ValueError("changed while it was read")
    if not found and server:
        with _about("client_ca", settings.client_ca, found):
            _demand(server, client_ca, settings.minimum)
    if found or server is None:
        raise ConfigurationError(found)
    clients, gateway_clients = frozenset(settings.clients), frozenset(settings.gateway_clients)
    return TlsMaterial(certificate, key, client_ca, clients, gateway_clients, not_after, server)


def mistakes(settings: Tls, now: dt.datetime) -> list[str]:
    """What `read` would raise."""
    try:
        read(settings, now)
    except ConfigurationError as error:
        return error.mistakes
    return []


@contextmanager
def _about(key: str, path: Path, mistakes: list[str]) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        what = getattr(error, "verify_message", None) or (error.reason or "unreadable").replace("_", " ").lower()
        mistakes.append(f"tls.{key}: {path}: {what}")
    except OSError as error:
        mistakes.append(f"tls.{key}: {path}: {error.strerror}" if path != UNSET else f"tls.{key}: must be set")
    except ValueError as error:
        mistakes.append(f"tls.{key}: {path}: {error}")


def _check_authority(pem: bytes, now: dt.datetime) -> None:
    """At least one CA certificate is valid: while one replaces another, both are in the file."""
    authorities = _client(pem).get_ca_certs()
    if not authorities:
        raise ValueError("holds no CA certificate")
    _valid(max(authorities, key=lambda authority: ssl.cert_time_to_seconds(str(authority["notAfter"]))), now)


def _client(pem: bytes) -> ssl.SSLContext:
    """The client of the handshake, which trusts exactly the certificates in `pem`."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # where the suite says of which kind the key is
    try:
        client.load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("must be certificates in PEM") from error
    return client


def _server(settings: Tls) -> ssl.SSLContext:
    """The server of the handshake."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def refuse() -> str:
        raise ValueError("must not need a password")

    try:
        server.load_cert_chain(settings.certificate, settings.key, refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"must be the key of {settings.certificate}") from error
        raise ValueError("must be a private key in PEM") from error
    return server


def _demand(server: ssl.SSLContext, client_ca: bytes, minimum: str) -> None:
    """Make a context that passed its check the gateway's: with clients' certificates, and sessions that end."""
    server.load_verify_locations(cadata=client_ca.decode("ascii"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.minimum_version = ssl.TLSVersion.TLSv1_3 if minimum == "1.3" else ssl.TLSVersion.TLSv1_2
    server.set_ciphers(_SUITES["1.2"])
    server.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    server.num_tickets = 0


def _check_shown(client: ssl.SSLContext, server: ssl.SSLContext, settings: Tls, now: dt.datetime) -> dt.datetime:
    """Show the certificate, and judge it as a client would."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    ends = [ours, server.wrap_bio(to_server, to_client, server_side=True)]
    while ends:
        for end in tuple(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue
    suite, certificate = ours.cipher(), ours.getpeercert()
    if suite is None or certificate is None:
        raise AssertionError("a handshake that ended has both")
    if settings.minimum == "1.3" and "ECDSA" not in suite[0]:
        raise ValueError('must have an ECDSA key for tls.minimum = "1.3": with an RSA key, clients could still use 1.2')
    if "subjectAltName" not in certificate:
        raise ValueError("must have a subject alternative name, by which the Hub knows the agent")
    return _valid(certificate, now)


def _valid(certificate: Any, now: dt.datetime) -> dt.datetime:
    """When a certificate expires; it has begun to be valid, and has not expired."""
    start, end = (
        dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate[key]), dt.UTC)
        for key in ("notBefore", "notAfter")
    )
    if now < start:
        raise ValueError(f"is not valid before {start:%Y-%m-%d %H:%M} UTC")
    if now > end:
        raise ValueError(f"expired on {end:%Y-%m-%d %H:%M} UTC")
    return end
