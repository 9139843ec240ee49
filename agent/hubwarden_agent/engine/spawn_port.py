"""What the spawn gateway asks of a container engine beyond `port`, and the value types for it.

Invariants: as in `port`. It is a port of its own so that an agent without a gateway has no method that creates, starts
or stops a container.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hubwarden_agent.engine.port import Container, Engine, EngineError, Mount
from hubwarden_agent.names import ContainerId, ContainerName


class PullDenied(EngineError):  # noqa: N818 - that is what it is
    """A registry gives an image to nobody, or not without credentials."""


class DiskFull(EngineError):  # noqa: N818 - that is what it is
    """The engine's disk has no room for an image."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image: what DockerSpawner reads of it, and what it brings into its containers.

    `user` is empty for root; `volumes` are the paths that it declares (`VOLUME`); `healthcheck` is whether it has any
    part of a health check; `working_dir` is empty for `/`.
    """

    id: str
    tags: tuple[str, ...]
    command: tuple[str, ...]
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    healthcheck: bool = False
    working_dir: str = ""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """Everything that a new container may consist of. What is not a field here cannot be asked of the engine.

    Every container gets `no-new-privileges` and the engine's default profile; memory is in bytes, `cpus` in processors.
    `published` lists container ports that are published on `publish_address` at a host port of the engine's choice.
    `published` and `exposed_ports` are spelt `"8888/tcp"`. `options` maps fields such as `HostConfig.ShmSize` to the
    operator's own values for them (`spawn_allow`).
    """

    name: ContainerName
    image: str
    labels: Mapping[str, str]
    environment: tuple[str, ...]
    command: tuple[str, ...]
    network: str
    mounts: tuple[Mount, ...]
    memory: int
    cpus: float
    pids: int
    auto_remove: bool
    exposed_ports: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    publish_address: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


class SpawnEngine(Engine, Protocol):
    """Asked as `Engine` is."""

    def containers_labelled(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """Each container, in any state, that has all of these labels; see `containers_holding`."""

    def start_container(self, container: ContainerId) -> None:
        """Start; no effect on a running container. Raises `NotFound`, `Conflict`."""

    def stop_container(self, container: ContainerId, stop_timeout: int) -> None:
        """Stop (SIGTERM, after `stop_timeout` seconds SIGKILL); no effect on a stopped one. Raises `NotFound`."""

    def create_container(self, spec: ContainerSpec) -> ContainerId:
        """Create a container. Raises `NotFound` (image or network), `Conflict` (the name is taken)."""

    def run_in_container(self, container: ContainerId, command: tuple[str, ...], seconds: float) -> int | None:
        """Run a command in a running container, as its user, and discard its output.

        Returns:
            its exit status, or None if it has not ended after `seconds`: it continues.

        Raises:
            NotFound: there is no such container.
            Conflict: it is not running.
            EngineError: the command cannot be started.
        """

    def volume_names(self) -> tuple[str, ...]:
        """The names of all volumes of the engine."""

    def image(self, reference: str) -> Image | None:
        """One image that the engine has; None when it has not."""

    def pull_image(self, reference: str) -> None:
        """Pull an image, without credentials. Raises `NotFound`, `PullDenied`, `DiskFull`."""
