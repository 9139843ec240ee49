"""One stack for the whole run (agent with gateway, Hub with proxy), more where a test takes things down."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.docker.private_engine import Workbench, start, workbench
from support.jupyterhub.breakable import Stack, breakable_stack
from support.jupyterhub.gate import Gated, gated_stack
from support.jupyterhub.people import Person
from support.jupyterhub.stack import IMAGE, Agent, Hub, running, server_workbench

# The REST description is held to the newest JupyterHub only, where its tools are installed (requirements-dev.in).
collect_ignore = [] if find_spec("schemathesis") else ["test_rest_description.py"]


@pytest.fixture(scope="session")
def engine() -> str:
    """The private engine's socket."""
    return start()


@pytest.fixture(scope="session")
def session_bench(engine: str) -> Iterator[Workbench]:
    """The private engine, with the image of the users' servers built."""
    with server_workbench(engine) as bench:
        yield bench


@pytest.fixture
def bench(session_bench: Workbench, engine: str) -> Iterator[Workbench]:
    """A workbench for one test."""
    with workbench(engine, session_bench.image) as bench:
        yield bench


@pytest.fixture(scope="session")
def agent(session_bench: Workbench, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent that nobody may take down."""
    with running(Agent(tmp_path_factory.mktemp("agent"), engine, session_bench.image)) as agent:
        yield agent


@pytest.fixture(scope="session")
def hub(agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub that nobody may take down."""
    with running(Hub(tmp_path_factory.mktemp("hub"), agent.socket, agent.gateway, IMAGE)) as hub:
        yield hub


@pytest.fixture(scope="session")
def gated(session_bench: Workbench, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """A gated stack, of which a test may take down what it brings back."""
    with gated_stack(tmp_path_factory.mktemp("gated"), engine, session_bench.image) as stack:
        yield stack


@pytest.fixture(scope="session")
def breakable(session_bench: Workbench, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of which a test may break what it mends."""
    with breakable_stack(tmp_path_factory.mktemp("breakable"), engine, session_bench.image) as stack:
        yield stack


@pytest.fixture
def own_agent(session_bench: Workbench, engine: str, tmp_path: Path) -> Iterator[Agent]:
    """An agent that the test may take down."""
    (tmp_path / "agent").mkdir()
    with running(Agent(tmp_path / "agent", engine, session_bench.image)) as agent:
        yield agent


@pytest.fixture
def make_hub(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Makes Hubs that the test starts, and may take down; they end with the test."""
    hubs: list[Hub] = []

    def make(agent: Agent, arguments: list[str] | None = None, **options: Any) -> Hub:
        directory = tmp_path / f"hub{len(hubs)}"
        directory.mkdir()
        hubs.append(Hub(directory, agent.socket, agent.gateway, IMAGE, options, arguments or []))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.stop()


@pytest.fixture
def make_person(bench: Workbench) -> Callable[..., Person]:
    """Makes users that nobody else has, called PREFIX and something."""
    return lambda hub, prefix="user": Person(hub, bench, f"{prefix}{uuid.uuid4().hex[:8]}")


@pytest.fixture
def person(hub: Hub, make_person: Callable[..., Person]) -> Person:
    """A user that nobody else has."""
    return make_person(hub)
