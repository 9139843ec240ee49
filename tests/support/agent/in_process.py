"""The service over a real gRPC connection to a fake engine, as a client sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubwarden.v1 import agent_pb2_grpc
from hubwarden_agent.listeners import serve_unix
from support.agent.client import PATIENCE, client, reset_request, restart_request
from support.agent.core import AgentStage


@dataclass
class Served:
    """A stage that is served, and a stub to call it."""

    stage: AgentStage
    stub: agent_pb2_grpc.DockerAgentServiceAsyncStub
    path: Path

    def restart(self, username: str = "alice", **fields: Any) -> Any:
        """A call of RestartContainer with a deadline."""
        return self.stub.RestartContainer(restart_request(username, **fields), timeout=PATIENCE)

    def reset(self, username: str = "alice", **fields: Any) -> Any:
        """A call of ResetHomeVolume with a deadline."""
        return self.stub.ResetHomeVolume(reset_request(username, **fields), timeout=PATIENCE)


@asynccontextmanager
async def serving(stage: AgentStage, directory: Path) -> AsyncIterator[Served]:
    """Serve a stage for the body."""
    path = directory / "a.sock"
    server = serve_unix(stage.service, [f"unix://{path}"], 0o600, None)
    try:
        async with client(path) as stub:
            yield Served(stage, stub, path)
    finally:
        server.stop(None).wait()
