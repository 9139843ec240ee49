"""The fake engine as the gateway asks it: the port that blocks, over the same containers, volumes and images.

A change can be stalled with `hold`, from the test's own thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from hubwarden_agent.engine.port import Conflict, Container, ContainerSpec, ContainerState, Image, NotFound, Volume
from hubwarden_agent.names import ContainerId, ContainerName, VolumeName
from support.fakes.engine import RUNNING, FakeEngine, listed

PATIENCE = 30
"""Seconds until a change that nobody releases goes on, and its test fails."""


class FakeBlockingEngine:
    """What the gateway asks.

    Args:
        fake: where everything is.
    """

    def __init__(self, fake: FakeEngine) -> None:
        self._fake = fake
        self.hold: dict[str, threading.Event] = {}

    def ping(self) -> None:
        self._fake.enter("ping", "")

    def runtime_version(self) -> str | None:
        self._fake.enter("runtime_version", "")
        return self._fake.runtime

    def container(self, reference: ContainerName | ContainerId) -> Container | None:
        self._fake.enter("container", reference.value)
        return self._fake.called(reference.value)

    def remove_container(self, container: ContainerId, *, anonymous_volumes: bool) -> None:
        assert isinstance(anonymous_volumes, bool)
        self._change("remove_container", container.value)
        self._fake.remove(container)

    def volume(self, name: VolumeName) -> Volume | None:
        self._fake.enter("volume", name.value)
        return self._fake.volumes.get(name)

    def containers_labelled(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        self._fake.enter("containers_labelled", "")
        return tuple(listed(c) for c in tuple(self._fake.containers.values()) if labels.items() <= c.labels.items())

    def start_container(self, container: ContainerId) -> None:
        self._change("start_container", container.value)
        known = self._fake.known(container)
        if known.state not in RUNNING:
            self._fake.start(known)

    def stop_container(self, container: ContainerId, stop_timeout: int) -> None:
        assert stop_timeout >= 0
        self._change("stop_container", container.value)
        known = self._fake.known(container)
        if known.auto_remove:
            del self._fake.containers[container]
        elif known.state in RUNNING:
            self._fake.update(known, state=ContainerState.EXITED, addresses={}, ports=())

    def create_container(self, spec: ContainerSpec) -> ContainerId:
        self._change("create_container", spec.name.value)
        if spec.image not in self._fake.images or spec.network not in self._fake.networks:
            raise NotFound("no such image or network")
        if any(container.name == spec.name.value for container in tuple(self._fake.containers.values())):
            raise Conflict("the name is in use")
        for mount in spec.mounts:
            if mount.kind == "volume" and VolumeName(mount.volume) not in self._fake.volumes:
                self._fake.add_volume(mount.volume)
        created = self._fake.add_container(
            spec.name.value,
            ContainerState.CREATED,
            labels=dict(spec.labels),
            image=spec.image,
            image_id=self._fake.images[spec.image].id,
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
        if self._fake.known(container).state is not ContainerState.RUNNING:
            raise Conflict("container is not running")
        self._fake.commands.append(command)
        return self._fake.exit_status

    def volume_names(self) -> tuple[str, ...]:
        self._fake.enter("volume_names", "")
        return tuple(name.value for name in tuple(self._fake.volumes))

    def image(self, reference: str) -> Image | None:
        self._fake.enter("image", reference)
        return self._fake.images.get(reference)

    def pull_image(self, reference: str) -> None:
        self._change("pull_image", reference)
        raise NotFound("there is no registry")

    def _change(self, method: str, name: str) -> None:
        self._fake.enter(method, name)
        self._fake.calls.append((method, name))
        if event := self.hold.get(method):
            event.wait(PATIENCE)
