"""Clients that connect to a gRPC listener and then send nothing more."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hubwarden_agent import grpc_limits
from support.agent.tls import RemoteStage, issued, pem, remote_agent
from support.scenarios.attacks.floods import HELLO

SECONDS = 0.4
SHORT = {"grpc.server_handshake_timeout_ms": int(SECONDS * 1000), "grpc.max_connection_idle_ms": int(SECONDS * 1000)}
OUTSIDE = 20.0


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RemoteStage]:
    """An agent whose listeners have the options that they always have, with shorter times."""
    options = tuple((name, SHORT.get(name, value)) for name, value in grpc_limits.COMMON)
    monkeypatch.setattr(grpc_limits, "COMMON", options)
    async with remote_agent(tmp_path) as stage:
        yield stage


def _hub(stage: RemoteStage) -> ssl.SSLContext:
    """TLS as the Hub has it."""
    file = stage.files.directory / "hub.pem"
    file.write_bytes(b"".join(pem(issued(stage.ca))))
    context = ssl.create_default_context(cafile=str(stage.files.directory / "ca.crt"))
    context.load_cert_chain(file)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize(
    ("listener", "data"),
    [
        pytest.param("agent.sock", b"", id="no HTTP/2"),
        pytest.param("agent.sock", HELLO, id="HTTP/2 and no call"),
        pytest.param("health.sock", b"", id="no HTTP/2 to health"),
        pytest.param("health.sock", HELLO, id="HTTP/2 and no call to health"),
        pytest.param("TCP", b"", id="no TLS"),
        pytest.param("TLS", b"", id="TLS and no HTTP/2"),
        pytest.param("TLS", HELLO, id="TLS and HTTP/2 and no call"),
    ],
)
async def test_a_silent_client_is_disconnected(stage: RemoteStage, listener: str, data: bytes) -> None:
    """When a client is silent for as long as the handshake or an idle connection may take, it is disconnected."""
    loop = asyncio.get_running_loop()
    if listener in {"TCP", "TLS"}:
        tls = _hub(stage) if listener == "TLS" else None
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, ssl=tls)
    else:
        reader, writer = await asyncio.open_unix_connection(stage.files.directory / listener)
    begin = loop.time()
    writer.write(data)
    async with asyncio.timeout(OUTSIDE):
        with suppress(ConnectionError, ssl.SSLError):
            await reader.read()
    assert loop.time() - begin > SECONDS / 2
    writer.close()
