"""Where Prometheus looks: a unix socket with its mode, or a port of a named address."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from socketserver import TCPServer

import pytest
from hubwarden_agent import config, metrics_server
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.metrics_server import serve_metrics
from support.agent import process
from support.agent.process import Place
from support.fakes.edges import FakeClock
from support.waiting.conditions import wait_for


def _asked(connection: socket.socket, path: str, *, method: str = "GET") -> tuple[int, str]:
    with connection, connection.makefile("rb") as stream:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: prometheus\r\nUser-Agent: Prometheus/3\r\n\r\n".encode())
        head, _, text = stream.read().decode().partition("\r\n\r\n")
        return int(head.split()[1]), text


def _unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def _closed(server: TCPServer) -> None:
    server.shutdown()
    server.server_close()


def test_over_a_unix_socket(tmp_path: Path) -> None:
    """When the address is a unix socket, it has its mode, and a GET is answered with the metrics."""
    path = tmp_path / "metrics.sock"
    server = serve_metrics(Metrics(FakeClock()).registry, f"unix://{path}", 0o660, None)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        status, text = _asked(_unix(path), "/metrics")
        assert (status, "hubwarden_docker_up" in text) == (200, True)
        assert _asked(_unix(path), "/metrics", method="POST")[0] == 501
        assert _asked(_unix(path), "/metrics HTTP/1.0 ")[0] == 400
    finally:
        _closed(server)


@pytest.mark.parametrize(("key", "group"), [('metrics_group = "65374"', 65374), ("", os.getgid())])
def test_the_group_of_the_socket(tmp_path: Path, key: str, group: int) -> None:
    """When `metrics_group` is set the metrics socket has it, and no other; else the process's own."""
    place, metrics = Place(tmp_path, f"{tmp_path}/no-docker.sock"), tmp_path / "metrics.sock"
    place.write(
        listen=f'gateway = "unix://{tmp_path}/g.sock"\nmetrics = "unix://{metrics}"\nsocket_group = "65375"\n{key}'
    )
    with process.serving(place):
        wait_for(metrics.is_socket, "the metrics socket is there")
        wait_for(lambda: stat.S_IMODE(metrics.stat().st_mode) == 0o660, "it has its mode")
        groups = [path.stat().st_gid for path in (metrics, place.socket, tmp_path / "g.sock")]
    assert groups == [group, 65375, 65375]


def test_a_client_that_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When clients send nothing, they are disconnected in time, and a scrape is answered meanwhile."""
    monkeypatch.setattr(metrics_server, "CLIENT_SECONDS", 0.2)
    path = tmp_path / "metrics.sock"
    server = serve_metrics(Metrics(FakeClock()).registry, f"unix://{path}", 0o660, None)
    silent = [_unix(path) for _ in range(20)]
    try:
        assert _asked(_unix(path), "/metrics")[0] == 200
        for one in silent:
            one.settimeout(30)
            with one:
                assert one.recv(1) == b""
    finally:
        _closed(server)


def test_over_a_port_of_the_named_address() -> None:
    """When the address is a host and port, that is where it listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = serve_metrics(Metrics(FakeClock()).registry, f"127.0.0.1:{port}", 0o660, None)
    try:
        assert _asked(socket.create_connection(("127.0.0.1", port)), "/metrics")[0] == 200
    finally:
        _closed(server)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


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
