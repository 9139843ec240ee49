"""The private Docker engine, over which the contract of the engine port is run."""

from __future__ import annotations

from support.docker.fixtures import (  # noqa: F401 - fixtures
    fixture_agent_image,
    fixture_bench,
    fixture_busybox,
    fixture_engine,
    fixture_engine_socket,
    fixture_helper_image,
)
