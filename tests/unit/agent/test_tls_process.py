"""The command line with certificates: what a real process agrees to on TCP, and what it refuses to start with."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.agent.tls import LOOPBACK, NOW, SERVER, YEAR, Files, authority, issued, pem
from support.waiting.ports import free_port

CA = authority()
COMMAND = [sys.executable, "-c", "import sys; from hubwarden_agent.cli import main; sys.exit(main())"]
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
NOT_AEAD = "ECDHE-ECDSA-AES128-SHA256"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Files that are right, and a client's."""
    files = Files(tmp_path)
    files.write(issued(CA, LOOPBACK, purpose=SERVER), CA)
    (tmp_path / "hub.pem").write_bytes(b"".join(pem(issued(CA))))
    return files


@contextmanager
def _serving(files: Files, port: int, **environment: str) -> Iterator[list[str]]:
    """A process that serves for the body; after it, the list is the process's whole log."""
    path = files.directory / "agent.toml"
    path.write_text(files.toml(f"tcp://127.0.0.1:{port}"))
    process = subprocess.Popen(
        [*COMMAND, "serve", "--config", str(path)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stderr is not None
    with process, process.stderr as log:
        try:
            lines: list[str] = []
            while not lines or '"message": "serving"' not in lines[-1]:
                lines.append(log.readline())
                assert lines[-1], "".join(lines)
            yield lines
        finally:
            process.terminate()
            lines += log
    assert process.returncode == 0


def _agreed(files: Files, port: int, version: ssl.TLSVersion, suites: str = "DEFAULT") -> bool:
    context = ssl.create_default_context(cafile=str(files.directory / "ca.crt"))
    context.load_cert_chain(files.directory / "hub.pem")
    context.set_alpn_protocols(["h2"])
    context.set_ciphers(suites)
    context.minimum_version = context.maximum_version = version
    try:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return secure.version() == {V12: "TLSv1.2", V13: "TLSv1.3"}[version]
    except (ssl.SSLError, ConnectionResetError):
        return False


@pytest.mark.parametrize(("minimum", "old_client"), [("1.2", True), ("1.3", False)])
def test_the_minimum_holds(files: Files, minimum: str, *, old_client: bool) -> None:
    """A 1.3 client is always served, a 1.2 client only when the minimum says so, and never without an AEAD suite.

    Whatever suites the environment asks gRPC for.
    """
    files.minimum, port = minimum, free_port()
    with _serving(files, port, GRPC_SSL_CIPHER_SUITES=NOT_AEAD):
        assert _agreed(files, port, V13)
        assert _agreed(files, port, V12) is old_client
        assert not _agreed(files, port, V12, NOT_AEAD)


@pytest.mark.parametrize(
    ("environment", "logged"), [({}, 0), ({"GRPC_VERBOSITY": "INFO"}, 20)], ids=["default", "INFO"]
)
def test_failed_handshakes_do_not_fill_the_log(files: Files, environment: dict[str, str], logged: int) -> None:
    """When 20 handshakes fail, the log has a line of each only if the operator's environment asks gRPC for it."""
    port = free_port()
    with _serving(files, port, **environment) as lines:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while client.recv(1024):
                    pass
    assert sum("Handshake failed" in line for line in lines) == logged


def _run(files: Files, command: str, text: str) -> subprocess.CompletedProcess[str]:
    path = files.directory / "agent.toml"
    path.write_text(text)
    return subprocess.run([*COMMAND, command, "--config", str(path)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_expired_files_and_wrong_keys_are_listed_together(files: Files, command: str) -> None:
    """Exit 2 with one line a mistake, of the table and of the files alike."""
    files.write(issued(CA, LOOPBACK, purpose=SERVER, start=NOW - 2 * YEAR), authority(start=NOW - 2 * YEAR))
    result = _run(files, command, files.toml() + "[limits]\nmax_deadline = 0\n")
    assert result.returncode == 2
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == [
        "limits.max_deadline",
        "tls.client_ca",
        "tls.certificate",
    ]
    assert result.stderr.count("expired on") == 2


def test_the_command_line_checks_without_grpc() -> None:
    """GRPC takes its suites when it is imported, so nothing may import it before the configuration is known."""
    code = "import sys, hubwarden_agent.cli, hubwarden_agent.tls; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_that_serves_imports_a_tool() -> None:
    """When the agent serves, neither the tools nor their dependencies are imported."""
    code = (
        "import sys, hubwarden_agent.app;"
        "sys.exit(any(name.startswith(('cryptography', 'hubwarden_agent.tools')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
