"""Where Prometheus looks: a unix socket with its mode, or a port of a named address; nothing but `/metrics`."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import aiohttp
import pytest
from fake_edges import FakeClock
from hubwarden_agent import config
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.scrape import serve_metrics


async def _get(path: str, connector: aiohttp.BaseConnector, port: int = 80) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    """The text is there, the socket has its mode, and there is nothing else."""
    path = tmp_path / "metrics.sock"
    listener = await serve_metrics(Metrics(FakeClock()), f"unix://{path}", 0o660, None)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        status, text = await _get("/metrics", aiohttp.UnixConnector(str(path)))
        assert (status, "hubwarden_docker_up" in text) == (200, True)
        assert (await _get("/", aiohttp.UnixConnector(str(path))))[0] == 404
    finally:
        await listener.stop()


async def test_over_a_port_of_the_named_address() -> None:
    """The loopback address is the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    listener = await serve_metrics(Metrics(FakeClock()), f"127.0.0.1:{port}", 0o660, None)
    try:
        assert (await _get("/metrics", aiohttp.TCPConnector(), port))[0] == 200
    finally:
        await listener.stop()


@pytest.mark.parametrize(
    "address", ["", "unix:///run/hubwarden/metrics.sock", "127.0.0.1:9464", "[::1]:9464", "10.0.0.5:9464"]
)
def test_addresses(address: str) -> None:
    """Off, a unix socket, or an address that is spelt out."""
    assert config.parse(f'[listen]\nmetrics = "{address}"').listen.metrics == address


@pytest.mark.parametrize(
    "address", [":9464", "9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "[127.0.0.1]:1"]
)
def test_anything_else_is_a_mistake(address: str) -> None:
    """No address, a name, no port, or an impossible one: the key and what would be right."""
    with pytest.raises(config.ConfigurationError) as refused:
        config.parse(f'[listen]\nmetrics = "{address}"')
    assert "listen.metrics: must be" in str(refused.value)
    assert "127.0.0.1:9464" in str(refused.value)
