"""What a reset is, step by step.

What holds here: one volume can be removed, the one that is derived from the user name; no request can name another. The
intent is on disk before anything is removed, and where policy wants one so is a backup. Nothing is removed with force,
and no volume together with a container.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from hubwarden_agent.audit import Entry
from hubwarden_agent.audit_trails import AuditTrail
from hubwarden_agent.backup_manifest import Manifest
from hubwarden_agent.budgets import Window, check_together, spend_together
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Engine
from hubwarden_agent.errors import Detail, Reason, Refusal
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import Names, RequestId, Username, VolumeName
from hubwarden_agent.operations.backup import Backups
from hubwarden_agent.operations.commands import Reset, WasReset, answer, entry
from hubwarden_agent.operations.holders import Removing
from hubwarden_agent.operations.removal import Removal, Target, create_alike
from hubwarden_agent.operations.runner import Run, Runner
from hubwarden_agent.operations.sizes import Sizes
from hubwarden_agent.recording import considered, engine_errors_refused, recorded

REMOVING_PATIENCE = 10.0
"""Seconds that a container which is being removed gets to go away."""
REMOVING_INTERVAL = 0.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resetter:
    """Resets home volumes, with everything that it needs to do so."""

    engine: Engine
    names: Names
    runner: Runner
    locks: UserLocks
    audit: AuditTrail
    user_budget: Window
    total_budget: Window
    policy: ResetPolicy
    clock: Clock
    backups: Backups
    sizes: Sizes

    @property
    def removal(self) -> Removal:
        """What looks at a volume and removes it."""
        return Removal(self.engine, self.names, self.policy, self.clock)

    async def reset(self, command: Reset) -> WasReset:
        """Delete a user's home volume, or with no request id only say what would happen.

        Raises:
            Refusal: see the contract.
        """
        name = self.names.home_volume(command.username)
        if command.expected_volume not in ("", name.value):
            raise Refusal(Reason.NAME_MISMATCH, detail=Detail(volume=name.value))
        if command.request_id is not None:
            return await self.runner.run(command, lambda run: self._in_turn(run, command, name))
        self.locks.check(command.username)
        with engine_errors_refused():
            target = await self._target(command.username, name)
        check_together(*self._budgets(command.username))
        await self.backups.check(name)
        return self._result(target, None)

    async def _in_turn(self, run: Run, command: Reset, name: VolumeName) -> WasReset:
        async with AsyncExitStack() as turn:
            return await self._reset(run, command, name, turn)

    async def _reset(self, run: Run, command: Reset, name: VolumeName, turn: AsyncExitStack) -> WasReset:
        said, spent = entry(command, name.value), self._budgets(command.username)
        async with considered(self.audit, said):
            target = await self._target_when_removed(command.username, name)
            await turn.enter_async_context(self.backups.turn(name))
            spend_together(*spent)
        async with recorded(self.audit, target.named_in(said), self.clock, spent) as outcome:
            run.acted = True
            if not self.total_budget.left(""):
                await self._say_spent(said)
            kept = await self.backups.take(target.volume, command.username, RequestId(said.request_id))
            await turn.aclose()
            outcome.answer = {"backup_id": kept.backup_id.value} if kept else {}  # also said when no removal follows
            await self.removal.remove(target)
            if target.volume.labels or target.volume.options:  # a plain one is created by the next spawn
                await create_alike(self.engine, name, target.volume)
            result = self._result(target, kept)
            outcome.answer = answer(result)
        await self.backups.prune(name, self.audit, said)
        return result

    def _budgets(self, username: Username) -> tuple[tuple[Window, str], tuple[Window, str]]:
        return (self.user_budget, username.value), (self.total_budget, "")

    async def _say_spent(self, last: Entry) -> None:
        """Say, when the last of the total is spent, that every reset from here on is refused for a while.

        Either the total is too small for this Hub, or somebody is emptying homes through it.
        """
        _log.warning("reset: limits.resets_total is spent", extra={"last_username": last.username})
        everybody = replace(last, username="", actor="", request_id="", object="")
        await self.audit.denied(everybody, Reason.RESET_BUDGET_SPENT)

    async def _target(self, username: Username, name: VolumeName) -> Target:
        try:
            return await self.removal.look(username, name)
        except Removing:
            raise Refusal(Reason.OPERATION_IN_PROGRESS, "The server's container is being removed.") from None

    async def _target_when_removed(self, username: Username, name: VolumeName) -> Target:
        give_up = self.clock.monotonic() + REMOVING_PATIENCE
        while self.clock.monotonic() < give_up:
            try:
                return await self.removal.look(username, name)
            except Removing:
                await asyncio.sleep(REMOVING_INTERVAL)
        return await self._target(username, name)

    def _result(self, target: Target, kept: Manifest | None) -> WasReset:
        return WasReset(
            volume=target.volume.name.value,
            removed_containers=tuple(container.name for container in target.containers),
            completed_at=self.clock.now(),
            backup_id=kept.backup_id.value if kept else "",
            size_bytes=kept.tar_bytes if kept else self.sizes.of(target.volume),
        )
