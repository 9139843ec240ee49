"""Who holds a home volume, and what follows: a pure decision over all holders at once.

Invariants: a user's own running server is named before anything foreign; a foreign holder, in any state, always
stops a reset; only the user's own stopped containers are ever chosen for removal.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from hubwarden_agent.config import ResetPolicy
from hubwarden_agent.engine.port import Container, ContainerState
from hubwarden_agent.errors import ErrorDetails, Reason, RequestRefused
from hubwarden_agent.operations.restart import RUNNING


@dataclass(frozen=True, slots=True)
class Holder:
    """A container that mounts the volume, and whether it is the user's own."""

    container: Container
    own: bool


class RemovalInProgress(Exception):  # noqa: N818 - a state to wait for, not an error
    """One of the user's own containers is being removed: look again in a moment."""


def removable(volume: str, holders: Sequence[Holder], now: dt.datetime, policy: ResetPolicy) -> tuple[Container, ...]:
    """The user's own stopped containers, which a reset removes first.

    Args:
        volume: the volume's name, for the refusal.
        holders: every container that mounts the volume, in any state.
        now: what `Container.created` is compared with.
        policy: whether stopped containers may go, and when one that was created and not started counts as stopped.

    Raises:
        RequestRefused: `SERVER_RUNNING`, `OPERATION_IN_PROGRESS` (a spawn is under way), `VOLUME_IN_USE` or
            `CONTAINER_KEPT`.
        RemovalInProgress: an own container is on its way out and nothing else stands in the way.
    """
    own = [holder.container for holder in holders if holder.own]
    foreign = [holder.container for holder in holders if not holder.own]
    if running := [container for container in own if container.state in RUNNING]:
        raise RequestRefused(Reason.SERVER_RUNNING, detail=_detail(volume, running))
    youngest = now - dt.timedelta(seconds=policy.start_timeout)
    if spawning := [one for one in own if one.state is ContainerState.CREATED and one.created > youngest]:
        raise RequestRefused(
            Reason.OPERATION_IN_PROGRESS, "The server is being started.", detail=_detail(volume, spawning)
        )
    if foreign:
        raise RequestRefused(Reason.VOLUME_IN_USE, detail=_detail(volume, foreign))
    if any(container.state is ContainerState.REMOVING for container in own):
        raise RemovalInProgress
    if own and policy.stopped_container == "refuse":
        raise RequestRefused(Reason.CONTAINER_KEPT, detail=_detail(volume, own))
    return tuple(own)


def _detail(volume: str, containers: Sequence[Container]) -> ErrorDetails:
    return ErrorDetails(volume=volume, holders=tuple(sorted(container.name for container in containers)))
