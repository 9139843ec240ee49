"""The gateway on TCP: who gets in, what the others get, and how long one that is slow is waited for."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from docker import APIClient  # noqa: TID251 - the client that DockerSpawner uses
from docker.tls import TLSConfig  # noqa: TID251 - the client that DockerSpawner uses
from hubwarden.v1 import agent_pb2
from hubwarden_agent.gateway import app, listener, request_reader
from hubwarden_agent.gateway.transports import names_of
from hubwarden_agent.tools import certs
from support.agent.tls import (
    LOOPBACK,
    NOW,
    SERVER,
    YEAR,
    RemoteStage,
    authority,
    issued,
    pem,
    remote_agent,
    without_names,
)
from support.waiting.conditions import until
from support.waiting.ports import free_port

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub.example.org")])
VERSION = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
BUILD = b"POST /v1.44/build HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Gateway:
    """An agent whose gateway is on TCP, and its clients."""

    stage: RemoteStage
    port: int

    def context(self, client: certs.Identity | None, ca: certs.Identity | None = None) -> ssl.SSLContext:
        """What a client with this certificate dials with; it trusts the agent's CA."""
        context = ssl.create_default_context(cadata=pem(ca or self.stage.ca)[0].decode())
        if client:
            file = self.stage.files.directory / f"client-{uuid.uuid4()}.pem"
            file.write_bytes(b"".join(pem(client)))
            context.load_cert_chain(file)
        return context

    def connect(self) -> socket.socket:
        """A connection that says nothing yet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    async def ask(
        self, client: certs.Identity | None, request: bytes = VERSION, ca: certs.Identity | None = None
    ) -> tuple[int, str] | None:
        """Status and message of a response; None when there is no response."""
        return await asyncio.to_thread(self._ask, self.context(client, ca), request)

    def _ask(self, context: ssl.SSLContext, request: bytes) -> tuple[int, str] | None:
        try:
            with self.connect() as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                secured.sendall(request)
                head, _, text = b"".join(iter(lambda: secured.recv(65536), b"")).partition(b"\r\n\r\n")
        except OSError:
            return None
        return (int(head.split()[1]), json.loads(text).get("message", "")) if head else None


@pytest.fixture(name="served")
async def _served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setattr(app, "WORKERS", 2)
    port = free_port()
    async with remote_agent(tmp_path, f"tcp://127.0.0.1:{port}") as stage:
        yield Gateway(stage, port)


CLIENTS: dict[str, Any] = {
    "no certificate": lambda _: None,
    "another CA": lambda _: issued(authority()),
    "expired": lambda stage: issued(stage.ca, start=NOW - 2 * YEAR),
    "not yet valid": lambda stage: issued(stage.ca, start=NOW + YEAR),
    "the agent's own": lambda stage: issued(stage.ca, LOOPBACK, x509.DNSName("hub.example.org"), purpose=SERVER),
}


@pytest.mark.parametrize("who", CLIENTS)
async def test_who_gets_no_connection(served: Gateway, who: str) -> None:
    """When a client's certificate is not one for clients by the client CA, it gets no response, and no record."""
    assert await served.ask(CLIENTS[who](served.stage)) is None
    assert served.stage.audited() == []
    assert await served.ask(issued(served.stage.ca)) == (200, "")


@pytest.mark.parametrize(
    ("names", "peer"),
    [
        ([x509.DNSName("other.example.org")], "dns:other.example.org"),
        ([x509.RFC822Name("hub.example.org")], "no alternative name"),
        ([x509.DirectoryName(x509.Name([]))], "no alternative name"),
        ([x509.DirectoryName(NAME), x509.DNSName("other.example.org")], "dns:other.example.org"),
        ([x509.UniformResourceIdentifier("dns:hub.example.org")], "uri:dns:hub.example.org"),
        ([], "no alternative name"),
    ],
)
async def test_who_is_refused(served: Gateway, names: list[x509.GeneralName], peer: str) -> None:
    """When a client's names are not listed it gets 403 whatever it asks, and a record with its names."""
    client = issued(served.stage.ca, *names) if names else without_names(served.stage.ca)
    for request in (VERSION, BUILD, b"\x00\r\n\r\n"):
        assert await served.ask(client, request) == (403, "hubwarden: This client may not call the agent.")
    denied = [(line["client"], line["peer"], line["reason"]) for line in served.stage.audited()]
    assert denied == [("gateway", peer, "CLIENT_NOT_ALLOWED")] * 3
    labels = {"operation": "unknown", "result": "refused", "reason": "CLIENT_NOT_ALLOWED"}
    assert served.stage.agent.metrics.registry.get_sample_value("hubwarden_operations_total", labels) == 3


