"""A user of a test's own, the real agent, and the engine behind its back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hubwarden.v1 import agent_pb2_grpc
from support.agent.client import PATIENCE, reset_request, restart_request
from support.agent.process import AgentProcess
from support.docker.private_engine import Workbench

STUBBORN = "trap '' TERM; while :; do sleep 0.1; done"
"""A server that ignores SIGTERM."""


@dataclass
class Bed:
    """A user of this test's own, the agent, and the engine behind its back."""

    agent: AgentProcess
    bench: Workbench
    stub: agent_pb2_grpc.DockerAgentServiceAsyncStub
    user: str

    @property
    def container(self) -> str:
        """What the agent derives for the user."""
        return f"jupyterlab-{self.user}"

    @property
    def home(self) -> str:
        """The same for the home volume."""
        return f"jupyterlab-{self.user}_home"

    def restart(self, **fields: Any) -> Any:
        """A call of RestartContainer."""
        return self.stub.RestartContainer(restart_request(self.user, **fields), timeout=PATIENCE)

    def reset(self, **fields: Any) -> Any:
        """A call of ResetHomeVolume."""
        return self.stub.ResetHomeVolume(reset_request(self.user, **fields), timeout=PATIENCE)

    def exists(self, volume: str) -> bool:
        """Whether the engine has a volume."""
        try:
            self.bench.client.volumes.get(volume)
        except NotFound:
            return False
        return True

    def records(self) -> list[tuple[str, str]]:
        """Phase and reason of each line of the audit."""
        return [(line["phase"], line.get("reason", "")) for line in self.agent.place.audit()]
