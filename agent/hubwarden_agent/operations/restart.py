"""What a restart is, step by step.

Invariants: only a container that is this user's and that runs is restarted; from the inspection on, its id is used
and never its name; no change is asked of Docker before the intent is on disk. Never stop and create.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from hubwarden_agent.audit import Audit
from hubwarden_agent.audit_scope import audit_denials, audited, map_engine_errors
from hubwarden_agent.budgets import SlidingWindow, acquire_together
from hubwarden_agent.clock import Clock
from hubwarden_agent.engine.port import Container, ContainerState, Engine, EngineError, EngineUnavailable
from hubwarden_agent.errors import ErrorDetails, Reason, RequestRefused
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import ContainerName, Names, ServerName, Username
from hubwarden_agent.operations.operation_registry import Operation, OperationRegistry
from hubwarden_agent.operations.requests import RestartRequest, RestartResult, answer, entry
from hubwarden_agent.ownership import is_labelled, is_swarm_task, owner_from_labels

RUNNING = frozenset({ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING})
"""What counts as running. Docker's restart would start anything else."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RestartService:
    """Restarts containers, with everything that it needs to do so."""

    engine: Engine
    names: Names
    registry: OperationRegistry
    locks: UserLocks
    audit: Audit
    budget: SlidingWindow
    clock: Clock
    check_mounts: Callable[[Username, Container], None] | None = None
    """Refuses a container that mounts something against the spawn policy; None where there is no gateway."""

    def restart(self, command: RestartRequest) -> RestartResult:
        """Restart a user's running container, or with no request id only say what would happen.

        Raises:
            RequestRefused: see the contract.
        """
        name = self.names.container(command.username, command.server_name)
        if command.expected_container not in ("", name.value):
            raise RequestRefused(Reason.NAME_MISMATCH, detail=ErrorDetails(container=name.value))
        if command.request_id is not None:
            return self.registry.run(command, lambda operation: self._restart(operation, command, name))
        self.locks.check(command.username)
        with map_engine_errors():
            container = self._restartable(command, name)
        self.budget.check(command.username.value)
        return RestartResult.of(container)

    def _restart(self, operation: Operation, command: RestartRequest, name: ContainerName) -> RestartResult:
        intended, charges = entry(command, name.value), [(self.budget, command.username.value)]
        with audit_denials(self.audit, intended):
            before = self._restartable(command, name)
            acquire_together(*charges)
        intended = replace(intended, object_id=before.id.value)
        with audited(self.audit, intended, self.clock, charges) as outcome:
            operation.intent_written = True
            result = RestartResult.of(self._restarted(before, command.stop_timeout))
            outcome.answer = answer(result)
            return result

    def _restartable(self, command: RestartRequest, name: ContainerName) -> Container:
        container = self.engine.container(name)
        if container is None:
            raise RequestRefused(Reason.CONTAINER_NOT_FOUND, detail=ErrorDetails(container=name.value))
        check_restartable(container, command.username, command.server_name, self.names)
        if self.check_mounts is not None:
            self.check_mounts(command.username, container)
        return container

    def _restarted(self, before: Container, stop_timeout: int) -> Container:
        failure: EngineError | None = None
        try:
            self.engine.restart_container(before.id, stop_timeout)
        except EngineError as error:
            _log.warning("restart: the engine reports a failure: %s", error)
            failure = error
        return verify_restart(before, self.engine.container(before.id), failure)


def check_restartable(container: Container, username: Username, server_name: ServerName, names: Names) -> None:
    """Refuse a container that is not this server's, or that does not run.

    Raises:
        RequestRefused: `NOT_OWNED`, `MANAGED_ELSEWHERE`, `SERVER_NOT_RUNNING`.
    """
    detail = ErrorDetails(container=container.name)
    if is_labelled(container) and owner_from_labels(container, names) != (username, server_name):
        raise RequestRefused(Reason.NOT_OWNED, detail=detail)
    if is_swarm_task(container):
        raise RequestRefused(Reason.MANAGED_ELSEWHERE, detail=detail)
    if container.state not in RUNNING:
        raise RequestRefused(Reason.SERVER_NOT_RUNNING, detail=detail)


def verify_restart(before: Container, after: Container | None, failure: EngineError | None) -> Container:
    """Whether a restart did what it should, from what is there afterwards and not from what Docker answered.

    Raises:
        RequestRefused: `RESTART_FAILED` when the container is gone or stopped; `DOCKER_UNAVAILABLE` or `DOCKER_ERROR`
            when it runs but was not restarted.
    """
    detail = ErrorDetails(container=before.name)
    if after is None or after.state is not ContainerState.RUNNING:
        raise RequestRefused(Reason.RESTART_FAILED, detail=detail) from failure
    if after.started == before.started:
        unavailable = isinstance(failure, EngineUnavailable)
        raise RequestRefused(
            Reason.DOCKER_UNAVAILABLE if unavailable else Reason.DOCKER_ERROR, detail=detail
        ) from failure
    return after
