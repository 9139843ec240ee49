"""The client against a real gRPC server on a real socket, with an agent in it that loses answers on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from hubwarden.v1 import agent_pb2
from hubwarden.v1.agent_pb2_grpc import DockerAgentServiceServicer, add_DockerAgentServiceServicer_to_server
from hubwarden_hub.agent import AgentClient, Deadlines, until_known
from hubwarden_hub.commands import RequestId, ResetCommand, RestartCommand
from hubwarden_hub.errors import AgentError, Reason

RESTART = RestartCommand("alice", "", "user:alice", RequestId.new(), "jupyterlab-alice", 1)
RESET = ResetCommand("alice", "user:alice", RequestId.new(), "jupyterlab-alice_home")
DEADLINES = Deadlines(check=1, restart=1, reset=1, outcome=5)


class FakeAgent(DockerAgentServiceServicer):
    """Answers, unless it is told to lose answers or to refuse."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.deadlines: list[float | None] = []
        self.lose = 0
        self.refusal: ErrorInfo | None = None

    async def _met(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.deadlines.append(context.time_remaining())
        if self.lose:
            self.lose -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
        if self.refusal is not None:
            packed = AnyMessage()
            packed.Pack(self.refusal)
            status = Status(details=[packed])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")

    async def RestartContainer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        """Record the request, and answer as the test planned."""
        await self._met(request, context)
        return agent_pb2.RestartContainerResponse(container=request.expected_container, container_id="id")

    async def ResetHomeVolume(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        """Record the request, and answer as the test planned."""
        await self._met(request, context)
        return agent_pb2.ResetHomeVolumeResponse(volume=request.expected_volume, size_bytes=-1)


async def serve(agent: FakeAgent, path: Path) -> grpc.aio.Server:
    """Put an agent on a socket."""
    server = grpc.aio.server()
    add_DockerAgentServiceServicer_to_server(agent, server)
    server.add_insecure_port(f"unix://{path}")
    await server.start()
    return server


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    """An agent on a socket."""
    agent = FakeAgent()
    server = await serve(agent, tmp_path / "agent.sock")
    yield agent
    await server.stop(None)


@pytest.fixture
def client(tmp_path: Path) -> AgentClient:
    """A client of whatever is on the socket."""
    return AgentClient(f"unix://{tmp_path / 'agent.sock'}", DEADLINES)


async def test_every_call_has_a_deadline(agent: FakeAgent, client: AgentClient) -> None:
    """When the client calls, there is a deadline, and only checks are `validate_only`."""
    await client.check_restart(RESTART)
    await client.restart(RESTART)
    await client.check_reset(RESET)
    await client.reset(RESET)
    assert all(deadline is not None and 0 < deadline < 2.5 for deadline in agent.deadlines)
    assert [request.validate_only for request in agent.requests] == [True, False, True, False]


async def test_a_lost_answer_is_asked_for_again_under_the_same_id(agent: FakeAgent, client: AgentClient) -> None:
    """The same request to the byte, until there is an answer."""
    agent.lose = 2
    assert (await client.restart(RESTART)).container_id == "id"
    assert len(agent.requests) == 3
    assert agent.requests[0] == agent.requests[1] == agent.requests[2]
    assert agent.requests[0].request_id == str(RESTART.request_id)


async def test_a_refusal_is_an_answer(agent: FakeAgent, client: AgentClient) -> None:
    """It is not asked for again, and comes with its reason and metadata."""
    agent.refusal = ErrorInfo(domain="hubwarden", reason="VOLUME_IN_USE", metadata={"holders": "a,b"})
    with pytest.raises(AgentError) as caught:
        await client.reset(RESET)
    assert (caught.value.reason, caught.value.holders) == (Reason.VOLUME_IN_USE, ("a", "b"))
    assert len(agent.requests) == 1


async def test_a_check_of_an_absent_agent_fails_at_once(client: AgentClient) -> None:
    """Nobody waits for an agent that is away, when nothing was begun."""
    with pytest.raises(AgentError) as caught:
        await asyncio.wait_for(client.check_restart(RESTART), 1)
    assert caught.value.reason is Reason.AGENT_UNREACHABLE


async def test_an_agent_that_comes_back_is_used_within_two_seconds(client: AgentClient, tmp_path: Path) -> None:
    """The channel connects again by itself, and quickly."""
    for _ in range(5):
        with pytest.raises(AgentError):
            await client.check_restart(RESTART)
        await asyncio.sleep(0.2)
    server = await serve(FakeAgent(), tmp_path / "agent.sock")
    try:
        async with asyncio.timeout(2):
            await until_known(lambda: client.check_restart(RESTART), bound=2, pause=0.05)
    finally:
        await server.stop(None)


async def test_asking_again_is_bounded() -> None:
    """An outcome that stays unknown is given up on, and is never told as "nothing was changed"."""
    attempts = 0

    async def lose() -> None:
        nonlocal attempts
        attempts += 1
        raise AgentError(Reason.AGENT_UNREACHABLE)

    with pytest.raises(AgentError) as caught:
        await until_known(lose, bound=0.1, pause=0.02)
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    assert 2 < attempts < 10
