"""The agent's image, built by its own Dockerfile on the private engine, for tests that look into it or run it.

And the demo's users' image in the same way, for what is measured with it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import docker  # noqa: TID251 - tests look at the engine behind the agent's back
from support.docker.private_engine import ENGINE, NAME, ROOT, base_image

TAG = "hubwarden-test/agent:latest"
USER_TAG = "hubwarden-test/user:latest"


@dataclass(frozen=True)
class Image:
    """The image, and the engine that has it."""

    tag: str
    socket: str
    client: docker.DockerClient

    @property
    def identifier(self) -> str:
        """The image's id."""
        return str(self.client.images.get(self.tag).id)

    def run(self, *arguments: str, entrypoint: str, **options: Any) -> bytes:
        """What a program of the image prints, run as compose.yml runs the agent.

        Raises:
            docker.errors.ContainerError: it failed.
        """
        settings: dict[str, Any] = {"network_mode": "none", "read_only": True, "cap_drop": ["ALL"], "remove": True}
        settings |= {"entrypoint": entrypoint} | options
        return bytes(self.client.containers.run(self.tag, list(arguments), **settings))


def command_line(*command: str, **environment: str) -> None:
    """Run Docker's command line against the private engine, in the repository."""
    script = f'eval "$({ENGINE} env {NAME})"; exec "$@"'
    subprocess.run(["bash", "-c", script, "bash", *command], check=True, env={**os.environ, **environment}, cwd=ROOT)


@contextmanager
def built(socket: str, tag: str = TAG, dockerfile: str = "Dockerfile.agent") -> Iterator[Image]:
    """The image for the body. What building it took stays in the engine's cache."""
    base = f"BASE_IMAGE={base_image('python', socket)}"
    command_line(
        "docker",
        "build",
        "--quiet",
        "--network=host",
        "--build-arg",
        base,
        "--tag",
        tag,
        f"--file={dockerfile}",
        ".",
    )
    client = docker.DockerClient(f"unix://{socket}")
    try:
        yield Image(tag, socket, client)
    finally:
        client.images.remove(tag)
        client.close()


def built_user_image(socket: str) -> AbstractContextManager[Image]:
    """The image with the demo's JupyterLab, as `built` has the agent's."""
    return built(socket, USER_TAG, "deploy/demo/user/Dockerfile")
