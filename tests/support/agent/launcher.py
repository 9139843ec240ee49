"""The one launcher of an agent: its configuration, `hubwarden-agent serve` with its output in a file, its health."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hubwarden_agent.config import HEALTH_SOCKET
from hubwarden_agent.listeners import SERVICE
from support.waiting.conditions import wait_for

COMMAND = (str(Path(sys.executable).with_name("hubwarden-agent")),)


def configure(directory: Path, docker: str | Path, *, state: Path, listen: str = "", sections: str = "") -> Path:
    """Write an agent's configuration.

    Args:
        directory: for `agent.toml` and `agent.sock`.
        docker: the engine's socket.
        state: the state directory.
        listen: more lines of `[listen]`; a `grpc` among them replaces the unix socket.
        sections: TOML of other sections, put at the end; with keys of `[docker]` before the first of them.
    """
    grpc_listen = "" if "grpc =" in listen else f'grpc = ["unix://{directory}/agent.sock"]\n'
    configuration = directory / "agent.toml"
    configuration.write_text(
        f'[state]\ndirectory = "{state}"\n[listen]\n{grpc_listen}{listen}\n'
        f'[docker]\nhost = "unix://{docker}"\n{sections}\n',
        encoding="utf-8",
    )
    return configuration


def launch(configuration: Path, log: Path, program: Sequence[str] = COMMAND) -> subprocess.Popen[bytes]:
    """Start the agent, or a program in its place, and do not wait; its output is appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [*program, "serve", "--config", str(configuration)], stdout=output, stderr=output, cwd=configuration.parent
        )


def connects(path: Path) -> bool:
    """Whether a process listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_until_listening(process: subprocess.Popen[bytes], log: Path, *sockets: Path) -> None:
    """Return as soon as the agent listens on all its sockets.

    Raises:
        AssertionError: the process ended before; with its log.
        TimeoutError: it does not listen in time.
    """
    wait_for(lambda: process.poll() is not None or all(map(connects, sockets)), "the agent listens")
    assert process.poll() is None, log.read_text(encoding="utf-8")


def health(state: Path) -> int | None:
    """What the agent with this state directory says of its health, as in `HealthCheckResponse`; None: no answer."""
    # With a pool of its own, so that no earlier channel's wait before a reconnection holds this one up.
    options = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
    with grpc.insecure_channel(f"unix://{state}/{HEALTH_SOCKET}", options) as channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status)
        except grpc.RpcError:
            return None
