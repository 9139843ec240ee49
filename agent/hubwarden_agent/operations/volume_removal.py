"""What stands in the way of removing a volume, and its removal: the same for a reset and for an operator's restore.

Invariants: a volume is removed without force, after the user's own stopped containers that hold it, one by one; never
while another container holds it, and only if it still is the one that was inspected.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from hubwarden_agent.audit import AuditEntry
from hubwarden_agent.clock import Clock
from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Conflict, Container, ContainerState, Engine, EngineError, NotFound, Volume
from hubwarden_agent.errors import ErrorDetails, Reason, RequestRefused
from hubwarden_agent.names import Names, Username, VolumeName
from hubwarden_agent.operations.reset_checks import Holder, removable
from hubwarden_agent.operations.restart import RUNNING
from hubwarden_agent.ownership import is_helper, is_labelled, is_local, owns

OUTDATED = RUNNING | {ContainerState.REMOVING}
"""States that Docker's list may still show when an inspect shows another.

The list says running for a moment after a stop, and `removing` after a removal that failed (it is `dead` then).
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What is removed: the volume, and the user's own stopped containers that hold it."""

    volume: Volume
    containers: tuple[Container, ...]

    def named_in(self, entry: AuditEntry) -> AuditEntry:
        """An audit entry with names and ids of all of it; neither can hold a space."""
        names = [self.volume.name.value, *(container.name for container in self.containers)]
        ids = [self.volume.created, *(container.id.value for container in self.containers)]
        return replace(entry, object=" ".join(names), object_id=" ".join(ids))


@dataclass(frozen=True, slots=True)
class Removal:
    """Looks at a user's volume, and removes it."""

    engine: Engine
    names: Names
    policy: ResetPolicy
    clock: Clock

    def inspect(self, username: Username, name: VolumeName) -> RemovalPlan:
        """What a removal would remove.

        Raises:
            RequestRefused: `VOLUME_NOT_FOUND`, `VOLUME_NOT_LOCAL`, `VOLUME_IN_USE`, and what `removable` refuses.
            RemovalInProgress: as `removable`.
            EngineError: the engine does not say.
        """
        volume = self.engine.volume(name)
        if volume is None:
            raise RequestRefused(Reason.VOLUME_NOT_FOUND, detail=ErrorDetails(volume=name.value))
        if not (is_local(volume) or self.policy.allow_non_local):
            raise RequestRefused(Reason.VOLUME_NOT_LOCAL, detail=ErrorDetails(volume=name.value))
        if not volume.labels.keys().isdisjoint(self.policy.protect_labels):
            raise RequestRefused(
                Reason.VOLUME_IN_USE, "Another tool depends on the home volume.", detail=ErrorDetails(name.value)
            )
        using = self.engine.containers_holding(name)
        # Under the user's lock, a helper is what a crash left behind; the next one of the volume takes it away.
        containers = [container for container in using if not is_helper(container, self.names)]
        holders = [holder for container in containers if (holder := self._holder(username, container))]
        return RemovalPlan(volume, removable(name.value, holders, self.clock.now(), self.policy))

    def _holder(self, username: Username, listed: Container) -> Holder | None:
        """Whether a listed container is the user's own; None when it is gone."""
        known = is_labelled(listed) or owns(username, listed, self.names)
        if known and listed.state not in OUTDATED:
            return Holder(listed, owns(username, listed, self.names))
        # Without labels, the environment tells which named server a container is, and the list does not have it. The
        # containers are inspected one after another: the environments of many at once could fill the memory.
        container = self.engine.container(listed.id)
        return Holder(container, owns(username, container, self.names)) if container else None

    def remove(self, target: RemovalPlan) -> None:
        """Remove it.

        Raises:
            RequestRefused: `VOLUME_IN_USE`; `VOLUME_NOT_FOUND` when the volume is not the one that was looked at.
            EngineError: the engine does not do it.
        """
        name = target.volume.name
        for container in target.containers:
            try:
                self.engine.remove_container(container.id, anonymous_volumes=False)
            except NotFound:
                _log.info("removal: container %s was gone already", container.name)
            except Conflict as error:
                raise _in_use(name, container.name) from error
        present = self.engine.volume(name)
        if present is None or present.created != target.volume.created:
            raise RequestRefused(
                Reason.VOLUME_NOT_FOUND, "The home volume changed meanwhile.", detail=ErrorDetails(volume=name.value)
            )
        try:
            self.engine.remove_volume(name)
        except Conflict as error:
            raise _in_use(name) from error
        except EngineError as error:
            # The answer can be lost where the change was made: what is there now decides, as after a restart.
            if self.engine.volume(name) is not None:
                raise
            _log.warning("removal: the volume is gone, although the engine reports a failure: %s", error)


def recreate(engine: Engine, name: VolumeName, like: Volume) -> Volume:
    """Create a volume with the driver, options and labels of another.

    Raises:
        RequestRefused: `DOCKER_ERROR` when it has others, because somebody was quicker.
        EngineError: the engine does not create it.
    """
    new = engine.create_volume(name, like.driver, like.options, like.labels)
    if (new.driver, new.options, new.labels) != (like.driver, like.options, like.labels):
        _log.error("volume %s came back with other labels or options", name)
        raise RequestRefused(Reason.DOCKER_ERROR, detail=ErrorDetails(volume=name.value))
    return new


def _in_use(volume: VolumeName, *holders: str) -> RequestRefused:
    return RequestRefused(Reason.VOLUME_IN_USE, detail=ErrorDetails(volume=volume.value, holders=holders))
