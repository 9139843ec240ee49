"""`compose.remote.yml` as an operator starts it: from `certs init` to an answered Hub and renewed certificates."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hubwarden.v1 import agent_pb2_grpc
from hubwarden_agent.listeners import SERVICE
from support.agent.live_agent import restart_request
from support.docker.images import Image, command_line
from support.docker.private_engine import ROOT, Workbench
from support.waiting.conditions import wait_for

AGENT, HUB = "agent.example.org", "hub.example.org"
USER = 65532
DEADLINE = 60.0
CERTS = (str(Path(sys.executable).with_name("hubwarden-agent")), "certs", "init")


def issue(directory: Path) -> Path:
    """A CA with a certificate each for agent and Hub, by the tool that the guide names."""
    subprocess.run([*CERTS, directory, "--agent-host", AGENT, "--hub-name", HUB], check=True, capture_output=True)
    return directory


@dataclass
class Remote:
    """The agent behind its published port."""

    etc: Path
    address: str
    project: str
    environment: dict[str, str]

    def compose(self, *arguments: str) -> None:
        """Run Compose on the file."""
        file = str(ROOT / "compose.remote.yml")
        command_line(
            "docker", "compose", "--file", file, "--project-name", self.project, *arguments, **self.environment
        )

    def put(self, issued: Path) -> None:
        """Give the agent its three files, each replaced at once, as a renewal does."""
        for name in ("agent.key", "agent.crt", "ca.crt"):
            new = self.etc / f"{name}.new"
            shutil.copy(issued / name, new)
            os.chown(new, USER, USER)
            new.rename(self.etc / name)

    def ask(self, credentials: grpc.ChannelCredentials, call: Any) -> Any:
        """What `call` gets, over a connection of its own."""
        options = (
            ("grpc.ssl_target_name_override", AGENT),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        )
        with grpc.secure_channel(f"{self.address}:7443", credentials, options) as channel:
            return call(channel)

    def gateway_status(self, hub: Path | None) -> str:
        """The status of the gateway's answer to a Hub; empty when it gets none."""
        context = ssl.create_default_context(cafile=str(self.etc / "ca.crt"))
        if hub:
            context.load_cert_chain(hub / "hub.crt", hub / "hub.key")
        try:
            with (
                socket.create_connection((self.address, 7444), timeout=DEADLINE) as plain,
                context.wrap_socket(plain, server_hostname=AGENT) as secured,
            ):
                secured.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
                return secured.recv(1024).decode()[9:12]
        except OSError:
            return ""


def credentials(issued: Path, *, trusted: Path | None = None, named: bool = True) -> grpc.ChannelCredentials:
    """A Hub's; without a certificate of its own where it is not `named`."""
    key, chain = ((issued / "hub.key").read_bytes(), (issued / "hub.crt").read_bytes()) if named else (None, None)
    return grpc.ssl_channel_credentials(((trusted or issued) / "ca.crt").read_bytes(), key, chain)


def healthy(channel: grpc.Channel) -> bool:
    """What the standard health service says."""
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=DEADLINE)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def answers(remote: Remote, hub: grpc.ChannelCredentials) -> bool:
    """Whether a Hub is let in."""
    try:
        return bool(remote.ask(hub, healthy))
    except grpc.RpcError:
        return False


@pytest.fixture
def issued(tmp_path: Path) -> Path:
    """The first certificates."""
    return issue(tmp_path / "issued")


@pytest.fixture
def remote(agent_image: Image, issued: Path, tmp_path: Path) -> Iterator[Remote]:
    """The service, up and healthy; the configuration is the one in deploy/."""
    etc, unique = tmp_path / "etc", uuid.uuid4().bytes
    etc.mkdir()
    shutil.copy(ROOT / "deploy" / "agent.remote.toml", etc / "agent.toml")
    address = f"127.{unique[0]}.{unique[1]}.{unique[2] or 1}"
    socket_group = Path(agent_image.socket).stat().st_gid
    environment = {
        "HUBWARDEN_AGENT_IMAGE": agent_image.tag,
        "HUBWARDEN_ADDRESS": address,
        "HUBWARDEN_ETC": str(etc),
        "DOCKER_SOCKET": agent_image.socket,
        "DOCKER_GID": str(socket_group),
    }
    remote = Remote(etc, address, f"hwremote{unique.hex()[:8]}", environment)
    remote.put(issued)
    try:
        remote.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "120")
        yield remote
    finally:
        remote.compose("down", "--volumes", "--timeout", "20")


def test_it_starts_answers_its_hub_and_takes_new_certificates(
    remote: Remote, issued: Path, bench: Workbench, tmp_path: Path
) -> None:
    """Nobody else is answered; the listed Hub restarts a server; a whole new CA is taken without a restart."""
    username = bench.username()
    container = bench.container(f"jupyterlab-{username}")
    request = restart_request(username)

    def restart(channel: grpc.Channel) -> Any:
        return agent_pb2_grpc.DockerAgentServiceStub(channel).RestartContainer(request, timeout=DEADLINE)

    stranger = issue(tmp_path / "stranger")
    for nobody in (credentials(issued, named=False), credentials(stranger, trusted=issued)):
        with pytest.raises(grpc.RpcError) as refused:
            remote.ask(nobody, restart)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE  # no handshake, so no call
    first = credentials(issued)
    assert remote.ask(first, restart).container_id == container.id
    assert remote.ask(first, healthy)
    assert remote.gateway_status(issued) == "200"
    assert remote.gateway_status(None) == ""

    remote.put(stranger)
    wait_for(lambda: answers(remote, credentials(stranger)), "the new certificates")
    assert not answers(remote, first)
    assert remote.ask(credentials(stranger), restart).container_id == container.id  # the same id: not done again


def test_it_runs_with_as_little_as_it_says(remote: Remote, bench: Workbench) -> None:
    """Not root, read-only, no capability, one published port on the given address, and the engine's socket."""
    label = f"com.docker.compose.project={remote.project}"
    (container,) = bench.client.containers.list(filters={"label": label})
    config, host = container.attrs["Config"], container.attrs["HostConfig"]
    assert config["User"] == f"{USER}:{USER}"
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"], host["Init"]) == (True, ["ALL"], False, True)
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    ports = ("7443", "7444")
    assert host["PortBindings"] == {f"{port}/tcp": [{"HostIp": remote.address, "HostPort": port}] for port in ports}
    mounts = {mount["Destination"]: mount["RW"] for mount in container.attrs["Mounts"]}
    assert mounts == {"/var/run/docker.sock": True, "/etc/hubwarden": False, "/var/lib/hubwarden": True}
