"""The port over a real Docker engine: each request, made with the Docker SDK in the thread that asks.

Invariants:
- Docker is asked for what the port's methods describe and for nothing else.
- Each failure leaves as one of the port's errors.
- Requests that change something use the long timeout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import docker.errors

from hubwarden_agent.engine import docker_json
from hubwarden_agent.engine.docker_client import DockerClients, map_errors
from hubwarden_agent.engine.port import (
    HELPER_LABEL,
    HELPER_NAME,
    Container,
    EngineUnavailable,
    Volume,
)
from hubwarden_agent.names import ContainerId, ContainerName, VolumeName

if TYPE_CHECKING:
    from hubwarden_agent.engine.home_port import HomeEngine

Result = TypeVar("Result")


class DockerEngine:
    """A Docker engine on a unix socket. Connects at the first question, so it may be away when the agent starts.

    Args:
        host: the engine's address.
        timeout: seconds for a question that changes nothing.
        change_timeout: seconds for a request that changes something, beyond a stop timeout.
        timed: is entered around each request.
    """

    def __init__(
        self,
        host: str,
        timeout: int,
        change_timeout: int,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._timed = timed
        self._clients = DockerClients(host.removeprefix("unix://"), timeout, change_timeout)
        self._closed = False
        self._timeout = timeout
        self._lists = ThreadPoolExecutor(1, "docker-lists")

    def close(self) -> None:
        """Send no further request. Docker completes those that it was sent."""
        self._closed = True

    def ping(self) -> None:
        """See `Engine.ping`."""
        with self._asking():
            self._clients.negotiate()

    def runtime_version(self) -> str | None:
        """See `Engine.runtime_version`."""
        with self._asking():
            return docker_json.runtime_version(self._clients.reading.version())

    def container(self, reference: ContainerName | ContainerId) -> Container | None:
        """See `Engine.container`."""
        with self._asking():
            found = or_none(lambda: self._read(self._clients.reading.inspect_container(reference.value)))
        # Docker also takes the beginning of an id: a name made of hexadecimal digits could find anybody's container.
        if found is None or reference.value not in (found.name, found.id.value):
            return None
        return found

    def containers_holding(self, volume: VolumeName) -> tuple[Container, ...]:
        """See `Engine.containers_holding`. Docker's filter also matches mount points, hence the second look."""
        found = self._listed({"volume": [volume.value]})
        return tuple(one for one in found if any(mount.volume == volume.value for mount in one.mounts))

    def restart_container(self, container: ContainerId, stop_timeout: int) -> None:
        """See `Engine.restart_container`."""
        with self._asking():
            self._clients.changing.restart(container.value, timeout=stop_timeout)

    def remove_container(self, container: ContainerId, *, anonymous_volumes: bool) -> None:
        """See `Engine.remove_container`."""
        with self._asking():
            self._clients.changing.remove_container(container.value, v=anonymous_volumes)

    def volume(self, name: VolumeName) -> Volume | None:
        """See `Engine.volume`."""
        with self._asking():
            return or_none(lambda: docker_json.volume(self._clients.reading.inspect_volume(name.value)))

    def create_volume(
        self, name: VolumeName, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> Volume:
        """See `Engine.create_volume`."""
        with self._asking():
            created = self._clients.changing.create_volume(name.value, driver, dict(options), dict(labels))
            return docker_json.volume(created)

    def remove_volume(self, name: VolumeName) -> None:
        """See `Engine.remove_volume`."""
        with self._asking():
            self._clients.changing.remove_volume(name.value)

    def homes(self) -> HomeEngine:
        """See `Engine.homes`."""
        from hubwarden_agent.engine.docker_homes import DockerHomes  # noqa: PLC0415 - most agents never read a home

        return DockerHomes(self._clients)

    def remove_helpers(self, scheme: str, volume: VolumeName | None = None) -> None:
        """See `Engine.remove_helpers`. By name too: an image can give its containers any label."""
        filters = {"label": [f"{HELPER_LABEL}={scheme}"]} | ({"volume": [volume.value]} if volume else {})
        with self._asking():
            for found in self._clients.reading.containers(all=True, filters=filters):
                if any(HELPER_NAME.fullmatch(name.removeprefix("/")) for name in found["Names"]):
                    self._clients.changing.remove_container(found["Id"], v=True, force=True)

    def _read(self, data: Mapping[str, Any]) -> Container:
        return docker_json.container(data)

    def _listed(self, filters: Mapping[str, list[str]]) -> tuple[Container, ...]:
        # A list has the command of each container, and takes many times its length while it is parsed. One thread reads
        # and parses all of them, one at a time. A lock would not do: each thread that has parsed a list keeps memory.
        with self._asking():
            listing = self._lists.submit(self._list, filters)
            try:
                return listing.result(self._timeout)
            finally:
                listing.cancel()

    def _list(self, filters: Mapping[str, list[str]]) -> tuple[Container, ...]:
        entries = self._clients.reading.containers(all=True, filters=filters)
        return tuple(docker_json.listed_container(entry) for entry in entries)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._timed(), map_errors():
            if self._closed:
                raise EngineUnavailable("the agent is shutting down")
            yield


def or_none(question: Callable[[], Result]) -> Result | None:
    """What Docker answers; None for 404."""
    try:
        return question()
    except docker.errors.NotFound:
        return None
