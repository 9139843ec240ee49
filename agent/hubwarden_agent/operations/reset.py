"""What a reset is, step by step (DESIGN, "What a reset is").

What holds here: one volume can be removed, the one that is derived from the user name; no request can name another. The
intent is on disk before anything is removed. Nothing is removed with force, and no volume together with a container.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from hubwarden_agent.audit import AuditTrail, Entry
from hubwarden_agent.budgets import Window, check_together, spend_together
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Conflict, Container, Engine, EngineError, NotFound, Volume
from hubwarden_agent.errors import Detail, Reason, Refusal
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import Names, Username, VolumeName
from hubwarden_agent.operations.commands import Reset, WasReset, answer, fingerprint
from hubwarden_agent.operations.holders import Holder, Removing, removable
from hubwarden_agent.operations.runner import Run, Runner
from hubwarden_agent.ownership import owns
from hubwarden_agent.recording import engine_errors_refused, recorded

REMOVING_PATIENCE = 10.0
"""Seconds that a container which is being removed gets to go away."""
REMOVING_INTERVAL = 0.2

_PLAIN_OPTIONS = frozenset({"size"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """What a reset removes: the volume, and the user's own stopped containers that hold it."""

    volume: Volume
    containers: tuple[Container, ...]


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

    async def reset(self, command: Reset) -> WasReset:
        """Delete a user's home volume, or with no request id only say what would happen.

        Raises:
            Refusal: see the contract.
        """
        name = self.names.home_volume(command.username)
        if command.expected_volume not in ("", name.value):
            raise Refusal(Reason.NAME_MISMATCH, detail=Detail(volume=name.value))
        if command.request_id is not None:
            return await self.runner.run(command, lambda run: self._reset(run, command, name))
        self.locks.check(command.username)
        with engine_errors_refused():
            target = await self._target(command.username, name)
        check_together(*self._budgets(command.username))
        return self._result(target)

    async def _reset(self, run: Run, command: Reset, name: VolumeName) -> WasReset:
        entry = Entry(
            operation="reset",
            username=command.username.value,
            server_name="",
            client=command.client,
            actor=command.actor.value,
            request_id=str(command.request_id),
            object=name.value,
            object_id="",
            fingerprint=fingerprint(command),
        )
        try:
            with engine_errors_refused():
                target = await self._target_when_removed(command.username, name)
            spend_together(*self._budgets(command.username))
        except Refusal as refusal:
            await self.audit.denied(entry, refusal.reason)
            raise
        if not self.total_budget.left(""):
            await self._say_spent(entry)
        async with recorded(self.audit, _with_objects(entry, target), self.clock) as outcome:
            run.acted = True
            await self._remove(target)
            result = self._result(target)
            outcome.answer = answer(result)
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
            return await self._look(username, name)
        except Removing:
            raise Refusal(Reason.OPERATION_IN_PROGRESS, "The server's container is being removed.") from None

    async def _target_when_removed(self, username: Username, name: VolumeName) -> Target:
        give_up = self.clock.monotonic() + REMOVING_PATIENCE
        while self.clock.monotonic() < give_up:
            try:
                return await self._look(username, name)
            except Removing:
                await asyncio.sleep(REMOVING_INTERVAL)
        return await self._target(username, name)

    async def _look(self, username: Username, name: VolumeName) -> Target:
        volume = await self.engine.volume(name)
        if volume is None:
            raise Refusal(Reason.VOLUME_NOT_FOUND, detail=Detail(volume=name.value))
        if not (is_local(volume) or self.policy.allow_non_local):
            raise Refusal(Reason.VOLUME_NOT_LOCAL, detail=Detail(volume=name.value))
        containers = await self.engine.containers_holding(name)
        holders = [Holder(container, owns(username, container, self.names)) for container in containers]
        keep = self.policy.stopped_container == "refuse"
        return Target(volume, removable(name.value, holders, self.clock.now(), keep=keep))

    async def _remove(self, target: Target) -> None:
        name = target.volume.name
        for container in target.containers:
            try:
                await self.engine.remove_container(container.id, anonymous_volumes=False)
            except NotFound:
                _log.info("reset: container %s was gone already", container.name)
            except Conflict as error:
                raise in_use(name, container.name) from error
        present = await self.engine.volume(name)
        if present is None or present.created != target.volume.created:
            raise Refusal(
                Reason.VOLUME_NOT_FOUND, "The home volume changed meanwhile.", detail=Detail(volume=name.value)
            )
        try:
            await self.engine.remove_volume(name)
        except Conflict as error:
            raise in_use(name) from error
        except EngineError as error:
            # The answer can be lost where the deed was done: what is there now decides, as after a restart.
            if await self.engine.volume(name) is not None:
                raise
            _log.warning("reset: the volume is gone, although the engine reports a failure: %s", error)
        await self._recreate(target.volume)

    async def _recreate(self, old: Volume) -> None:
        """Bring back what an operator gave the volume; a plain one is created by the next spawn."""
        if not old.labels and not old.options:
            return
        new = await self.engine.create_volume(old.name, old.driver, old.options, old.labels)
        if (new.driver, new.options, new.labels) != (old.driver, old.options, old.labels):
            _log.error("reset: volume %s came back with other labels or options", old.name)
            raise Refusal(Reason.DOCKER_ERROR, detail=Detail(volume=old.name.value))

    def _result(self, target: Target) -> WasReset:
        return WasReset(
            volume=target.volume.name.value,
            removed_containers=tuple(container.name for container in target.containers),
            completed_at=self.clock.now(),
        )


def is_local(volume: Volume) -> bool:
    """Whether removing the volume erases what a user sees in it.

    With the local driver's `type`, `o` and `device` options a "volume" is a host folder, a device or a network share.
    """
    return volume.driver == "local" and volume.scope == "local" and set(volume.options) <= _PLAIN_OPTIONS


def _with_objects(entry: Entry, target: Target) -> Entry:
    """Names and ids of everything that will be removed; neither can hold a space."""
    names = [target.volume.name.value, *(container.name for container in target.containers)]
    ids = [target.volume.created, *(container.id.value for container in target.containers)]
    return replace(entry, object=" ".join(names), object_id=" ".join(ids))


def in_use(volume: VolumeName, *holders: str) -> Refusal:
    """What a volume or container that somebody took meanwhile is refused with."""
    return Refusal(Reason.VOLUME_IN_USE, detail=Detail(volume=volume.value, holders=holders))
