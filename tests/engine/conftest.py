"""Fixtures over the suite's private Docker engine."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import agent_image as image_of_agent
import agent_process
import private_engine
import pytest
from agent_bed import Bed
from agent_client import client
from agent_process import AgentProcess, Place
from engine.spawning import make_spawners, record_sent, serve_gateway  # noqa: F401 - fixtures
from hubwarden_agent.names import ImageId
from whole_engine import WholeDockerEngine


@pytest.fixture(scope="session")
def engine_socket() -> str:
    """The private engine's socket."""
    return private_engine.start()


@pytest.fixture(scope="session")
def busybox(engine_socket: str) -> str:
    """A tiny image on the private engine."""
    return private_engine.base_image("busybox", engine_socket)


@pytest.fixture(scope="session")
def agent_image(engine_socket: str) -> Iterator[image_of_agent.Image]:
    """The agent's image, built."""
    with image_of_agent.built(engine_socket) as image:
        yield image


@pytest.fixture(scope="session")
def helper_image(agent_image: image_of_agent.Image) -> ImageId:
    """The agent's own image, by id."""
    return ImageId(agent_image.identifier)


@pytest.fixture
def bench(engine_socket: str, busybox: str) -> Iterator[private_engine.Workbench]:
    """Makes containers and volumes and takes them away."""
    with private_engine.workbench(engine_socket, busybox) as bench:
        yield bench


@pytest.fixture
def engine(engine_socket: str) -> Iterator[WholeDockerEngine]:
    """The real port over the private engine."""
    engine = WholeDockerEngine(f"unix://{engine_socket}", timeout=30, slow_timeout=60, slow_threads=16)
    yield engine
    engine.close()


@pytest.fixture
def place(engine_socket: str) -> Iterator[Place]:
    """A directory with a short path (a socket's has room for about 100 characters), configured for the engine."""
    with tempfile.TemporaryDirectory(prefix="hwtest") as directory:
        place = Place(Path(directory), engine_socket)
        place.write()
        yield place


@pytest.fixture
def agent(place: Place) -> Iterator[AgentProcess]:
    """The real agent, serving."""
    with agent_process.serving(place) as agent:
        yield agent


@pytest.fixture
async def bed(agent: AgentProcess, bench: private_engine.Workbench) -> AsyncIterator[Bed]:
    """A user nobody else has, with a stub to call the agent."""
    async with client(agent.place.socket) as stub:
        yield Bed(agent, bench, stub, bench.username())
