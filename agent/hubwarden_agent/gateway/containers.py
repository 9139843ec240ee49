"""The Hub's own containers: finding, showing, starting, stopping and removing them.

Invariants: a container is shown or changed only if `ContainerOwners` knows its owner; all others do not exist. A
reference is resolved once, and from then on the id is used. Mutating calls hold the user's lock and are audited;
reading calls do neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hubwarden_agent.budgets import SlidingWindow, acquire_together
from hubwarden_agent.engine.port import Conflict, Container, Mount, NotFound
from hubwarden_agent.engine.spawn_port import SpawnEngine
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway import mounts, refusals, responses, volume_checks
from hubwarden_agent.gateway.adoption import ContainerOwners
from hubwarden_agent.gateway.request_context import ChangeRecorder, RequestContext, Response, json_response
from hubwarden_agent.gateway.routes import ApiRequest
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.names import ContainerId, ContainerName, ServerName, Username

STOP_SECONDS = 10
"""Between SIGTERM and SIGKILL: what Docker takes when, as DockerSpawner does, nobody says anything else."""

CHANGES_PER_USER = "30/minute"
"""Starts, stops and removals: each costs two lines of the audit, which keeps only so many."""


@dataclass(frozen=True, slots=True)
class OwnedContainer:
    """A container of the Hub's, and whose it is, as Docker just showed it."""

    id: ContainerId
    name: str
    username: Username
    server_name: ServerName
    mounts: tuple[Mount, ...]


class Containers:
    """Answers calls about containers that exist.

    Args:
        engine: the container engine.
        owners: says whose a container is.
        locks: the users' locks, shared with the RPCs.
        recorder: puts what is done on the record.
        changes: how often one user's containers may be changed.
        offered: what a user's containers may mount.
    """

    def __init__(
        self,
        engine: SpawnEngine,
        owners: ContainerOwners,
        locks: UserLocks,
        recorder: ChangeRecorder,
        changes: SlidingWindow,
        offered: Callable[[Username], mounts.Offered],
    ) -> None:
        self._engine = engine
        self._owners = owners
        self._locks = locks
        self._recorder = recorder
        self._changes = changes
        self._offered = offered

    def inspect(self, call: ApiRequest, _context: RequestContext) -> Response:
        """`GET /containers/{reference}/json`."""
        container, _ = self._shown(call.reference)
        return json_response(200, responses.container(container))

    def start(self, call: ApiRequest, context: RequestContext) -> Response:
        """`POST /containers/{reference}/start`; no effect on a running one."""
        with self.changing(call.reference, context) as container:
            mounts.check_held(container.mounts, self._offered(container.username))
            volume_checks.check_plain(self._engine, container.mounts)
            try:
                self._engine.start_container(container.id)
            except Conflict as error:
                message = "hubwarden: the container cannot be started in its present state"
                raise refusals.GatewayRefusal(message, Reason.CONFLICT) from error
        return Response(204)

    def stop(self, call: ApiRequest, context: RequestContext) -> Response:
        """`POST /containers/{reference}/stop`; no effect on a stopped one."""
        with self.changing(call.reference, context) as container:
            self._engine.stop_container(container.id, STOP_SECONDS)
        return Response(204)

    def remove(self, call: ApiRequest, context: RequestContext) -> Response:
        """`DELETE /containers/{reference}`, never with force; volumes go with it that have no name, and no other."""
        with self.changing(call.reference, context) as container:
            try:
                self._engine.remove_container(container.id, anonymous_volumes=True)
            except Conflict as error:
                raise self._not_removable(container.id) from error
        return Response(204)

    def found(self, reference: str, context: RequestContext) -> OwnedContainer:
        """The container of this name or full id, if it is the Hub's.

        Raises:
            GatewayRefusal: 404.
        """
        _, container = self._shown(reference)
        context.set_target(container.username, container.server_name, container.name, container.id.value)
        return container

    @contextmanager
    def changing(self, reference: str, context: RequestContext) -> Iterator[OwnedContainer]:
        """The container, with its user's lock held and the body on the record. Raises as `found` does."""
        container = self.found(reference, context)
        with self._locks.hold(container.username):
            charge = (self._changes, container.username.value)
            acquire_together(charge)
            with self._recorder.change(context, charge):
                try:
                    yield container
                except NotFound as error:
                    if self._engine.container(container.id) is None:
                        raise refusals.no_such_container(reference) from error
                    message = "hubwarden: something that the container needs is not there, such as its network"
                    raise refusals.GatewayRefusal(message, Reason.NOT_FOUND) from error

    def _shown(self, reference: str) -> tuple[Container, OwnedContainer]:
        by_id = ContainerId.pattern.fullmatch(reference)
        container = self._engine.container(ContainerId(reference) if by_id else ContainerName(reference))
        # Docker also finds containers by the beginning of their id; here a reference is a whole name or a whole id.
        if container is None or reference not in (container.id.value, container.name):
            raise refusals.no_such_container(reference)
        try:
            username, server_name = self._owners.owner(container)
        except RequestRefused as refusal:
            raise refusals.no_such_container(reference) from refusal
        return container, OwnedContainer(container.id, container.name, username, server_name, container.mounts)

    def _not_removable(self, identifier: ContainerId) -> refusals.GatewayRefusal:
        """As Docker words it; DockerSpawner tolerates either. An AutoRemove container that stopped is being removed."""
        container = self._engine.container(identifier)
        if container is not None and container.state in responses.ALIVE:
            message = f"cannot remove container {identifier}: stop the container before removing it"
            return refusals.GatewayRefusal(message, Reason.SERVER_RUNNING)
        message = f"removal of container {identifier} is already in progress"
        return refusals.GatewayRefusal(message, Reason.OPERATION_IN_PROGRESS)
