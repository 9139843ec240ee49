"""The port over a real Docker engine.

What holds here: Docker is asked for what the port's methods say and nothing else; every failure leaves as one of the
port's errors. Whatever changes something has threads of its own, so that six servers that ignore SIGTERM, or a burst of
spawns, do not keep anybody's inspect waiting; and creates and starts have others than stops, which mostly wait.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from hubwarden_agent.engine import docker_json
from hubwarden_agent.engine.docker_archive import ARCHIVED, EXTRACTED, Helpers, remove_helpers
from hubwarden_agent.engine.docker_http import DockerApi, lines, translated
from hubwarden_agent.engine.helper_body import reading_body, writing_body
from hubwarden_agent.engine.port import (
    Container,
    ContainerSpec,
    Helper,
    Image,
    NotFound,
    Volume,
    VolumeSize,
)
from hubwarden_agent.names import ContainerId, ContainerName, VolumeName

QUICK_THREADS = 16
MAKING_THREADS = 16
"""Creates and starts at once; the rest wait. Docker does not get through fifty sooner when it has them all at once."""
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
        slow_threads: how many changes can be under way at once, and how many creates and starts beside them, of which
            there are never more than `MAKING_THREADS`.
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
        socket = host.removeprefix("unix://")
        self._timed = timed
        self._api = DockerApi(socket, timeout, timeout)
        self._patient_api = DockerApi(socket, slow_timeout, timeout)
        self._quick = ThreadPoolExecutor(QUICK_THREADS, "docker")
        self._slow = ThreadPoolExecutor(slow_threads, "docker-slow")
        self._making = ThreadPoolExecutor(min(slow_threads, MAKING_THREADS), "docker-making")
        self._counting = ThreadPoolExecutor(1, "docker-sizes")
        self._helpers = Helpers(self._patient_api)

    def close(self) -> None:
        """Ask nothing more. What Docker was asked for, Docker goes on with."""
        for threads in (self._quick, self._slow, self._making, self._counting):
            threads.shutdown(wait=False, cancel_futures=True)
        self._helpers.close()

    async def ping(self) -> None:
        """See `Engine.ping`."""
        await self._ask(lambda api: api.agree())

    async def container(self, reference: ContainerName | ContainerId) -> Container | None:
        """See `Engine.container`."""
        found = await self._ask(lambda api: _inspected(api, reference.value))
        # Docker also takes the beginning of an id: a name made of hexadecimal digits could find anybody's container.
        if found is None or reference.value not in (found.name, found.id.value):
            return None
        return found

    async def containers_holding(self, volume: VolumeName) -> tuple[Container, ...]:
        """See `Engine.containers_holding`. Docker's filter also matches mount points, hence the second look."""
        found = await self._ask(lambda api: _listed(api, {"volume": [volume.value]}))
        return tuple(one for one in found if any(mount.volume == volume.value for mount in one.mounts))

    async def containers_labelled(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """See `Engine.containers_labelled`."""
        wanted = [f"{key}={value}" for key, value in labels.items()]
        return await self._ask(lambda api: _listed(api, {"label": wanted}))

    async def restart_container(self, container: ContainerId, stop_timeout: int) -> None:
        """See `Engine.restart_container`."""
        await self._ask(lambda api: _stopped(api, container, "restart", stop_timeout), self._slow)

    async def start_container(self, container: ContainerId) -> None:
        """See `Engine.start_container`."""
        await self._ask(lambda api: api.post("containers", container.value, "start"), self._making)

    async def stop_container(self, container: ContainerId, stop_timeout: int) -> None:
        """See `Engine.stop_container`."""
        await self._ask(lambda api: _stopped(api, container, "stop", stop_timeout), self._slow)

    async def remove_container(self, container: ContainerId, *, anonymous_volumes: bool) -> None:
        """See `Engine.remove_container`."""
        await self._ask(lambda api: api.delete("containers", container.value, v=int(anonymous_volumes)), self._slow)

    async def create_container(self, spec: ContainerSpec) -> ContainerId:
        """See `Engine.create_container`."""
        body = docker_json.create_body(spec)
        return await self._ask(lambda api: _created(api, body, spec.name), self._making)

    async def run_in_container(self, container: ContainerId, command: tuple[str, ...], seconds: float) -> int | None:
        """See `Engine.run_in_container`. Nobody attaches, so no thread waits for a command that never ends."""
        identifier = await self._ask(lambda api: _executing(api, container.value, command), self._slow)
        give_up_at = asyncio.get_running_loop().time() + seconds
        while (status := await self._ask(lambda api: _exit_status(api, identifier))) is None:
            if asyncio.get_running_loop().time() >= give_up_at:
                break
            await asyncio.sleep(EXEC_POLL_SECONDS)
        return status

    async def volume(self, name: VolumeName) -> Volume | None:
        """See `Engine.volume`."""
        return await self._ask(_or_none(lambda api: docker_json.volume(api.get("volumes", name.value))))

    async def volume_names(self) -> tuple[str, ...]:
        """See `Engine.volume_names`."""
        return await self._ask(lambda api: tuple(volume["Name"] for volume in api.get("volumes")["Volumes"] or ()))

    async def create_volume(
        self, name: VolumeName, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> Volume:
        """See `Engine.create_volume`."""
        body = {"Name": name.value, "Driver": driver, "DriverOpts": dict(options), "Labels": dict(labels)}
        return await self._ask(lambda api: docker_json.volume(api.post("volumes", "create", body=body)), self._slow)

    async def remove_volume(self, name: VolumeName) -> None:
        """See `Engine.remove_volume`."""
        await self._ask(lambda api: api.delete("volumes", name.value), self._slow)

    async def image(self, reference: str) -> Image | None:
        """See `Engine.image`."""
        return await self._ask(_or_none(lambda api: _image(api, reference)))

    async def pull_image(self, reference: str) -> None:
        """See `Engine.pull_image`."""
        await self._ask(lambda api: _pull(api, reference), self._slow)

    async def archive_volume(
        self, volume: VolumeName, helper: Helper, max_bytes: int, take: Callable[[bytes], object]
    ) -> int:
        """See `Engine.archive_volume`."""
        body = reading_body(volume, helper, max_bytes)
        return await self._helpers.run(body, volume, lambda streams: streams.archive(take), ARCHIVED)

    async def extract_volume(self, volume: VolumeName, helper: Helper, pieces: Iterable[bytes]) -> None:
        """See `Engine.extract_volume`."""
        body = writing_body(volume, helper)
        await self._helpers.run(body, volume, lambda streams: streams.extract(pieces), EXTRACTED)

    async def remove_helpers(self, scheme: str) -> None:
        """See `Engine.remove_helpers`."""
        await self._ask(lambda api: remove_helpers(api, scheme, None))

    async def volume_sizes(self) -> tuple[VolumeSize, ...]:
        """See `Engine.volume_sizes`."""
        return await asyncio.get_running_loop().run_in_executor(self._counting, self._counted)

    def _counted(self) -> tuple[VolumeSize, ...]:
        with translated():
            if self._patient_api.spoken() < API_THAT_SIZES_VOLUMES:
                return ()
            return docker_json.volume_sizes(self._patient_api.get("system", "df", type="volume"))

    async def _ask(self, question: Callable[[DockerApi], Result], changing: ThreadPoolExecutor | None = None) -> Result:
        """Ask in one of our threads. Those that are there for changes have the patience for one."""
        threads, api = (changing, self._patient_api) if changing else (self._quick, self._api)

        def answer() -> Result:
            with translated():
                return question(api)

        with self._timed():
            return await asyncio.get_running_loop().run_in_executor(threads, answer)


def _or_none(question: Callable[[DockerApi], Result]) -> Callable[[DockerApi], Result | None]:
    def answer(api: DockerApi) -> Result | None:
        try:
            return question(api)
        except NotFound:
            return None

    return answer


def _inspected(api: DockerApi, reference: str) -> Container | None:
    return _or_none(lambda client: docker_json.container(client.get("containers", reference, "json")))(api)


def _listed(api: DockerApi, filters: Mapping[str, list[str]]) -> tuple[Container, ...]:
    """Every container that passes the filters, inspected; one that goes away in between is left out."""
    summaries = api.get("containers", "json", all=1, filters=json.dumps(filters))
    found = (_inspected(api, summary["Id"]) for summary in summaries)
    return tuple(container for container in found if container is not None)


def _created(api: DockerApi, body: Mapping[str, Any], name: ContainerName) -> ContainerId:
    return ContainerId(api.post("containers", "create", body=body, name=name.value)["Id"])


def _stopped(api: DockerApi, container: ContainerId, how: str, stop_timeout: int) -> None:
    api.post("containers", container.value, how, t=stop_timeout, longer=stop_timeout)


def _executing(api: DockerApi, container: str, command: tuple[str, ...]) -> str:
    """Start a command. Returns the id of its exec."""
    identifier = str(api.post("containers", container, "exec", body={"Cmd": list(command)})["Id"])
    api.post("exec", identifier, "start", body={"Detach": True})
    return identifier


def _exit_status(api: DockerApi, identifier: str) -> int | None:
    shown = api.get("exec", identifier, "json")
    return None if shown["Running"] else int(shown["ExitCode"])


def _image(api: DockerApi, reference: str) -> Image:
    return docker_json.image(api.get("images", *reference.split("/"), "json"))


def _pull(api: DockerApi, reference: str) -> None:
    repository, separator, tag = reference.rpartition("@" if "@" in reference else ":")
    if not separator or "/" in tag:
        repository, tag = reference, "latest"
    with api.posted("images", "create", fromImage=repository, tag=tag) as answer:
        for progress in lines(answer):
            if "error" in progress:
                raise NotFound(str(progress["error"]))
