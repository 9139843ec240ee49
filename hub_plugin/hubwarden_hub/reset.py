"""Resetting homes: the Hub's part, which is to take turns and to keep asking until the outcome is known.

Invariants: two requests for one user are one operation if they carry the same id, and refused otherwise; a client
that goes away changes nothing; a reset is noted before the agent is asked for it, until its outcome is known, so that a
Hub that was killed asks again under the same id; a user with another name is another user, whatever their id. The agent
decides whether a reset may happen. This file must never say that it did when nobody knows.
"""

from __future__ import annotations

import asyncio
from logging import Logger
from typing import Protocol

from hubwarden_hub.agent import Agent
from hubwarden_hub.commands import Home, RequestId, ResetCommand
from hubwarden_hub.errors import OUTCOME_UNKNOWN, AgentError, Reason
from hubwarden_hub.operations import Operation, Phase, Turns
from hubwarden_hub.records import Records

_REMEMBERED = 1000
"""Resets that have ended and can still be asked for; the oldest go."""


class Note(Protocol):
    """Where one user's reset is noted. What changes the Hub's database commits it, with no await in between."""

    def remember(self, command: ResetCommand) -> None:
        """Note it where a killed Hub finds it again."""

    def forget(self) -> None:
        """Its outcome is known."""


class Resets:
    """The resets under way, at most one a user.

    Args:
        agent: does them.
        turns: shared with the Spawners.
        turn_wait: seconds to wait for the user's turn at most.
        log: the Hub's.
        records: told of each reset.
    """

    def __init__(self, agent: Agent, turns: Turns, turn_wait: float, log: Logger, records: Records) -> None:
        self._log = log
        self._records = records
        self._agent = agent
        self._turns = turns
        self._turn_wait = turn_wait
        self._running: dict[int, tuple[Operation[Home], asyncio.Task[None]]] = {}
        self._latest: dict[int, tuple[str, Operation[Home]]] = {}

    def request(self, user_id: int, command: ResetCommand, note: Note, *, left_behind: bool = False) -> Operation[Home]:
        """Begin a reset, or find the one that has this id.

        Args:
            user_id: in the Hub's database.
            command: as it will be repeated if an answer gets lost.
            note: where to note it.
            left_behind: it was noted by a Hub that was killed, and is; an agent that is away is waited for.

        Raises:
            AgentError: `OPERATION_IN_PROGRESS`, a reset with another id is under way.
        """
        if (known := self.known(user_id, command.username, command.request_id)) is not None:
            return known
        if user_id in self._running:
            raise AgentError(Reason.OPERATION_IN_PROGRESS)
        operation = self._begin(user_id, command)
        carrying_out = self._carry_out(user_id, operation, command, note, left_behind=left_behind)
        self._running[user_id] = (operation, asyncio.create_task(carrying_out))
        return operation

    def interrupted(self, user_id: int, command: ResetCommand) -> None:
        """Put on the record that a reset was left behind, and that it is not asked about."""
        self._begin(user_id, command).fail(AgentError(Reason.INTERRUPTED))

    def _begin(self, user_id: int, command: ResetCommand) -> Operation[Home]:
        operation: Operation[Home] = Operation(command.request_id)
        self._latest.pop(user_id, None)
        ended = [known for known in self._latest if known not in self._running]
        for forgotten in ended[: max(0, len(ended) - _REMEMBERED + 1)]:
            del self._latest[forgotten]
        self._latest[user_id] = (command.username, operation)
        self._records.follow(operation, command)
        return operation

    def known(self, user_id: int, username: str, request_id: RequestId) -> Operation[Home] | None:
        """The latest reset of a user's home, if it has this id and it is known, or will be, how it ends."""
        latest = self.latest(user_id, username)
        return latest if latest is not None and latest.request_id == request_id and not latest.is_lost else None

    def latest(self, user_id: int, username: str) -> Operation[Home] | None:
        """The reset of a user's home that is under way, or else the last one that this Hub has seen end.

        Databases give a deleted user's id to the next one: the name tells the two apart.
        """
        whose, operation = self._latest.get(user_id, (None, None))
        return operation if whose == username else None

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
        finally:
            del self._running[user_id]

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
