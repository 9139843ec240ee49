"""Certificates of every kind that a test needs, and an agent over a fake engine that serves them on TCP.

Invariants: dates are relative to the machine's clock, because the TLS library looks at that one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hubwarden.v1 import agent_pb2_grpc
from hubwarden_agent import config, tls
from hubwarden_agent.app import Agent, build
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.port import ContainerState
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.tls_listener import CertificateStore
from hubwarden_agent.tools import certs
from support.fakes.engine import FakeEngine, home_of
from support.waiting.conditions import until
from support.waiting.ports import free_port
from support.waiting.threads import in_background

NOW = dt.datetime.now(dt.UTC)
YEAR = dt.timedelta(days=365)
HUB = "hub.example.org"
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


def authority(name: str = "Test CA", start: dt.datetime = NOW) -> certs.Identity:
    """A CA that is valid for a year."""
    return certs.make_authority(name, start, YEAR)


def issued(
    by: certs.Identity,
    *names: x509.GeneralName,
    purpose: x509.ObjectIdentifier = CLIENT,
    start: dt.datetime = NOW,
) -> certs.Identity:
    """A certificate that is valid for a year; for a client called HUB, unless told otherwise."""
    return certs.issue(by, names or [x509.DNSName(HUB)], purpose, start, YEAR)


def without_names(by: certs.Identity, purpose: x509.ObjectIdentifier = CLIENT) -> certs.Identity:
    """A certificate that has HUB as its common name, and no alternative name."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = certs._builder(key, certs._name(HUB), by.certificate.subject, NOW, YEAR)  # noqa: SLF001 - the tool's own certificate builder, with dates it would not give
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return certs.Identity(builder.sign(by.key, hashes.SHA256()), key)


def pem(identity: certs.Identity) -> tuple[bytes, bytes]:
    """Certificate and key."""
    files = identity.files("x")
    return files["x.crt"], files["x.key"]


@dataclass
class Files:
    """The agent's files, and `[tls]` that names them."""

    directory: Path
    clients: Sequence[str] = (f"dns:{HUB}",)
    minimum: str = "1.2"
    gateway: str = ""
    gateway_clients: Sequence[str] = (f"dns:{HUB}",)

    def write(self, identity: certs.Identity, trusted: certs.Identity) -> None:
        """Put a new certificate, key and client CA in place."""
        certificate, key = pem(identity)
        (self.directory / "agent.crt").write_bytes(certificate)
        (self.directory / "agent.key").write_bytes(key)
        (self.directory / "ca.crt").write_bytes(pem(trusted)[0])

    def toml(self, address: str = "tcp://127.0.0.1:7443") -> str:
        """The configuration of an agent that listens there and on a unix socket."""
        return f"""
            [listen]
            grpc = ["unix://{self.directory}/agent.sock", "{address}"]
            gateway = "{self.gateway}"
            [tls]
            certificate = "{self.directory}/agent.crt"
            key = "{self.directory}/agent.key"
            client_ca = "{self.directory}/ca.crt"
            clients = {json.dumps(list(self.clients))}
            gateway_clients = {json.dumps(list(self.gateway_clients))}
            minimum = "{self.minimum}"
            [docker]
            host = "unix://{self.directory}/no-docker.sock"
            [state]
            directory = "{self.directory}"
            """

    def settings(self) -> config.Tls:
        """`[tls]`, as a reload reads it."""
        file = self.directory / "agent.toml"
        file.write_text(self.toml(), encoding="utf-8")
        return config.load_tls(file)

    def read(self) -> tls.TlsMaterial:
        """The files as they are."""
        return tls.read(config.parse(self.toml()).tls, dt.datetime.now(dt.UTC))

    def store(self) -> CertificateStore:
        """What serves the files, as they are at each reload."""
        return CertificateStore(self.settings, lambda settings: tls.read(settings, dt.datetime.now(dt.UTC)))


@dataclass
class RemoteStage:
    """A serving agent. Alice's server runs; Bob's is gone and his home is there."""

    files: Files
    ca: certs.Identity
    port: int
    agent: Agent
    engine: FakeEngine
    certificates: CertificateStore
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def connect(self, client: certs.Identity | None, ca: certs.Identity | None = None) -> grpc.aio.Channel:
        """A channel of a client, which trusts the agent's CA."""
        certificate, key = pem(client) if client else (None, None)
        credentials = grpc.ssl_channel_credentials(pem(ca or self.ca)[0], key, certificate)
        return self.keep(grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, OPTIONS))

    def keep(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        """Have a channel closed at the end."""
        self.channels.append(channel)
        return channel

    def stub(self, client: certs.Identity | None, ca: certs.Identity | None = None) -> Any:
        """The two methods, for a client."""
        return agent_pb2_grpc.DockerAgentServiceStub(self.connect(client, ca))

    def audited(self) -> list[dict[str, Any]]:
        """The audit's records; the agent's own start and end are left out."""
        text = (self.files.directory / "audit.jsonl").read_text()
        return [record for record in map(json.loads, text.splitlines()) if record["phase"] != "event"]


# One connection each: grpc would share one between channels that look the same.
OPTIONS: Any = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


@asynccontextmanager
async def remote_agent(directory: Path, gateway: str = "") -> AsyncIterator[RemoteStage]:
    """An agent that serves until the body ends, with a gateway at an address if one is given."""
    ca, port, engine = authority(), free_port(), FakeEngine()
    files = Files(directory, gateway=gateway)
    files.write(issued(ca, LOOPBACK, purpose=SERVER), ca)
    certificates = files.store()
    engine.add_container("jupyterlab-alice", mounts=(home_of("alice"),))
    engine.add_container("jupyterlab-bob", ContainerState.EXITED, mounts=(home_of("bob"),))
    for name in ("alice", "bob"):
        engine.add_volume(home_of(name).volume)
    settings = config.parse(files.toml(f"tcp://127.0.0.1:{port}"))
    agent = build(
        settings,
        engine,
        SystemClock(),
        Metrics(SystemClock()),
        certificates,
        engine if settings.listen.gateway else None,
    )
    stage = RemoteStage(files, ca, port, agent, engine, certificates)
    stopping = threading.Event()
    serving = in_background(lambda: agent.serve(stopping))
    await until(lambda: serving.done() or _listens(port))
    try:
        yield stage
    finally:
        for event in engine.hold.values():
            event.set()
        for channel in stage.channels:
            await channel.close(None)
        stopping.set()
        await asyncio.wrap_future(serving)
        agent.audit.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
