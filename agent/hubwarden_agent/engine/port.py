"""What the agent asks of a container engine, and the value types that cross this line.

Invariants:
- Each method takes value types only, so nothing can be asked for an object whose name was not parsed or derived.
- Each failure is one of the `EngineError`s.
- `docker_engine` implements the port over Docker and the tests' fake in memory; one contract test suite runs over both.

Must not: know HTTP or the Docker SDK.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hubwarden_agent.names import ContainerId, ContainerName, VolumeName

if TYPE_CHECKING:
    from hubwarden_agent.engine.home_port import HomeEngine

HELPER_LABEL = "hubwarden.helper"
"""On helper containers: the scheme of the agent that made them."""
HELPER_NAME = re.compile("hubwarden-helper-[0-9a-f]{16}")


class EngineError(Exception):
    """The engine said something we did not expect. Its text is for the agent's log, never for an answer."""


class EngineUnavailable(EngineError):  # noqa: N818 - "unavailable" is the field's word for it
    """The engine does not answer: no socket, no connection, or no answer in time."""


class NotFound(EngineError):  # noqa: N818 - HTTP's name for 404
    """What was named does not exist (any more)."""


class Conflict(EngineError):  # noqa: N818 - HTTP's name for 409
    """The engine refuses because of the object's present state, for example a volume that a container holds."""


class ContainerState(enum.StrEnum):
    """Docker's `State.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A container's port as it is published on the host."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of a container.

    `volume` is set for named volumes; `source` is the host path of a bind; `size` (bytes) and `mode` are a tmpfs's.
    """

    kind: str
    target: str
    read_only: bool = False
    volume: str = ""
    source: str = ""
    size: int = 0
    mode: int = 0


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine shows it. `name` is text, since others' containers are called what others like.

    `image` is the reference it was created from, `image_id` what that was at the time. `environment` holds secrets:
    only the gateway may pass it on, and only of the Hub's own containers. `host_config` is what it asks of the host, in
    Docker's own words; only a `SpawnEngine` fills it. Empty values, what Docker sets of its own accord, and limits are
    left out. It is never shown.
    """

    id: ContainerId
    name: str
    state: ContainerState
    created: dt.datetime
    started: dt.datetime | None = None
    finished: str = ""
    exit_code: int = 0
    error: str = ""
    out_of_memory: bool = False
    auto_remove: bool = False
    image: str = ""
    image_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: tuple[str, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    host_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as the engine shows it. `created` is text: it is only ever compared."""

    name: VolumeName
    driver: str
    scope: str
    created: str
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_special(self) -> bool:
        """Whether it has anything that a volume which Docker creates for a container would not have."""
        return self.driver != "local" or bool(self.labels or self.options)


class Engine(Protocol):
    """What the agent asks, from any thread. Each method blocks, and raises `EngineError` or what is named beside it."""

    def ping(self) -> None:
        """Check that the engine answers, in an API version that the agent speaks."""

    def runtime_version(self) -> str | None:
        """The version of runc that containers start with; None if Docker names none, or another runtime."""

    def container(self, reference: ContainerName | ContainerId) -> Container | None:
        """One container by name or id; None when there is none."""

    def containers_holding(self, volume: VolumeName) -> tuple[Container, ...]:
        """Each container, in any state, that mounts this volume, from the engine's list.

        Only id, name, state, image, labels, mounts and `created` (in whole seconds) are known. A Hub chooses how large
        its containers' environments are, so none is read here. Docker's list shows a stop a moment late.
        """

    def restart_container(self, container: ContainerId, stop_timeout: int) -> None:
        """Stop (SIGTERM, after `stop_timeout` seconds SIGKILL) and start the same container.

        Raises:
            NotFound: it is gone, perhaps because it removes itself and its start failed.
            EngineError: it did not start again.
        """

    def remove_container(self, container: ContainerId, *, anonymous_volumes: bool) -> None:
        """Remove a stopped container, never with force. Raises `NotFound`, `Conflict` (running, or being removed)."""

    def volume(self, name: VolumeName) -> Volume | None:
        """One volume; None when there is none."""

    def create_volume(
        self, name: VolumeName, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> Volume:
        """Create a volume. Docker silently returns an existing one: the caller compares."""

    def remove_volume(self, name: VolumeName) -> None:
        """Remove a volume, never with force. Raises `NotFound`, `Conflict` (a container holds it)."""

    def homes(self) -> HomeEngine:
        """What reads and writes the content of volumes; loaded when it is first asked for."""

    def remove_helpers(self, scheme: str, volume: VolumeName | None = None) -> None:
        """Remove, by force, each helper container that an agent of this scheme left behind (on this volume)."""