async def test_a_listed_client_is_on_the_record(served: Gateway) -> None:
    """When a listed client changes something or is refused, the audit has its listed name."""
    also = issued(served.stage.ca, x509.DNSName("HUB.example.org".lower()), x509.DNSName("a.example.org"))
    assert (await served.ask(also, BUILD) or (0, ""))[0] == 403
    assert [line["peer"] for line in served.stage.audited()] == ["dns:hub.example.org"]


async def test_the_two_lists_are_apart(served: Gateway) -> None:
    """When a client may restart but not spawn, the gateway refuses it, and gRPC the other way round."""
    files, ca = served.stage.files, served.stage.ca
    files.clients, files.gateway_clients = ("dns:restarts.example.org",), ("dns:spawns.example.org",)
    served.stage.certificates.reload()
    asked = agent_pb2.ResetHomeVolumeRequest(username="bob", actor="user:bob", validate_only=True)
    outcomes = {}
    for name in ("restarts", "spawns"):
        client = issued(ca, x509.DNSName(f"{name}.example.org"))
        response = await served.ask(client)
        try:
            await served.stage.stub(client).ResetHomeVolume(asked, timeout=20)
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        outcomes[name] = (response[0] if response else 0, code)
    assert outcomes == {"restarts": (403, "OK"), "spawns": (200, "PERMISSION_DENIED")}


async def test_everything_is_renewed(served: Gateway) -> None:
    """When CA, certificate and key are replaced while it serves, new connections use them only."""
    stage, new_ca = served.stage, authority("The next CA")
    stage.files.write(issued(new_ca, LOOPBACK, purpose=SERVER), new_ca)
    stage.certificates.reload()
    assert await served.ask(issued(new_ca), ca=new_ca) == (200, "")
    assert await served.ask(issued(stage.ca), ca=new_ca) is None
    assert await served.ask(issued(stage.ca)) is None


