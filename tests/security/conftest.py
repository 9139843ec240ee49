"""A gateway before the real engine, and the others on that engine whom no attack may touch."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hubwarden_agent.rates import parse_rate
from support.agent.gateway import HOME, POLICY, WORKSPACE, gateway
from support.docker import private_engine
from support.docker.fixtures import fixture_bench, fixture_busybox, fixture_engine, fixture_engine_socket  # noqa: F401 - fixtures
from support.docker.whole_engine import WholeDockerEngine
from support.scenarios.attacks.harness import Field
from support.scenarios.attacks.options import named

VICTIM, FOREIGN, BACKED = "hubwarden-attacked", "hubwarden-attacked-data", "hubwarden-attacked-backed"


@pytest.fixture(scope="module")
def others(engine_socket: str, busybox: str) -> Iterator[Mapping[str, str]]:
    """Somebody else's running container and volume; tokens for them."""
    with private_engine.workbench(engine_socket, busybox) as bench, tempfile.TemporaryDirectory() as folder:
        volumes = {volume.name for volume in bench.client.volumes.list()}
        bench.volume(FOREIGN)
        container = bench.container(VICTIM, mounts={FOREIGN: "/data"})
        yield {
            "image": busybox,
            "victim": VICTIM,
            "victim_id": container.id,
            "victim_image_id": container.attrs["Image"],
            "foreign": FOREIGN,
            "folder": folder,
        }
        # What the engine itself made where a case showed that it would.
        for name in {str(volume.name) for volume in bench.client.volumes.list()} - volumes - {FOREIGN}:
            bench.forget_volume(name)


@pytest.fixture
async def ground(
    others: Mapping[str, str], bench: private_engine.Workbench, engine: WholeDockerEngine, tmp_path: Path
) -> AsyncIterator[Field]:
    """The field for one case."""
    user = bench.username()
    for template in (HOME, WORKSPACE, "jupyterlab-{username}_cache"):
        bench.forget_volume(template.format(username=user))
    bench.forget_container(f"jupyterlab-{user}")
    policy = replace(
        POLICY, images=(others["image"],), max_containers=100, max_creates=parse_rate("100/minute"), publish="127.0.0.1"
    )
    async with gateway(engine, tmp_path, spawn=named(policy, others["folder"])) as stage:
        yield Field(stage, bench.socket, {**others, "user": user, "own": f"jupyterlab-{user}"})
