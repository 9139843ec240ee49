"""What a reset is, step by step.

Invariants: one volume can be removed, the one that is derived from the user name; no request can name another. The
intent is on disk before anything is removed, and where policy wants one so is a backup. Nothing is removed with force,
and no volume together with a container.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

from hubwarden_agent.audit import Audit, AuditEntry
from hubwarden_agent.audit_scope import audit_denials, audited, map_engine_errors
from hubwarden_agent.budgets import SlidingWindow, acquire_together, check_together
from hubwarden_agent.engine.port import Volume
from hubwarden_agent.errors import ErrorDetails, Reason, RequestRefused
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import BackupId, RequestId, Username, VolumeName
from hubwarden_agent.operations.operation_registry import Operation, OperationRegistry
from hubwarden_agent.operations.requests import ResetRequest, ResetResult, answer, entry
from hubwarden_agent.operations.reset_checks import RemovalInProgress
from hubwarden_agent.operations.volume_removal import Removal, RemovalPlan, recreate

REMOVING_PATIENCE = 10.0
"""Seconds that a container which is being removed gets to go away."""
REMOVING_INTERVAL = 0.2

_log = logging.getLogger(__name__)


class Backup(Protocol):
    """A backup that was made."""

    @property
    def backup_id(self) -> BackupId:
        """Its id."""

    @property
    def tar_bytes(self) -> int:
        """How long it is, not compressed."""


class Backups(Protocol):
    """All that a reset needs of `home_content`, which is loaded only if the policy requires backups."""

    def slot(self, volume: VolumeName) -> AbstractContextManager[None]:
        """Hold one of the slots for a backup. Raises `RequestRefused` if no backup can begin now."""

    def take(self, volume: Volume, username: Username, request_id: RequestId) -> Backup:
        """Back the volume up. Raises `RequestRefused` unless the backup is whole and on disk."""

    def prune(self, volume: VolumeName, audit: Audit, reset: AuditEntry) -> None:
        """After that reset, remove backups of the volume that the policy no longer retains. Never fails."""


def unknown_size(_: Volume) -> int:
    """The size of a volume where none are counted."""
    return -1


@dataclass(frozen=True, slots=True)
class ResetService:
    """Resets home volumes, with everything that it needs to do so."""

    removal: Removal
    registry: OperationRegistry
    locks: UserLocks
    audit: Audit
    user_budget: SlidingWindow
    total_budget: SlidingWindow
    backups: Backups | None
    """None: the policy requires none."""
    size_of: Callable[[Volume], int]

    def reset(self, command: ResetRequest) -> ResetResult:
        """Delete a user's home volume, or with no request id only say what would happen.

        Raises:
            RequestRefused: see the contract.
        """
        name = self.removal.names.home_volume(command.username)
        if command.expected_volume not in ("", name.value):
            raise RequestRefused(Reason.NAME_MISMATCH, detail=ErrorDetails(volume=name.value))
        if command.request_id is not None:
            return self.registry.run(command, lambda operation: self._reset(operation, command, name))
        self.locks.check(command.username)
        with map_engine_errors():
            target = self._target(command.username, name)
        check_together(*self._budgets(command.username))
        with self._backup_slot(name):
            return self._result(target, None)

    def _reset(self, operation: Operation, command: ResetRequest, name: VolumeName) -> ResetResult:
        intended, charges = entry(command, name.value), self._budgets(command.username)
        with ExitStack() as slot:
            with audit_denials(self.audit, intended):
                target = self._target_when_removed(command.username, name)
                slot.enter_context(self._backup_slot(name))
                acquire_together(*charges)
            with audited(self.audit, target.named_in(intended), self.removal.clock, charges) as outcome:
                operation.intent_written = True
                if not self.total_budget.remaining(""):
                    self._report_spent(intended)
                backup = self._back_up(target.volume, command.username, RequestId(intended.request_id))
                slot.close()
                # Recorded also when no removal follows.
                outcome.answer = {"backup_id": backup.backup_id.value} if backup else {}
                self.removal.remove(target)
                if target.volume.is_special:  # a plain one is created by the next spawn
                    recreate(self.removal.engine, name, target.volume)
                result = self._result(target, backup)
                outcome.answer = answer(result)
        if self.backups:
            self.backups.prune(name, self.audit, intended)
        return result

    def _backup_slot(self, name: VolumeName) -> AbstractContextManager[None]:
        return self.backups.slot(name) if self.backups else nullcontext()

    def _back_up(self, volume: Volume, username: Username, request_id: RequestId) -> Backup | None:
        return self.backups.take(volume, username, request_id) if self.backups else None

    def _budgets(self, username: Username) -> tuple[tuple[SlidingWindow, str], tuple[SlidingWindow, str]]:
        return (self.user_budget, username.value), (self.total_budget, "")

    def _report_spent(self, last: AuditEntry) -> None:
        """Record that the total budget is spent and that each further reset is refused for a while.

        Either the total is too small for this Hub, or somebody is emptying homes through it.
        """
        _log.warning("reset: limits.resets_total is spent", extra={"last_username": last.username})
        everybody = replace(last, username="", actor="", request_id="", object="")
        self.audit.denied(everybody, Reason.RESET_BUDGET_SPENT)

    def _target(self, username: Username, name: VolumeName) -> RemovalPlan:
        try:
            return self.removal.inspect(username, name)
        except RemovalInProgress:
            raise RequestRefused(Reason.OPERATION_IN_PROGRESS, "The server's container is being removed.") from None

    def _target_when_removed(self, username: Username, name: VolumeName) -> RemovalPlan:
        give_up = self.removal.clock.monotonic() + REMOVING_PATIENCE
        while self.removal.clock.monotonic() < give_up:
            try:
                return self.removal.inspect(username, name)
            except RemovalInProgress:
                self.removal.clock.sleep(REMOVING_INTERVAL)
        return self._target(username, name)

    def _result(self, target: RemovalPlan, backup: Backup | None) -> ResetResult:
        return ResetResult(
            volume=target.volume.name.value,
            removed_containers=tuple(container.name for container in target.containers),
            completed_at=self.removal.clock.now(),
            backup_id=backup.backup_id.value if backup else "",
            size_bytes=backup.tar_bytes if backup else self.size_of(target.volume),
        )
