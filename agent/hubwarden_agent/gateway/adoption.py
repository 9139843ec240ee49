"""Whose a container is to the gateway: what its labels say, or with `spawn.adopt` what it was made with.

Invariants: with `adopt = "by-name"` a container without any Hubwarden label is a user's only if this gateway could
be asked for it today. What its inspect shows is read as a create body, by the same schema and the same policy: a name
that is derived forwards from the user and server in its environment, a listed image, volumes of that user's templates,
and nothing else of the host. Only its limits, command and labels are what they were. Nothing about it is changed, and
no request can make such a container: every create is labelled.
"""

from __future__ import annotations

import logging

from hubwarden_agent import ownership
from hubwarden_agent.denials import shown
from hubwarden_agent.engine.port import Container, EngineError, EngineUnavailable
from hubwarden_agent.engine.spawn_port import SpawnEngine
from hubwarden_agent.errors import Reason, RequestRefused
from hubwarden_agent.gateway import create_body, mounts, policy, volume_checks
from hubwarden_agent.names import ContainerName, Names, ServerName, Username
from hubwarden_agent.spawn_policy import SpawnPolicy

_log = logging.getLogger(__name__)


class ContainerOwners:
    """Says whose containers are.

    Args:
        engine: is asked for volumes, and to count.
        names: shared with the RPCs.
        spawn: the operator's policy.
    """

    def __init__(self, engine: SpawnEngine, names: Names, spawn: SpawnPolicy) -> None:
        self._engine = engine
        self._names = names
        self._spawn = spawn

    def owner(self, container: Container) -> tuple[Username, ServerName]:
        """Whose it is.

        Raises:
            RequestRefused: nobody's whom the gateway serves; what it says is for the log.
        """
        if ownership.is_swarm_task(container):
            raise RequestRefused(Reason.NOT_OWNED, "It belongs to a Docker Swarm task.")
        if self._spawn.adopt == "off" or ownership.is_labelled(container):
            owner = ownership.owner_from_labels(container, self._names)
            if owner is None:
                raise RequestRefused(Reason.NOT_OWNED)
            return owner
        plan = adopted(container, self._spawn, self._names)
        volume_checks.check_plain(self._engine, container.mounts)
        return plan.username, plan.server_name

    def count(self) -> int:
        """How many containers there are, those included that are adopted but for what their volumes are.

        An unlabelled one that cannot be read counts too: it could be a user's.
        """
        if self._spawn.adopt == "off":
            return len(self._engine.containers_labelled({ownership.AGENT_LABEL: self._names.scheme}))
        return sum(self._counts(container) for container in self._engine.containers_labelled({}))

    def _counts(self, container: Container) -> bool:
        if ownership.is_labelled(container):
            return container.labels.get(ownership.AGENT_LABEL) == self._names.scheme
        # What it was made with is not in the list. One inspect at a time, as in `Removal`.
        try:
            inspected = self._engine.container(container.id)
            return inspected is not None and bool(adopted(inspected, self._spawn, self._names))
        except RequestRefused:
            return False
        except EngineUnavailable:
            raise
        except EngineError as error:
            _log.warning(
                "a container cannot be read, and is counted",
                extra={"container": container.name, "cause": shown(str(error))},
            )
            return True


def adopted(container: Container, spawn: SpawnPolicy, names: Names) -> policy.Plan:
    """What the gateway would make if it were asked for this container, which nobody labelled.

    Raises:
        RequestRefused: it would not.
    """
    body = create_body.decode(
        {"Image": container.image, "Env": list(container.environment), "HostConfig": dict(container.host_config)}
    )
    if not all(binding.host_ip for _, binding in body.host.published):
        # In a create this stands for the policy's address; here it was left to the engine, which takes every one.
        raise RequestRefused(Reason.NOT_OWNED, "It publishes a port at every address of the host.")
    plan = policy.plan(body, ContainerName(container.name), spawn, names)
    mounts.check_held(container.mounts, mounts.offered(spawn, names, plan.username))
    return plan