async def test_docker_py_takes_renewed_files(served: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the Hub's files are replaced, CA included, the same docker-py client goes on with them."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to `ca_cert`
        monkeypatch.delenv(variable, raising=False)
    stage, files = served.stage, [tmp_path / name for name in ("hub.crt", "hub.key", "hub-ca.crt")]

    def put(ca: certs.Identity) -> None:
        for file, content in zip(files, (*pem(issued(ca)), pem(ca)[0]), strict=True):
            file.write_bytes(content)

    put(stage.ca)
    certificate, key, ca = map(str, files)
    tls = TLSConfig(client_cert=(certificate, key), ca_cert=ca, verify=True)
    api = await asyncio.to_thread(APIClient, f"tcp://127.0.0.1:{served.port}", "auto", tls=tls)
    renewed = authority("The next CA")
    stage.files.write(issued(renewed, LOOPBACK, purpose=SERVER), renewed)
    stage.certificates.reload()
    with pytest.raises(OSError, match="SSL"):
        await asyncio.to_thread(api.ping)
    put(renewed)
    assert await asyncio.to_thread(api.ping)
    api.close()


async def test_a_broken_renewal_keeps_what_was_served(served: Gateway) -> None:
    """When a file is broken, the gateway serves with what it had."""
    (served.stage.files.directory / "ca.crt").write_bytes(b"half a fi")
    served.stage.certificates.reload()
    assert await served.ask(issued(served.stage.ca)) == (200, "")


async def test_a_client_taken_off_the_list(served: Gateway) -> None:
    """When a name is taken off the list, its next request is refused; put back, it is answered."""
    client = issued(served.stage.ca)
    for names, status in ((("dns:other.example.org",), 403), (("dns:hub.example.org",), 200)):
        served.stage.files.gateway_clients = names
        served.stage.certificates.reload()
        response = await served.ask(client)
        assert response is not None
        assert response[0] == status


@pytest.mark.parametrize("sent", [b"", b"\x16\x03", VERSION, b"\x16\x03\x01\x02\x00\x01"])
async def test_a_slow_handshake(served: Gateway, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """When clients hold all workers without a handshake, they are cut off in time, and the next one is served."""
    monkeypatch.setattr(request_reader, "HEAD_SECONDS", 0.5)
    slow = [served.connect() for _ in range(2)]
    for one in slow:
        one.sendall(sent)
    assert await served.ask(issued(served.stage.ca)) == (200, "")
    for one in slow:
        one.settimeout(10)
        with one:
            assert b"HTTP" not in await asyncio.to_thread(_rest, one)


def _rest(connection: socket.socket) -> bytes:
    try:
        return b"".join(iter(lambda: connection.recv(1024), b""))
    except ConnectionError:
        return b""


async def test_many_silent_connections(served: Gateway) -> None:
    """When 500 silent connections have ended, a request is answered within 2 s; gRPC was served all along."""
    stub, client = served.stage.stub(issued(served.stage.ca)), issued(served.stage.ca)
    silent = [served.connect() for _ in range(500)]
    await stub.ResetHomeVolume(
        agent_pb2.ResetHomeVolumeRequest(username="bob", actor="user:bob", validate_only=True), timeout=2
    )
    for one in silent:
        one.close()
    async with asyncio.timeout(2):
        assert await served.ask(client) == (200, "")


async def test_handshake_and_head_share_one_limit(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a client shakes hands and then sends a byte now and then, its time runs from the connection on."""
    monkeypatch.setattr(request_reader, "HEAD_SECONDS", 0.5)
    context, begun = served.context(issued(served.stage.ca)), time.monotonic()

    def trickle() -> None:
        with served.connect() as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            while secured.send(b"G"):
                time.sleep(0.05)

    with pytest.raises(OSError, match=r".*"):
        await asyncio.to_thread(trickle)
    assert time.monotonic() - begun < 5


async def test_the_end_is_not_in_plaintext(served: Gateway) -> None:
    """When the agent stops while a request runs, its response is still encrypted."""
    stage = served.stage
    release = stage.engine.hold["stop_container"] = threading.Event()
    labels = {"hubwarden.owner": "alice", "hubwarden.server": "", "hubwarden.agent": "jupyterlab-{username}"}
    stage.engine.update(next(iter(stage.engine.containers.values())), labels=labels)
    stop = b"POST /v1.44/containers/jupyterlab-alice/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    answered = asyncio.create_task(asyncio.to_thread(_head, served, served.context(issued(stage.ca)), stop))
    await until(lambda: stage.engine.calls)
    assert stage.agent.gateway is not None
    stopping = asyncio.create_task(asyncio.to_thread(stage.agent.gateway.stop, 10))
    await until(lambda: served_no_more(served))
    release.set()
    assert await answered == b"HTTP/1.1 204 No Content"
    assert await stopping


def served_no_more(served: Gateway) -> bool:
    """Whether nothing listens any more."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", served.port)) != 0


def _head(served: Gateway, context: ssl.SSLContext, request: bytes) -> bytes:
    with served.connect() as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
        secured.sendall(request)
        return secured.recv(65536).partition(b"\r\n")[0]


async def test_a_client_that_reads_slowly(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a client does not read a long response, its worker is free after the whole response's time."""
    monkeypatch.setattr(listener, "SEND_SECONDS", 0.5)
    stage = served.stage
    environment = tuple(f"V{number}={'x' * 60_000}" for number in range(200))
    labels = {"hubwarden.owner": "alice", "hubwarden.server": "", "hubwarden.agent": "jupyterlab-{username}"}
    stage.engine.update(next(iter(stage.engine.containers.values())), labels=labels, environment=environment)
    request, context = b"GET /v1.44/containers/jupyterlab-alice/json HTTP/1.1\r\nHost: x\r\n\r\n", None
    slow = []
    for _ in range(2):
        context = context or served.context(issued(stage.ca))
        secured = await asyncio.to_thread(context.wrap_socket, served.connect(), server_hostname="127.0.0.1")
        secured.sendall(request)
        slow.append(secured)
    assert await served.ask(issued(stage.ca)) == (200, "")
    for one in slow:
        one.close()


@pytest.mark.parametrize(("minimum", "old"), [("1.2", True), ("1.3", False)])
async def test_the_minimum_holds(served: Gateway, minimum: str, *, old: bool) -> None:
    """When the minimum is 1.3, a client that speaks 1.2 at most gets no connection."""
    served.stage.files.minimum = minimum
    served.stage.certificates.reload()
    context = served.context(issued(served.stage.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert (await asyncio.to_thread(served._ask, context, VERSION) is not None) is old  # noqa: SLF001 - its own context


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        ((("DNS", "Hub.Example.org"), ("URI", "spiffe://X/y")), {"dns:hub.example.org", "uri:spiffe://X/y"}),
        ((("IP Address", "127.0.0.1"), ("email", "a@b")), set()),
        ((), set()),
    ],
)
def test_names_by_type(shown: tuple[tuple[str, str], ...], names: set[str]) -> None:
    """When a certificate has names of other kinds, they do not count."""
    assert names_of({"subjectAltName": shown}) == names
