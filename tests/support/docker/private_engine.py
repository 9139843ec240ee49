"""The suite's own Docker engine, and what tests need to put things on it.

Invariants: never the machine's own engine, only a private one that `deploy/offline/engine.sh start test` makes (or
`test-1` to `test-9`, by HUBWARDEN_TEST_ENGINE, for suites beside each other): these tests delete volumes. Whatever a
test makes carries a name of its own and is taken away again.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker  # noqa: TID251 - tests look at the engine behind the agent's back
from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back

ROOT = Path(__file__).resolve().parents[3]
ENGINE = ROOT / "deploy" / "offline" / "engine.sh"
BASE_IMAGES = ROOT / "deploy" / "offline" / "base-images.sh"
NAME = os.environ.get("HUBWARDEN_TEST_ENGINE", "test")


def start() -> str:
    """Start the private engine, or find it running. Returns the path of its socket."""
    subprocess.run([ENGINE, "start", NAME], check=True)
    return subprocess.run([ENGINE, "socket", NAME], check=True, capture_output=True, text=True).stdout.strip()


def base_image(kind: str, socket: str, name: str = NAME) -> str:
    """A base image (`python` or `busybox`) on a private engine. Returns its tag."""
    script = f'eval "$({ENGINE} env {name})"; exec {BASE_IMAGES} {kind}'
    environment = {**os.environ, "DOCKER_HOST": f"unix://{socket}"}
    result = subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return result.stdout.strip()


class Workbench:
    """Makes containers and volumes on the private engine, and takes them away at the end."""

    def __init__(self, socket: str, image: str) -> None:
        self.socket = socket
        self.image = image
        self.client = docker.DockerClient(f"unix://{socket}")
        self._undo: list[Callable[[], None]] = []

    def username(self) -> str:
        """A user nobody else has."""
        return f"user{uuid.uuid4().hex[:10]}"

    def volume(self, name: str, **options: Any) -> Any:
        """A volume with a file in it would need a container; this is an empty one."""
        self._undo.append(lambda: self._remove_volume(name))
        return self.client.volumes.create(name, **options)

    def container(
        self,
        name: str,
        command: str = "trap 'exit 0' TERM; while :; do sleep 0.1; done",
        *,
        start: bool = True,
        mounts: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Any:
        """A container that runs until it gets SIGTERM. `mounts`: volume -> folder."""
        binds = {volume: {"bind": target, "mode": "rw"} for volume, target in (mounts or {}).items()}
        self._undo.append(lambda: self._remove_container(name))
        container = self.client.containers.create(
            self.image, ["/bin/sh", "-c", command], name=name, volumes=binds, **options
        )
        if start:
            container.start()
        container.reload()
        return container

    def close(self) -> None:
        """Take away everything, last made first."""
        for undo in reversed(self._undo):
            undo()
        self.client.close()

    def forget_container(self, name: str) -> None:
        """Also take away a container that somebody else makes."""
        self._undo.append(lambda: self._remove_container(name))

    def forget_volume(self, name: str) -> None:
        """Also take away a volume that somebody else makes."""
        self._undo.append(lambda: self._remove_volume(name))

    def _remove_container(self, name: str) -> None:
        try:
            self.client.containers.get(name).remove(force=True, v=True)
        except NotFound:
            return

    def _remove_volume(self, name: str) -> None:
        try:
            self.client.volumes.get(name).remove()
        except NotFound:
            return


@contextmanager
def workbench(socket: str, image: str) -> Iterator[Workbench]:
    """A workbench for one test."""
    bench = Workbench(socket, image)
    try:
        yield bench
    finally:
        bench.close()
