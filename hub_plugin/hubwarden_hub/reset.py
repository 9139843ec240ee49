"""Resetting homes: the Hub's part, which is to take turns and to keep asking until the outcome is known.

Invariants: a client that goes away changes nothing; a reset is noted before the agent is asked for it, until its
outcome is known, so that the Hub that comes after a killed one asks again under the same id. The agent decides whether
a reset may happen. This file must never say that it did when nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from logging import Logger
from typing import Any, Protocol

from hubwarden_hub.agent import Agent
from hubwarden_hub.commands import Home, ResetCommand
from hubwarden_hub.errors import OUTCOME_UNKNOWN, AgentError, Reason
from hubwarden_hub.operation_queue import Job, OperationQueue, Target
from hubwarden_hub.operations import Operation, Phase, Turns
from hubwarden_hub.records import Kind


class Note(Protocol):
    """Where one user's reset is noted. What changes the Hub's database commits it, with no await in between."""

    def remember(self, command: ResetCommand, *, is_waiting: bool = False) -> None:
        """Note it where the Hub that comes after a killed one finds it, and whether it has begun."""

    def forget(self) -> None:
        """Its outcome is known."""


class Resets:
    """Resets homes.

    Args:
        agent: does it.
        turns: shared with the Spawners.
        turn_wait: seconds to wait for the user's turn at most.
        log: the Hub's.
        queue: begins each reset.
    """

    def __init__(self, agent: Agent, turns: Turns, turn_wait: float, log: Logger, queue: OperationQueue) -> None:
        self._agent, self._turns, self._turn_wait, self._log, self._queue = agent, turns, turn_wait, log, queue

    def request(
        self,
        user_id: int,
        command: ResetCommand,
        note: Note,
        *,
        check: Callable[[], None] = lambda: None,
        is_allowed: Callable[[], bool] = lambda: True,
        left_behind: bool = False,
    ) -> Operation[Home]:
        """Begin a reset, let it wait in the Hub's queue, or find the one that has this id.

        Args:
            user_id: in the Hub's database.
            command: as it will be repeated if an answer gets lost.
            note: where to note it.
            check: raises `AgentError` where the Hub itself knows that it cannot be done.
            is_allowed: whether the author still may; called if the reset had to wait.
            left_behind: it was noted by a Hub that was killed, and is; an agent that is away is waited for.

        Raises:
            AgentError: `OPERATION_IN_PROGRESS`, `TOO_BUSY`, and what `check` raises.
        """

        def begin(operation: Operation[Home]) -> Coroutine[Any, Any, None]:
            check()
            return self._carry_out(user_id, operation, command, note, left_behind=left_behind)

        def note_wait(*, waits: bool) -> None:
            if waits:
                note.remember(command, is_waiting=True)
            else:
                note.forget()

        return self._queue.submit(
            Job(user_id, command, check=check, begin=begin, is_allowed=is_allowed, note=note_wait)
        )

    def latest(self, user_id: int, username: str) -> Operation[Home] | None:
        """The reset of a user's home that runs or waits, or else the last one that this Hub has seen end."""
        return self._queue.latest(Target(user_id, username, Kind.RESET, ""))

    async def _carry_out(
        self, user_id: int, operation: Operation[Home], command: ResetCommand, note: Note, *, left_behind: bool
    ) -> None:
        try:
            async with self._turns.take(user_id, self._turn_wait):
                operation.enter(Phase.CHECKING)
                if not left_behind:
                    await self._reach_agent(command)
                    note.remember(command)
                operation.enter(Phase.REMOVING)
                home = await self._ask(command, note)
            operation.succeed(home)
        except AgentError as error:
            operation.fail(error)
        except Exception:  # noqa: BLE001 - logged; somebody waits for the outcome, whatever went wrong
            self._log.exception("Reset %s failed", command.request_id)
            operation.fail(AgentError(Reason.DOCKER_ERROR))

    async def _ask(self, command: ResetCommand, note: Note) -> Home:
        """What the agent says to it. The note stays when that is nothing, for the next Hub to ask again."""
        try:
            home = await self._agent.reset(command)
        except AgentError as error:
            if error.reason not in OUTCOME_UNKNOWN:
                note.forget()
            raise
        note.forget()
        return home

    async def _reach_agent(self, command: ResetCommand) -> None:
        """Find out at once when the agent is away, before there is an outcome that could get lost and be waited for.

        Any other refusal is for the reset itself to give: the id may be that of one that was done already.
        """
        try:
            await self._agent.check_reset(command)
        except AgentError as error:
            if error.reason in OUTCOME_UNKNOWN:
                raise
