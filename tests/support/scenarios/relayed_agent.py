"""A real agent behind a relay to a real engine, which can kill it at any request, and one user of it."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import grpc
from support.agent.client import PATIENCE, refused, reset_request
from support.agent.killable_agent import AgentProcess
from support.docker.private_engine import Workbench
from support.docker.relay import Point, Relay
from support.waiting.conditions import until


@dataclass
class RelayedAgent:
    """The agent, the engine, and the user."""

    agent: AgentProcess
    relay: Relay
    bench: Workbench
    username: str
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()), kw_only=True)

    @property
    def container(self) -> str:
        """The container's name."""
        return f"jupyterlab-{self.username}"

    @property
    def home(self) -> str:
        """The home volume's name."""
        return f"jupyterlab-{self.username}_home"

    async def reset(self, identifier: str = "") -> tuple[str, Any]:
        """`("ok", answer)`, or a reason and the refusal; `("UNREACHABLE", ...)` when the agent dies."""
        request = reset_request(self.username, request_id=identifier or self.identifier)
        async with self.agent.client() as stub:
            return await result_of(stub.ResetHomeVolume(request, timeout=PATIENCE))

    async def killed_at(self, point: Point | None, call: Awaitable[tuple[str, Any]]) -> str:
        """Have the agent killed at the point of a call, or once it has answered. Returns what the client got."""
        if point is not None:
            self.relay.stop_at(point, self.agent.kill)
        result, _ = await call
        if point is None:
            self.agent.kill()
        else:
            await until(self.relay.stopped.is_set, f"the point {point}; the client got {result}")
        return result

    def recorded(self, phase: str) -> list[dict[str, Any]]:
        """The audit's lines of this request."""
        return [line for line in self.agent.lines() if (line["request_id"], line["phase"]) == (self.identifier, phase)]


async def result_of(call: Awaitable[Any]) -> tuple[str, Any]:
    """`("ok", answer)`, or a reason and the refusal; `("UNREACHABLE", ...)` when the agent dies."""
    try:
        return "ok", await call
    except grpc.aio.AioRpcError as error:
        refusal = refused(error)
        return refusal.reason or "UNREACHABLE", refusal
