"""The port over a real Docker engine. The only module that imports Docker's client.

What holds here: Docker is asked for what the port's methods say and nothing else; every failure leaves as one of the
port's errors. Whatever changes something has threads of its own, so that six servers that ignore SIGTERM, or a burst of
spawns, do not keep anybody's inspect waiting.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import docker  # noqa: TID251 - this is the module that talks to Docker
from docker import errors as docker_errors  # noqa: TID251 - as above

from hubwarden_agent.engine import docker_json
from hubwarden_agent.engine.docker_archive import Helpers, remove_helpers
from hubwarden_agent.engine.docker_http import asked_json, translated
from hubwarden_agent.engine.helper_body import helper_body
from hubwarden_agent.engine.port import (
    Container,
    ContainerSpec,
    EngineUnavailable,
    Helper,
    Image,
    NotFound,
    Version,
    Volume,
    VolumeSize,
)
from hubwarden_agent.names import ContainerId, ContainerName, VolumeName

QUICK_THREADS = 16
EXEC_POLL_SECONDS = 0.05
"""Between two looks at whether a command has ended: Docker has no call that waits for one without its output."""
API_THAT_SIZES_VOLUMES = (1, 42)
"""Before it, Docker cannot count volumes without images, containers and build cache."""

Result = TypeVar("Result")


class DockerEngine:
    """A Docker engine on a unix socket. Connects at the first question, so it may be away when the agent starts.

    Args:
        host: the engine's address.
        timeout: seconds for a question that changes nothing.
        slow_timeout: seconds for a change, beyond a stop timeout; Docker goes on with one that nobody waits for, and
            deleting a large home takes its time.
        slow_threads: how many changes can be under way at once.
        timed: is entered around every question.
    """

    def __init__(
        self,
        host: str,
        timeout: int,
        slow_timeout: int,
        slow_threads: int,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._host = host
        self._timed = timed
        self._timeouts = {False: timeout, True: slow_timeout}
        self._quick = ThreadPoolExecutor(QUICK_THREADS, "docker")
        self._slow = ThreadPoolExecutor(slow_threads, "docker-slow")
        self._counting = ThreadPoolExecutor(1, "docker-sizes")
        self._socket = host.removeprefix("unix://")
        self._helpers = Helpers(self._socket, slow_timeout)
        self._connecting = {False: threading.Lock(), True: threading.Lock()}
        self._connected: dict[bool, docker.APIClient] = {}

    def close(self) -> None:
        """Ask nothing more, and close every connection. What Docker was asked for, Docker goes on with."""
        self._quick.shutdown(wait=False, cancel_futures=True)
        self._slow.shutdown(wait=False, cancel_futures=True)
        self._counting.shutdown(wait=False, cancel_futures=True)
        self._helpers.close()
        for api in self._connected.values():
            api.close()

    async def version(self) -> Version:
        """See `Engine.version`."""
        return await self._ask(lambda api: docker_json.version(api.version(api_version=False)))

    async def container(self, reference: ContainerName | ContainerId) -> Container | None:
        """See `Engine.container`."""
        found = await self._ask(lambda api: _inspected(api, reference.value))
        # Docker also takes the beginning of an id: a name made of hexadecimal digits could find anybody's container.
        if found is None or reference.value not in (found.name, found.id.value):
            return None
        return found

    async def containers_holding(self, volume: VolumeName) -> tuple[Container, ...]:
        """See `Engine.containers_holding`. Docker's filter also matches mount points, hence the second look."""
        found = await self._ask(lambda api: _listed(api, {"volume": volume.value}))
        return tuple(one for one in found if any(mount.volume == volume.value for mount in one.mounts))

    async def containers_labelled(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """See `Engine.containers_labelled`."""
        wanted = [f"{key}={value}" for key, value in labels.items()]
        return await self._ask(lambda api: _listed(api, {"label": wanted}))

    async def restart_container(self, container: ContainerId, stop_timeout: int) -> None:
        """See `Engine.restart_container`."""
        await self._ask(lambda api: api.restart(container.value, timeout=stop_timeout), slow=True)

    async def start_container(self, container: ContainerId) -> None:
        """See `Engine.start_container`."""
        await self._ask(lambda api: api.start(container.value), slow=True)

    async def stop_container(self, container: ContainerId, stop_timeout: int) -> None:
        """See `Engine.stop_container`."""
        await self._ask(lambda api: api.stop(container.value, timeout=stop_timeout), slow=True)

    async def remove_container(self, container: ContainerId, *, anonymous_volumes: bool) -> None:
        """See `Engine.remove_container`."""
        await self._ask(lambda api: api.remove_container(container.value, v=anonymous_volumes, force=False), slow=True)

    async def create_container(self, spec: ContainerSpec) -> ContainerId:
        """See `Engine.create_container`."""
        body = docker_json.create_body(spec)
        return await self._ask(lambda api: _created(api, body, spec.name.value), slow=True)

    async def run_in_container(self, container: ContainerId, command: tuple[str, ...], seconds: float) -> int | None:
        """See `Engine.run_in_container`. Nobody attaches, so no thread waits for a command that never ends."""
        identifier = await self._ask(lambda api: _executing(api, container.value, command), slow=True)
        give_up_at = asyncio.get_running_loop().time() + seconds
        while (status := await self._ask(lambda api: _exit_status(api, identifier))) is None:
            if asyncio.get_running_loop().time() >= give_up_at:
                break
            await asyncio.sleep(EXEC_POLL_SECONDS)
        return status

    async def volume(self, name: VolumeName) -> Volume | None:
        """See `Engine.volume`."""
        return await self._ask(_or_none(lambda api: docker_json.volume(api.inspect_volume(name.value))))

    async def volume_names(self) -> tuple[str, ...]:
        """See `Engine.volume_names`."""
        return await self._ask(lambda api: tuple(volume["Name"] for volume in api.volumes()["Volumes"] or ()))

    async def create_volume(
        self, name: VolumeName, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> Volume:
        """See `Engine.create_volume`."""
        return await self._ask(
            lambda api: docker_json.volume(api.create_volume(name.value, driver, dict(options), dict(labels))),
            slow=True,
        )

    async def remove_volume(self, name: VolumeName) -> None:
        """See `Engine.remove_volume`."""
        await self._ask(lambda api: api.remove_volume(name.value, force=False), slow=True)

    async def image(self, reference: str) -> Image | None:
        """See `Engine.image`."""
        return await self._ask(_or_none(lambda api: _image(api, reference)))

    async def pull_image(self, reference: str) -> None:
        """See `Engine.pull_image`."""
        await self._ask(lambda api: _pull(api, reference), slow=True)

    async def archive_volume(self, volume: VolumeName, helper: Helper, take: Callable[[bytes], object]) -> None:
        """See `Engine.archive_volume`."""
        body = helper_body(volume, helper, writes=False)
        await self._helpers.run(lambda: self._api(slow=True), body, volume, lambda streams: streams.archive(take))

    async def extract_volume(self, volume: VolumeName, helper: Helper, pieces: Iterable[bytes]) -> None:
        """See `Engine.extract_volume`."""
        body = helper_body(volume, helper, writes=True)
        await self._helpers.run(lambda: self._api(slow=True), body, volume, lambda streams: streams.extract(pieces))

    async def remove_helpers(self, scheme: str) -> None:
        """See `Engine.remove_helpers`."""
        await self._ask(lambda api: remove_helpers(api, scheme, None))

    async def volume_sizes(self) -> tuple[VolumeSize, ...]:
        """See `Engine.volume_sizes`."""
        return await asyncio.get_running_loop().run_in_executor(self._counting, self._counted)

    def _counted(self) -> tuple[VolumeSize, ...]:
        with translated():
            version = self._api(slow=True).api_version
            if tuple(map(int, version.split("."))) < API_THAT_SIZES_VOLUMES:
                return ()
            url = f"/v{version}/system/df?type=volume"
            return docker_json.volume_sizes(asked_json(self._socket, url, self._timeouts[True]))

    async def _ask(self, question: Callable[[docker.APIClient], Result], *, slow: bool = False) -> Result:
        def answer() -> Result:
            with translated():
                return question(self._api(slow=slow))

        pool = self._slow if slow else self._quick
        with self._timed():
            return await asyncio.get_running_loop().run_in_executor(pool, answer)

    def _api(self, *, slow: bool) -> docker.APIClient:
        quick = self._timeouts[False]
        if not self._connecting[slow].acquire(timeout=quick):
            raise EngineUnavailable("Docker does not answer whoever connects first")
        try:
            if slow not in self._connected:
                api = docker.APIClient(self._host, version="auto", timeout=quick, max_pool_size=QUICK_THREADS)
                api.trust_env = False  # no proxy and no credentials for the engine's own socket, nor a search for them
                api.timeout = self._timeouts[slow]
                self._connected[slow] = api
            return self._connected[slow]
        finally:
            self._connecting[slow].release()


def _or_none(question: Callable[[docker.APIClient], Result]) -> Callable[[docker.APIClient], Result | None]:
    def answer(api: docker.APIClient) -> Result | None:
        try:
            return question(api)
        except docker_errors.NotFound:
            return None

    return answer


def _inspected(api: docker.APIClient, reference: str) -> Container | None:
    return _or_none(lambda client: docker_json.container(client.inspect_container(reference)))(api)


def _listed(api: docker.APIClient, filters: Mapping[str, Any]) -> tuple[Container, ...]:
    """Every container that passes the filters, inspected; one that goes away in between is left out."""
    identifiers = [summary["Id"] for summary in api.containers(all=True, filters=dict(filters))]
    found = (_inspected(api, identifier) for identifier in identifiers)
    return tuple(container for container in found if container is not None)


def _created(api: docker.APIClient, body: Mapping[str, Any], name: str) -> ContainerId:
    answer = api.create_container_from_config(body, name)  # type: ignore[no-untyped-call] # the stubs leave it out
    return ContainerId(answer["Id"])


def _executing(api: docker.APIClient, container: str, command: tuple[str, ...]) -> str:
    """Start a command. Returns the id of its exec."""
    identifier = str(api.exec_create(container, list(command), stdout=False, stderr=False)["Id"])
    api.exec_start(identifier, detach=True)
    return identifier


def _exit_status(api: docker.APIClient, identifier: str) -> int | None:
    shown = api.exec_inspect(identifier)
    return None if shown["Running"] else int(shown["ExitCode"])


def _image(api: docker.APIClient, reference: str) -> Image:
    return docker_json.image(api.inspect_image(reference))  # type: ignore[no-untyped-call] # as above


def _pull(api: docker.APIClient, reference: str) -> None:
    repository, separator, tag = reference.rpartition("@" if "@" in reference else ":")
    if not separator or "/" in tag:
        repository, tag = reference, "latest"
    for line in api.pull(repository, tag=tag, stream=True, decode=True):
        if "error" in line:
            raise NotFound(str(line["error"]))
