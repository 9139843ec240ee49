"""The agent as its operator runs it: a process with a configuration, on sockets of its own, over some Docker socket."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse
from hubwarden.v1 import agent_pb2, agent_pb2_grpc
from support.agent.launcher import COMMAND, configure, health, launch
from support.waiting.conditions import wait_for

TLS_HOST = "agent.test"
CHANNEL_OPTIONS = (("grpc.enable_http_proxy", 0),)
START_SECONDS = 30.0
GENEROUS = '"100000/minute"'


@dataclass
class LiveAgent:
    """One agent, made for a test or a measurement. `extra` is TOML that is put at the end of its configuration."""

    directory: Path
    docker_socket: str
    gateway: bool = False
    metrics: bool = False
    tls_port: int = 0
    extra: str = ""
    process: subprocess.Popen[bytes] = field(init=False)
    _channels: list[grpc.Channel] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"unix://{self.directory}/agent.sock"

    @property
    def audit_lines(self) -> list[str]:
        """What it recorded."""
        return (self.directory / "audit.jsonl").read_text().splitlines()

    def launch(self) -> None:
        """Begin; it is not yet up. With a port for TLS it gets certificates made by its own tool."""
        grpc_addresses = [self.address]
        if self.tls_port:
            grpc_addresses.append(f"tcp://127.0.0.1:{self.tls_port}")
            names = ["--agent-host", TLS_HOST, "--hub-name", "hub.test"]
            subprocess.run([*COMMAND, "certs", "init", self.directory / "tls", *names], check=True, capture_output=True)
        gateway = f"unix://{self.directory}/gateway.sock" if self.gateway else ""
        metrics = f"unix://{self.directory}/metrics.sock" if self.metrics else ""
        listen = f'grpc = {json.dumps(grpc_addresses)}\ngateway = "{gateway}"\nmetrics = "{metrics}"'
        limits = f"restarts_per_user = {GENEROUS}\nresets_per_user = {GENEROUS}\nresets_total = {GENEROUS}"
        sections = f"timeout = 5\n[limits]\n{limits}\n{self._tls()}{self.extra}"
        config = configure(self.directory, self.docker_socket, state=self.directory, listen=listen, sections=sections)
        self.process = launch(config, self.directory / "agent.log")

    def stub(self) -> Any:
        """The contract's client, over a connection of its own."""
        return agent_pb2_grpc.DockerAgentServiceStub(self._channel(self.address))

    def tls_stub(self) -> Any:
        """The same over mutual TLS, as the Hub that the certificates were made for."""
        key, certificate, authority = (self.directory / "tls" / name for name in ("hub.key", "hub.crt", "ca.crt"))
        credentials = grpc.ssl_channel_credentials(authority.read_bytes(), key.read_bytes(), certificate.read_bytes())
        options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", TLS_HOST))
        channel = grpc.secure_channel(f"127.0.0.1:{self.tls_port}", credentials, options)
        self._channels.append(channel)
        return agent_pb2_grpc.DockerAgentServiceStub(channel)

    def _tls(self) -> str:
        if not self.tls_port:
            return ""
        files = {"certificate": "agent.crt", "key": "agent.key", "client_ca": "ca.crt"}
        lines = [f'{key} = "{self.directory}/tls/{name}"' for key, name in files.items()]
        return "\n".join(["[tls]", *lines, 'clients = ["dns:hub.test"]', ""])

    def wait_until_serving(self, *, serving: bool = True) -> None:
        """Return as soon as health says so.

        Raises:
            TimeoutError: it does not.
        """
        wanted = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        wait_for(
            lambda: self.process.poll() is not None or health(self.directory) == wanted,
            "the agent's health",
            START_SECONDS,
        )
        assert self.process.poll() is None, (self.directory / "agent.log").read_text()

    def status(self, key: str) -> int:
        """A number of `/proc/PID/status`, for example `VmRSS` in KiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split(f"{key}:")[1].split()[0])

    def processor_seconds(self) -> float:
        """Processor time that it has used, which does not depend on what else the machine does."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        for channel in self._channels:
            channel.close()
        self.process.terminate()
        return self.process.wait(100)

    def _channel(self, address: str) -> grpc.Channel:
        options = (*CHANNEL_OPTIONS, ("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 50))
        channel = grpc.insecure_channel(address, options=options)
        self._channels.append(channel)
        return channel


@contextmanager
def running(directory: Path, docker_socket: str, **options: Any) -> Iterator[LiveAgent]:
    """An agent that serves, for the body."""
    agent = LiveAgent(directory, docker_socket, **options)
    agent.launch()
    try:
        agent.wait_until_serving()
        yield agent
    finally:
        agent.stop()


def restart_request(username: str, **fields: Any) -> agent_pb2.RestartContainerRequest:
    """A restart that is in order."""
    given = {"actor": "user:admin", "request_id": str(uuid.uuid4())} | fields
    return agent_pb2.RestartContainerRequest(username=username, **given)


def reset_request(username: str, **fields: Any) -> agent_pb2.ResetHomeVolumeRequest:
    """A reset that is in order."""
    given = {"actor": "user:admin", "request_id": str(uuid.uuid4())} | fields
    return agent_pb2.ResetHomeVolumeRequest(username=username, **given)
