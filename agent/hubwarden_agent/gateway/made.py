"""The containers that this agent made: whose they are need not be asked of Docker again before each change.

Invariants: only what Docker cannot change about a container that is there: its labels, which say whose it is, and
what it mounts. An id is Docker's, and never used twice. What is not remembered is asked for, so that forgetting costs a
question and nothing else.
Never: a container that we did not make, or a state.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hubwarden_agent.engine.port import Mount
from hubwarden_agent.names import ContainerId, ServerName, Username


@dataclass(frozen=True, slots=True)
class Owned:
    """A container of the Hub's, and whose it is. `name` is what it was called when we last looked."""

    id: ContainerId
    name: str
    username: Username
    server_name: ServerName
    mounts: tuple[Mount, ...]


class Made:
    """What is remembered; the oldest is forgotten first.

    Args:
        maximum: how many; no more than may be there at once.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._containers: dict[str, Owned] = {}
        self._noting = threading.Lock()

    def note(self, container: Owned) -> None:
        """It was created."""
        with self._noting:
            while len(self._containers) >= self._maximum:
                del self._containers[next(iter(self._containers))]
            self._containers[container.id.value] = container

    def get(self, reference: str) -> Owned | None:
        """The container of this whole id, if we made it and remember."""
        return self._containers.get(reference)

    def forget(self, container: ContainerId) -> None:
        """It is gone."""
        with self._noting:
            self._containers.pop(container.value, None)
