"""The private Docker engine, and a real agent over it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.agent.client import client
from support.agent.harness import Bed
from support.agent.process import AgentProcess, Place, serving
from support.docker.private_engine import Workbench
from support.scenarios.spawning import make_spawners, record_sent, serve_gateway  # noqa: F401 - fixtures


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
    with serving(place) as agent:
        yield agent


@pytest.fixture
async def bed(agent: AgentProcess, bench: Workbench) -> AsyncIterator[Bed]:
    """A user nobody else has, with a stub to call the agent."""
    async with client(agent.place.socket) as stub:
        yield Bed(agent, bench, stub, bench.username())
