"""Fixtures over the suite's private Docker engine."""

from __future__ import annotations

from collections.abc import Iterator

import private_engine
import pytest

from hubwarden_agent.engine.docker_engine import DockerEngine


@pytest.fixture(scope="session")
def engine_socket() -> str:
    """The private engine's socket."""
    return private_engine.start()


@pytest.fixture(scope="session")
def busybox(engine_socket: str) -> str:
    """A tiny image on the private engine."""
    return private_engine.base_image("busybox", engine_socket)


@pytest.fixture
def bench(engine_socket: str, busybox: str) -> Iterator[private_engine.Workbench]:
    """Makes containers and volumes and takes them away."""
    with private_engine.workbench(engine_socket, busybox) as bench:
        yield bench


@pytest.fixture
def engine(engine_socket: str) -> Iterator[DockerEngine]:
    """The real port over the private engine."""
    engine = DockerEngine(f"unix://{engine_socket}", timeout=30, slow_threads=16)
    yield engine
    engine.close()
