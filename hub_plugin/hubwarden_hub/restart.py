"""The order in which a server is restarted, so that the Hub is never left wrong.

Invariants: the route is gone before the container is touched, and comes back only to an address that was asked for
after it; the user's lock is held around both, and not while the server boots; browser sessions end when, and only when,
it is known that the container has started since the restart was noted; what is not known is asked again and never
guessed. Everything outside goes through `Server` and
`Agent`. This file must never stop a server: it raises `ServerGone`, and JupyterHub does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hubwarden_hub.agent import Agent
from hubwarden_hub.commands import RestartCommand, Restarted
from hubwarden_hub.errors import AgentError
from hubwarden_hub.operations import Phase

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_LOCATE_ATTEMPTS = 20
"""How often a server that runs may fail to say where, before it counts as out of reach."""
_LOOK_AGAIN = 1.0
"""Seconds between looks at whether a server that does not answer yet still runs."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, from the Hub's and the proxy's point of view."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class RestartOutcome:
    """A restart that happened. `ready`: the server answers; if not, it runs and may yet."""

    restarted: Restarted
    ready: bool


class Unanswered(Exception):  # noqa: N818 - not an error: the other side has said nothing, neither yes nor no
    """Whoever knows about the server (Docker, the gateway, the agent) does not answer."""


class ServerGone(Exception):  # noqa: N818 - a finding, not an error
    """The server does not run, or nobody can say where: it has to be started again."""


class Server(Protocol):
    """One user's server, as the Hub sees it. What changes the Hub's database commits it in one go."""

    async def remember(self, command: RestartCommand, started_at: datetime) -> None:
        """Note the restart, and the start of the container before it, where a killed Hub finds both again.

        Raises `AgentError` (`DOCKER_ERROR`): it is not noted.
        """

    async def conclude(self, address: Address | None, started_at: datetime | None) -> None:
        """Note the new address, if there is one.

        A known `started_at` ends what was noted, and the browser sessions if the container has started since. Without
        it the note stays, as one of a restart that must not be asked for again.
        """

    async def unroute(self) -> None:
        """Take the server's route away. Raises `AgentError` (`PROXY_UNAVAILABLE`)."""

    async def route(self) -> None:
        """Lead the server's route to its address. A proxy that is away gets it later, from JupyterHub's own check."""

    async def is_running(self) -> bool:
        """Whether its process runs. Raises `Unanswered`."""

    async def address(self) -> Address:
        """Where it listens now. Raises `Unanswered`."""

    async def answers_within(self, seconds: float) -> bool:
        """Whether it answers HTTP requests within the time."""

    @property
    def answer_timeout(self) -> float:
        """Seconds that a server may take from its start to its first answer."""


async def carry_out(
    server: Server,
    agent: Agent,
    command: RestartCommand,
    enter: Callable[[Phase], None],
    user_lock: AbstractAsyncContextManager[None],
) -> RestartOutcome:
    """Restart a server that is ready.

    Args:
        server: which one.
        agent: does it.
        command: as it will be repeated if an answer gets lost.
        enter: called with each phase as it begins.
        user_lock: held until the server's new address is known, and released while the server boots.

    Raises:
        AgentError: it did not happen, or nobody knows whether it did; the server runs and has its route.
        ServerGone: the server does not run any more.
    """
    async with user_lock:
        enter(Phase.CHECKING)
        before = await agent.check_restart(command)
        await server.remember(command, before.started_at)
        result = await _restart(server, agent, command, enter)
        enter(Phase.LOCATING)
        await relocate(server, None if isinstance(result, AgentError) else result.started_at)
    ready = await _wait_for_answer(server, enter)
    if isinstance(result, AgentError):
        raise result
    return RestartOutcome(result, ready)


async def _restart(
    server: Server, agent: Agent, command: RestartCommand, enter: Callable[[Phase], None]
) -> Restarted | AgentError:
    """What came of it: after a failure, too, the server needs its route again."""
    try:
        enter(Phase.UNROUTING)
        await server.unroute()
        enter(Phase.STOPPING)
        return await agent.restart(command)
    except AgentError as error:
        return error


async def relocate(server: Server, started_at: datetime | None) -> None:
    """Note where a server is now.

    Args:
        server: which one.
        started_at: the start of its container, as the agent reported it; None: not known.

    Raises:
        ServerGone: it does not run.
    """
    try:
        address = await locate(server)
    except ServerGone:
        await server.conclude(None, started_at)
        raise
    await server.conclude(address, started_at)


async def settle(
    server: Server, agent: Agent, command: RestartCommand, user_lock: AbstractAsyncContextManager[None]
) -> None:
    """Find out whether a restart whose outcome is not known happened, by the container's start, and act on it.

    Nothing is asked for that could restart the server now.

    Raises:
        AgentError: not known yet, or the server does not run.
        ServerGone: the server does not run.
    """
    async with user_lock:
        present = await agent.check_restart(command)
        await relocate(server, present.started_at)
        await server.route()


async def locate(server: Server) -> Address:
    """Where a server is, for as long as it takes to get an answer: unknown is not dead, and no address is guessed.

    Raises:
        ServerGone: it does not run, or runs and repeatedly cannot be located.
    """
    pause, attempts = _FIRST_PAUSE, 0
    while True:
        try:
            if not await server.is_running():
                raise ServerGone
            attempts += 1
            return await server.address()
        except Unanswered as error:
            if attempts >= _LOCATE_ATTEMPTS:
                raise ServerGone from error
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _wait_for_answer(server: Server, enter: Callable[[Phase], None]) -> bool:
    """Wait until the server answers, then give it its route.

    Returns:
        whether it answers. If not, it has the route all the same, as a server has that hangs at any other time.

    Raises:
        ServerGone: it has died meanwhile.
    """
    enter(Phase.ANSWERING)
    answer = asyncio.create_task(server.answers_within(server.answer_timeout))
    try:
        while not answer.done():
            await asyncio.wait({answer}, timeout=_LOOK_AGAIN)
            if not (answer.done() and answer.result()):
                await _look(server)
    finally:
        answer.cancel()
    enter(Phase.ROUTING)
    await server.route()
    return answer.result()


async def _look(server: Server) -> None:
    """Raises `ServerGone` if it is known not to run."""
    try:
        if not await server.is_running():
            raise ServerGone
    except Unanswered:
        return
