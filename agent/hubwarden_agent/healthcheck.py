"""`hubwarden-agent healthcheck`: asks the running agent's health service over its private socket.

Must not: import anything else of the agent, since an orchestrator starts this every few seconds. So the one setting
that it needs is read here, without the checks of `config`: an agent with a broken configuration does not answer.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SECONDS = 5.0
SERVICE = "hubwarden.v1.DockerAgentService"
SOCKET = "health.sock"
DIRECTORY = "/var/lib/hubwarden"
"""`state.directory` where the configuration does not set it."""


def main(configuration: Path | None) -> int:
    """Ask how the agent is. Returns the exit status: 0 when it serves and Docker answers."""
    try:
        document = tomllib.loads(configuration.read_text(encoding="utf-8")) if configuration else {}
        socket = Path(document.get("state", {}).get("directory", DIRECTORY)) / SOCKET
    except (OSError, ValueError, AttributeError, TypeError) as error:
        print(f"hubwarden-agent: {configuration}: {error}", file=sys.stderr)  # noqa: T201 - a command line answers so
        return 2
    with grpc.insecure_channel(f"unix://{socket}", options=(("grpc.enable_http_proxy", 0),)) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            response = health_pb2_grpc.HealthStub(channel).Check(request, timeout=SECONDS)
        except grpc.RpcError as error:
            print(f"hubwarden-agent: {error.code().name}", file=sys.stderr)  # noqa: T201 - a command line answers so
            return 1
    return 0 if response.status == health_pb2.HealthCheckResponse.SERVING else 1
