"""The Hub's client of the agent.

Invariants: the channel is built on the Hub's own event loop when it is first needed; every call has a deadline;
everything that goes wrong is an `AgentError`. An answer that was lost is asked for again under the same request id,
for a bounded time. This file must never decide whether somebody may do something: that was done before.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from logging import Logger
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

# The Hub forks (its proxy, local services); gRPC's fork hooks only make noise about it. Read when gRPC starts up.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
import grpc.aio
from hubwarden.v1.agent_pb2_grpc import DockerAgentServiceStub

from hubwarden_hub import wire
from hubwarden_hub.channel import Dialer, Files
from hubwarden_hub.commands import Home, ResetCommand, RestartCommand, Restarted
from hubwarden_hub.errors import OUTCOME_UNKNOWN, AgentError, Reason

if TYPE_CHECKING:
    from hubwarden.v1.agent_pb2_grpc import DockerAgentServiceAsyncStub

_log = logging.getLogger(__name__)
Outcome = TypeVar("Outcome")
_PAUSE = 0.5
"""Seconds between two attempts to learn the outcome of one operation."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long calls may take, in seconds, each above 0.

    Attributes:
        check: a call that changes nothing.
        restart: a restart beyond its stop timeout.
        reset: a reset, its backup included.
        outcome: for how long a lost answer is asked for again.
    """

    check: float
    restart: float
    reset: float
    outcome: float


class Agent(Protocol):
    """What the Hub asks of the agent. Each method raises `AgentError`."""

    async def check_restart(self, command: RestartCommand) -> Restarted:
        """What is there now, if a restart would be accepted."""

    async def restart(self, command: RestartCommand) -> Restarted:
        """Restart, and ask again until the outcome is known."""

    async def check_reset(self, command: ResetCommand) -> Home:
        """What is there now, if a reset would be accepted."""

    async def reset(self, command: ResetCommand) -> Home:
        """Reset, and ask again until the outcome is known."""


class AgentClient:
    """`Agent` over gRPC.

    Args:
        address: `unix:///path`, or `tcp://HOST:PORT` with files.
        deadlines: see there.
        files: for TCP.
        log: told about renewed files.
    """

    def __init__(self, address: str, deadlines: Deadlines, files: Files | None = None, log: Logger = _log) -> None:
        self._deadlines = deadlines
        self._dialer = Dialer(address, files, max(deadlines.restart, deadlines.reset), log)

    @property
    def _stub(self) -> DockerAgentServiceAsyncStub:
        try:
            return DockerAgentServiceStub(self._dialer.channel())
        except (OSError, ValueError) as error:
            raise AgentError(Reason.AGENT_UNREACHABLE) from error

    async def check_restart(self, command: RestartCommand) -> Restarted:
        """See `Agent`."""
        message = wire.restart_message(command, validate_only=True)
        return wire.restarted(await _answer(self._stub.RestartContainer, message, self._deadlines.check))

    async def restart(self, command: RestartCommand) -> Restarted:
        """See `Agent`."""
        message, deadline = wire.restart_message(command), self._deadlines.restart + command.stop_timeout

        async def ask() -> Restarted:
            return wire.restarted(await _answer(self._stub.RestartContainer, message, deadline))

        return await until_known(ask, self._deadlines.outcome)

    async def check_reset(self, command: ResetCommand) -> Home:
        """See `Agent`."""
        message = wire.reset_message(command, validate_only=True)
        return wire.home(await _answer(self._stub.ResetHomeVolume, message, self._deadlines.check))

    async def reset(self, command: ResetCommand) -> Home:
        """See `Agent`."""
        message = wire.reset_message(command)

        async def ask() -> Home:
            return wire.home(await _answer(self._stub.ResetHomeVolume, message, self._deadlines.reset))

        return await until_known(ask, self._deadlines.outcome)


async def _answer(method: Callable[..., Awaitable[Any]], message: Any, deadline: float) -> Any:
    """One call.

    Raises:
        AgentError: whatever went wrong; gRPC's own error is its cause.
    """
    try:
        return await method(message, timeout=deadline)
    except grpc.aio.AioRpcError as error:
        metadata: Any = error.trailing_metadata() or {}  # Any: its stub says tuple, and it is a mapping
        raise wire.agent_error(error.code(), metadata.get(wire.DETAILS_KEY)) from error


async def until_known(ask: Callable[[], Awaitable[Outcome]], bound: float, pause: float = _PAUSE) -> Outcome:
    """Ask again while the outcome is unknown.

    Args:
        ask: one attempt, always with the same request id.
        bound: seconds after the first lost answer at which the last one is given up on.
        pause: seconds between attempts.

    Raises:
        AgentError: the agent said no; or `DEADLINE_EXCEEDED`, the outcome is still unknown at the bound. Not
            `AGENT_UNREACHABLE`, whose sentence says that nothing was changed.
    """
    give_up_at: float | None = None
    while True:
        try:
            return await ask()
        except AgentError as error:
            now = asyncio.get_running_loop().time()
            give_up_at = give_up_at or now + bound
            if error.reason not in OUTCOME_UNKNOWN:
                raise
            if now >= give_up_at:
                raise AgentError(Reason.DEADLINE_EXCEEDED) from error
        await asyncio.sleep(pause)
