"""Every question to Docker, in the thread that asks. The gateway asks here; for the RPCs there is `docker_engine`.

What holds here: Docker is asked for what the port's methods say and nothing else; every failure leaves as one of the
port's errors. Whatever changes something gets the patience for it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from hubwarden_agent.clock import Clock
from hubwarden_agent.engine import docker_archive, docker_json
from hubwarden_agent.engine.docker_http import DockerApi, lines, translated
from hubwarden_agent.engine.port import Container, ContainerSpec, EngineUnavailable, Image, NotFound, Volume, VolumeSize
from hubwarden_agent.names import ContainerId, ContainerName, VolumeName

MAKING_AT_ONCE = 16
"""Creates and starts at once; the rest wait. Docker does not get through fifty sooner when it has them all at once."""
EXEC_POLL_SECONDS = 0.05
"""Between two looks at whether a command has ended: Docker has no call that waits for one without its output."""
API_THAT_SIZES_VOLUMES = (1, 42)
"""Before it, Docker cannot count volumes without images, containers and build cache."""

Result = TypeVar("Result")

_NOBODY_WAITS = nullcontext()


class DockerCalls:
    """A Docker engine on a unix socket. Connects at the first question, so it may be away when the agent starts.

    Args:
        host: the engine's address.
        timeout: seconds for a question that changes nothing.
        slow_timeout: seconds for a change, beyond a stop timeout; Docker goes on with one that nobody waits for, and
            deleting a large home takes its time.
        clock: says how long a command was waited for.
        timed: is entered around every question.
    """

    def __init__(
        self,
        host: str,
        timeout: int,
        slow_timeout: int,
        clock: Clock,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        socket = host.removeprefix("unix://")
        self._clock = clock
        self._timed = timed
        self._quick = DockerApi(socket, timeout, timeout)
        self.patient = DockerApi(socket, slow_timeout, timeout)
        self._closed = False
        self._making = threading.BoundedSemaphore(MAKING_AT_ONCE)

    def close(self) -> None:
        """Ask nothing more, also for whoever waits for a turn. What Docker was asked for, Docker goes on with."""
        self._closed = True

    def ping(self) -> None:
        """See `BlockingEngine.ping`."""
        with self._asking():
            self._quick.agree()

    def container(self, reference: ContainerName | ContainerId) -> Container | None:
        """See `BlockingEngine.container`."""
        with self._asking():
            found = _inspected(self._quick, reference.value)
        # Docker also takes the beginning of an id: a name made of hexadecimal digits could find anybody's container.
        if found is None or reference.value not in (found.name, found.id.value):
            return None
        return found

    def containers_holding(self, volume: VolumeName) -> tuple[Container, ...]:
        """See `Engine.containers_holding`. Docker's filter also matches mount points, hence the second look."""
        with self._asking():
            found = _listed(self._quick, {"volume": [volume.value]})
        return tuple(one for one in found if any(mount.volume == volume.value for mount in one.mounts))

    def containers_labelled(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """See `BlockingEngine.containers_labelled`."""
        with self._asking():
            return _listed(self._quick, {"label": [f"{key}={value}" for key, value in labels.items()]})

    def restart_container(self, container: ContainerId, stop_timeout: int) -> None:
        """See `Engine.restart_container`."""
        with self._asking():
            self.patient.post("containers", container.value, "restart", t=stop_timeout, longer=stop_timeout)

    def start_container(self, container: ContainerId) -> None:
        """See `BlockingEngine.start_container`."""
        with self._asking(self._making):
            self.patient.post("containers", container.value, "start")

    def stop_container(self, container: ContainerId, stop_timeout: int) -> None:
        """See `BlockingEngine.stop_container`."""
        with self._asking():
            self.patient.post("containers", container.value, "stop", t=stop_timeout, longer=stop_timeout)

    def remove_container(self, container: ContainerId, *, anonymous_volumes: bool) -> None:
        """See `BlockingEngine.remove_container`."""
        with self._asking():
            self.patient.delete("containers", container.value, v=int(anonymous_volumes))

    def create_container(self, spec: ContainerSpec) -> ContainerId:
        """See `BlockingEngine.create_container`."""
        body = docker_json.create_body(spec)
        with self._asking(self._making):
            return ContainerId(self.patient.post("containers", "create", body=body, name=spec.name.value)["Id"])

    def run_in_container(self, container: ContainerId, command: tuple[str, ...], seconds: float) -> int | None:
        """See `BlockingEngine.run_in_container`. Nobody attaches, so Docker holds nothing for a command's output."""
        with self._asking():
            made = self.patient.post("containers", container.value, "exec", body={"Cmd": list(command)})
            identifier = str(made["Id"])
            self.patient.post("exec", identifier, "start", body={"Detach": True})
        give_up_at = self._clock.monotonic() + seconds
        while (status := self._exit_status(identifier)) is None and self._clock.monotonic() < give_up_at:
            time.sleep(EXEC_POLL_SECONDS)
        return status

    def volume(self, name: VolumeName) -> Volume | None:
        """See `BlockingEngine.volume`."""
        with self._asking():
            return _or_none(lambda: docker_json.volume(self._quick.get("volumes", name.value)))

    def volume_names(self) -> tuple[str, ...]:
        """See `BlockingEngine.volume_names`."""
        with self._asking():
            return tuple(volume["Name"] for volume in self._quick.get("volumes")["Volumes"] or ())

    def create_volume(
        self, name: VolumeName, driver: str, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> Volume:
        """See `Engine.create_volume`."""
        body = {"Name": name.value, "Driver": driver, "DriverOpts": dict(options), "Labels": dict(labels)}
        with self._asking():
            return docker_json.volume(self.patient.post("volumes", "create", body=body))

    def remove_volume(self, name: VolumeName) -> None:
        """See `Engine.remove_volume`."""
        with self._asking():
            self.patient.delete("volumes", name.value)

    def image(self, reference: str) -> Image | None:
        """See `BlockingEngine.image`."""
        with self._asking():
            return _or_none(lambda: docker_json.image(self._quick.get("images", *reference.split("/"), "json")))

    def pull_image(self, reference: str) -> None:
        """See `BlockingEngine.pull_image`."""
        with self._asking():
            _pull(self.patient, reference)

    def remove_helpers(self, scheme: str) -> None:
        """See `Engine.remove_helpers`."""
        with self._asking():
            docker_archive.remove_helpers(self._quick, scheme, None)

    def volume_sizes(self) -> tuple[VolumeSize, ...]:
        """See `Engine.volume_sizes`. Not timed: nobody's operation waits for it."""
        with translated():
            if self.patient.spoken() < API_THAT_SIZES_VOLUMES:
                return ()
            return docker_json.volume_sizes(self.patient.get("system", "df", type="volume"))

    def _exit_status(self, identifier: str) -> int | None:
        with self._asking():
            shown = self._quick.get("exec", identifier, "json")
            return None if shown["Running"] else int(shown["ExitCode"])

    @contextmanager
    def _asking(self, turn: AbstractContextManager[object] = _NOBODY_WAITS) -> Iterator[None]:
        with self._timed(), turn, translated():
            if self._closed:
                raise EngineUnavailable("the agent ends")
            yield


def _or_none(question: Callable[[], Result]) -> Result | None:
    try:
        return question()
    except NotFound:
        return None


def _inspected(api: DockerApi, reference: str) -> Container | None:
    return _or_none(lambda: docker_json.container(api.get("containers", reference, "json")))


def _listed(api: DockerApi, filters: Mapping[str, list[str]]) -> tuple[Container, ...]:
    """Every container that passes the filters, inspected; one that goes away in between is left out."""
    summaries = api.get("containers", "json", all=1, filters=json.dumps(filters))
    found = (_inspected(api, summary["Id"]) for summary in summaries)
    return tuple(container for container in found if container is not None)


def _pull(api: DockerApi, reference: str) -> None:
    repository, separator, tag = reference.rpartition("@" if "@" in reference else ":")
    if not separator or "/" in tag:
        repository, tag = reference, "latest"
    with api.posted("images", "create", fromImage=repository, tag=tag) as answer:
        for progress in lines(answer):
            if "error" in progress:
                raise NotFound(str(progress["error"]))
