"""Fixtures over the suite's private Docker engine: a pytest plugin, which the root conftest loads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.docker_spawn import DockerSpawnEngine
from hubwarden_agent.names import ImageId
from support.docker import images, private_engine


@pytest.fixture(name="engine_socket", scope="session")
def fixture_engine_socket() -> str:
    """The private engine's socket."""
    return private_engine.start()


@pytest.fixture(name="busybox", scope="session")
def fixture_busybox(engine_socket: str) -> str:
    """A tiny image on the private engine."""
    return private_engine.base_image("busybox", engine_socket)


@pytest.fixture(name="agent_image", scope="session")
def fixture_agent_image(engine_socket: str) -> Iterator[images.Image]:
    """The agent's image, built."""
    with images.built(engine_socket) as image:
        yield image


@pytest.fixture(name="helper_image", scope="session")
def fixture_helper_image(agent_image: images.Image) -> ImageId:
    """The agent's own image, by id."""
    return ImageId(agent_image.identifier)


@pytest.fixture(name="bench")
def fixture_bench(engine_socket: str, busybox: str) -> Iterator[private_engine.Workbench]:
    """Makes containers and volumes and takes them away."""
    with private_engine.workbench(engine_socket, busybox) as bench:
        yield bench


@pytest.fixture(name="engine")
def fixture_engine(engine_socket: str) -> Iterator[DockerSpawnEngine]:
    """The real port over the private engine."""
    engine = DockerSpawnEngine(f"unix://{engine_socket}", timeout=30, change_timeout=60, clock=SystemClock())
    yield engine
    engine.close()
