"""An engine in memory that implements the real port. The contract tests run over it and over Docker alike.

It records `calls` (what was asked to change something) and `questions` (everything that was asked), both in order. It
can be told to fail (`fail_next`), to hold a change until it is released (`hold`), or to change something at the moment
of a call (`before`), which is how races are made.
"""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from hubwarden_agent.engine.home_port import HOME
from hubwarden_agent.engine.port import (
    HELPER_LABEL,
    HELPER_NAME,
    Conflict,
    Container,
    ContainerState,
    EngineError,
    EngineUnavailable,
    Mount,
    NotFound,
    PublishedPort,
    Volume,
)
from hubwarden_agent.engine.spawn_port import ContainerSpec, Image
from hubwarden_agent.names import ContainerId, ContainerName, VolumeName
from support.fakes.homes import FakeHomes

RUNNING = {ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING}
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PATIENCE = 30
"""Seconds until a change that nobody releases continues, and its test fails."""


class FakeEngine:
    """Containers, volumes and images in memory."""

    def __init__(self) -> None:
        self.containers: dict[ContainerId, Container] = {}
        self.volumes: dict[VolumeName, Volume] = {}
        self.contents: dict[VolumeName, tuple[bytes, ...]] = {}
        self.images: dict[str, Image] = {}
        self.networks: set[str] = {"bridge"}
        self.available = True
        self.runtime: str | None = "1.3.3"
        self.calls: list[tuple[str, str]] = []
        self.questions: list[str] = []
        self.commands: list[tuple[str, ...]] = []
        self.exit_status: int | None = 0
        self.fail_next: dict[str, EngineError] = {}
        self.before: dict[str, Callable[[], object]] = {}
        self.hold: dict[str, threading.Event] = {}
        self._numbers = itertools.count(1)

    # What tests put there.

    def add_container(self, name: str, state: ContainerState = ContainerState.RUNNING, **fields: object) -> Container:
        """A container, started a while ago if it runs."""
        number = next(self._numbers)
        container = Container(
            id=ContainerId(f"{number:064x}"),
            name=name,
            state=state,
            created=START + dt.timedelta(seconds=number),
            started=START + dt.timedelta(seconds=number) if state is not ContainerState.CREATED else None,
        )
        container = replace(container, **fields)  # type: ignore[arg-type] # fields are the test's business
        self.containers[container.id] = container
        return container

    def add_volume(self, name: str, **fields: object) -> Volume:
        """A plain local volume."""
        created = (START + dt.timedelta(seconds=next(self._numbers))).isoformat()
        volume = replace(Volume(VolumeName(name), "local", "local", created), **fields)  # type: ignore[arg-type] # fields are the test's business
        self.volumes[volume.name] = volume
        return volume

    def add_image(self, reference: str) -> Image:
        """An image with a command."""
        image = Image(f"sha256:{next(self._numbers):064x}", (reference,), ("jupyterhub-singleuser",))
        self.images[reference] = image
        return image

    def update(self, container: Container, **fields: object) -> Container:
        """Change a container behind everybody's back."""
        changed = replace(self.containers[container.id], **fields)  # type: ignore[arg-type] # fields are the test's business
        self.containers[container.id] = changed
        return changed

    # The port.

    def ping(self) -> None:
        self._enter("ping", "")

    def runtime_version(self) -> str | None:
        self._enter("runtime_version", "")
        return self.runtime

    def container(self, reference: ContainerName | ContainerId) -> Container | None:
        self._enter("container", reference.value)
        return self._called(reference.value)

    def containers_holding(self, volume: VolumeName) -> tuple[Container, ...]:
        self._enter("containers_holding", volume.value)
        return tuple(listed(container) for container in self._holding(volume))

    def restart_container(self, container: ContainerId, stop_timeout: int) -> None:
        assert stop_timeout >= 0
        self._change("restart_container", container.value)
        self._start(self._known(container))

    def remove_container(self, container: ContainerId, *, anonymous_volumes: bool) -> None:
        assert isinstance(anonymous_volumes, bool)
        self._change("remove_container", container.value)
        self._remove(container)

    def volume(self, name: VolumeName) -> Volume | None:
        self._enter("volume", name.value)
        return self.volumes.get(name)

    def create_volume(
        self, name: VolumeName, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> Volume:
        self._change("create_volume", name.value)
        if name not in self.volumes:
            self.add_volume(name.value, driver=driver, options=dict(options), labels=dict(labels))
        return self.volumes[name]

    def remove_volume(self, name: VolumeName) -> None:
        self._change("remove_volume", name.value)
        if name not in self.volumes:
            raise NotFound("no such volume")
        if self._holding(name):
            raise Conflict("volume is in use")
        del self.volumes[name]
        self.contents.pop(name, None)

    def homes(self) -> FakeHomes:
        return FakeHomes(self)

    def remove_helpers(self, scheme: str, volume: VolumeName | None = None) -> None:
        self._enter("remove_helpers", scheme)
        for one in self._holding(volume) if volume else tuple(self.containers.values()):
            if one.labels.get(HELPER_LABEL) == scheme and HELPER_NAME.fullmatch(one.name):
                del self.containers[one.id]

    def containers_labelled(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        self._enter("containers_labelled", "")
        return tuple(listed(c) for c in tuple(self.containers.values()) if labels.items() <= c.labels.items())

    def start_container(self, container: ContainerId) -> None:
        self._change("start_container", container.value)
        known = self._known(container)
        if known.state not in RUNNING:
            self._start(known)

    def stop_container(self, container: ContainerId, stop_timeout: int) -> None:
        assert stop_timeout >= 0
        self._change("stop_container", container.value)
        known = self._known(container)
        if known.auto_remove:
            del self.containers[container]
        elif known.state in RUNNING:
            self.update(known, state=ContainerState.EXITED, addresses={}, ports=())

    def create_container(self, spec: ContainerSpec) -> ContainerId:
        self._change("create_container", spec.name.value)
        if spec.image not in self.images or spec.network not in self.networks:
            raise NotFound("no such image or network")
        if any(container.name == spec.name.value for container in tuple(self.containers.values())):
            raise Conflict("the name is in use")
        for mount in spec.mounts:
            if mount.kind == "volume" and VolumeName(mount.volume) not in self.volumes:
                self.add_volume(mount.volume)
        created = self.add_container(
            spec.name.value,
            ContainerState.CREATED,
            labels=dict(spec.labels),
            image=spec.image,
            image_id=self.images[spec.image].id,
            environment=spec.environment,
            command=spec.command,
            mounts=spec.mounts,
            auto_remove=spec.auto_remove,
            exposed_ports=spec.exposed_ports,
        )
        return created.id

    def run_in_container(self, container: ContainerId, command: tuple[str, ...], seconds: float) -> int | None:
        assert seconds > 0
        self._change("run_in_container", container.value)
        if self._known(container).state is not ContainerState.RUNNING:
            raise Conflict("container is not running")
        self.commands.append(command)
        return self.exit_status

    def volume_names(self) -> tuple[str, ...]:
        self._enter("volume_names", "")
        return tuple(name.value for name in tuple(self.volumes))

    def image(self, reference: str) -> Image | None:
        self._enter("image", reference)
        return self.images.get(reference)

    def pull_image(self, reference: str) -> None:
        self._change("pull_image", reference)
        raise NotFound("there is no registry")

    # How it fails, waits and races.

    @contextmanager
    def helping(self, volume: VolumeName, scheme: str) -> Iterator[None]:
        """A helper container that holds the volume for the body."""
        mount, labels = Mount("volume", HOME, volume=volume.value), {HELPER_LABEL: scheme}
        helper = self.add_container(f"hubwarden-helper-{next(self._numbers):016x}", mounts=(mount,), labels=labels)
        try:
            self._change("help", volume.value)
            yield
        finally:
            del self.containers[helper.id]

    def ask(self, method: str) -> None:
        """A question that may take long."""
        self._enter(method, "")
        self._wait(method)

    def _change(self, method: str, name: str) -> None:
        self._enter(method, name)
        self.calls.append((method, name))
        self._wait(method)

    def _wait(self, method: str) -> None:
        if event := self.hold.get(method):
            event.wait(PATIENCE)

    def _enter(self, method: str, name: str) -> None:
        assert isinstance(name, str)
        self.questions.append(method)
        if happening := self.before.pop(method, None):
            happening()
        if not self.available:
            raise EngineUnavailable("no such file or directory: docker.sock SECRET-FROM-DOCKER")
        if error := self.fail_next.pop(method, None):
            raise error

    def _called(self, reference: str) -> Container | None:
        """The container of this name or id."""
        return next((one for one in tuple(self.containers.values()) if reference in (one.name, one.id.value)), None)

    def _remove(self, container: ContainerId) -> None:
        """Remove one that does not run."""
        if self._known(container).state in RUNNING:
            raise Conflict("you cannot remove a running container")
        del self.containers[container]

    def _known(self, container: ContainerId) -> Container:
        if container not in self.containers:
            raise NotFound("no such container")
        return self.containers[container]

    def _holding(self, volume: VolumeName) -> tuple[Container, ...]:
        return tuple(c for c in self.containers.values() if any(m.volume == volume.value for m in c.mounts))

    def _start(self, container: Container) -> None:
        number = next(self._numbers)
        self.update(
            container,
            state=ContainerState.RUNNING,
            started=START + dt.timedelta(seconds=number),
            addresses={"bridge": f"10.0.0.{number % 250 + 2}"},
            ports=tuple(PublishedPort(8888, "tcp", "127.0.0.1", 30000 + number) for _ in container.exposed_ports),
        )


def listed(container: Container) -> Container:
    """What Docker's list shows of a container."""
    return Container(
        container.id,
        container.name,
        container.state,
        container.created.replace(microsecond=0),
        image=container.image,
        image_id=container.image_id,
        labels=container.labels,
        mounts=container.mounts,
    )


def home_of(username: str) -> Mount:
    """The mount of a user's home, by the default template and for a user name without anything to escape."""
    return Mount("volume", "/home/jovyan", volume=f"jupyterlab-{username}_home")
