"""Whose a container is, and whether a volume can be a user's at all.

Invariants: a container that carries our labels belongs to whom they say, if they are whole and its name is the one
that we derive from them. One without them belongs to a user only if its name is exactly what we derive for that user
and a server of theirs. No request can set these labels, and a user is never guessed from the beginning of a name.
"""

from __future__ import annotations

from collections.abc import Iterable

from hubwarden_agent.engine.port import HELPER_LABEL, HELPER_NAME, Container, Volume
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.names import Names, ServerName, Username

OWNER_LABEL = "hubwarden.owner"
SERVER_LABEL = "hubwarden.server"
AGENT_LABEL = "hubwarden.agent"
RESERVED_LABEL_PREFIX = "hubwarden."
SWARM_TASK_LABEL = "com.docker.swarm.task.id"
"""Docker sets it on a task's container, over whatever the service asks for."""

_PLAIN_OPTIONS = frozenset({"size"})
_SERVER_NAME_VARIABLE = "JUPYTERHUB_SERVER_NAME="


def labels(username: Username, server_name: ServerName, names: Names) -> dict[str, str]:
    """The labels that make a container this user's."""
    return {OWNER_LABEL: username.value, SERVER_LABEL: server_name.value, AGENT_LABEL: names.scheme}


def owner_from_labels(container: Container, names: Names) -> tuple[Username, ServerName] | None:
    """Whose a container is by our labels; None when they are missing, broken, or another agent's."""
    if container.labels.get(AGENT_LABEL) != names.scheme:
        return None
    owner, server = container.labels.get(OWNER_LABEL), container.labels.get(SERVER_LABEL)
    if owner is None or server is None:
        return None
    try:
        username, server_name = Username(owner), ServerName(server)
        derived = names.container(username, server_name)
    except RequestRefused:
        return None
    return (username, server_name) if derived.value == container.name else None


def is_labelled(container: Container) -> bool:
    """Whether any agent's labels are on the container, whole or not."""
    return any(label.startswith(RESERVED_LABEL_PREFIX) for label in container.labels)


def is_helper(container: Container, names: Names) -> bool:
    """Whether this agent made it to read or write a volume. By its name, too: an image can label its containers."""
    return container.labels.get(HELPER_LABEL) == names.scheme and HELPER_NAME.fullmatch(container.name) is not None


def is_swarm_task(container: Container) -> bool:
    """Whether Docker Swarm made the container for a task. Swarm replaces it when it stops."""
    return SWARM_TASK_LABEL in container.labels


def owns(username: Username, container: Container, names: Names) -> bool:
    """Whether the container is this user's: by our labels, or without any by a name that is derived for the user.

    A Swarm task's container is nobody's: Swarm manages it.
    """
    if is_swarm_task(container):
        return False
    if is_labelled(container):
        owner = owner_from_labels(container, names)
        return owner is not None and owner[0] == username
    return any(_derives(username, server_name, container, names) for server_name in _server_names(container))


def is_local(volume: Volume) -> bool:
    """Whether a volume lies where Docker keeps volumes, so that removing it erases what a user sees in it.

    With another driver, or the local one's `type`, `o` and `device`, a "volume" is a host folder, a device or a share.
    """
    return volume.driver == "local" and volume.scope == "local" and set(volume.options) <= _PLAIN_OPTIONS


def _server_names(container: Container) -> Iterable[str]:
    """The default server, and what the spawner that made this container said the server is called."""
    yield ""
    for variable in container.environment:
        if variable.startswith(_SERVER_NAME_VARIABLE):
            yield variable.removeprefix(_SERVER_NAME_VARIABLE)


def _derives(username: Username, server_name: str, container: Container, names: Names) -> bool:
    try:
        return names.container(username, ServerName(server_name)).value == container.name
    except RequestRefused:
        return False
