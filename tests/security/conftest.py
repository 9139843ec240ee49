"""A gateway before the real engine, and the others on that engine whom no attack may touch."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.docker_spawn import DockerSpawnEngine
from hubwarden_agent.rates import parse_rate
from hubwarden_agent.spawn_policy import SpawnPolicy
from support.agent.gateway import POLICY, GatewayStage, gateway, serving_gateway
from support.docker import private_engine
from support.scenarios.attacks.harness import VOLUMES, AttackHarness
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


@pytest.fixture(scope="module")
def shared_engine(engine_socket: str) -> Iterator[DockerSpawnEngine]:
    """The real port over the private engine, for a whole module."""
    engine = DockerSpawnEngine(f"unix://{engine_socket}", timeout=30, change_timeout=60, clock=SystemClock())
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def shared_stage(
    shared_engine: DockerSpawnEngine, others: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayStage]:
    """One gateway for a module of attacks."""
    with serving_gateway(shared_engine, tmp_path_factory.mktemp("attacks"), spawn=_policy(others)) as stage:
        yield stage


@pytest.fixture
async def attacks(
    shared_stage: GatewayStage, engine_socket: str, others: Mapping[str, str]
) -> AsyncIterator[AttackHarness]:
    """Where cases run, each with a user of its own."""
    harness = AttackHarness(shared_stage, engine_socket, others)
    yield harness
    await harness.clean()


@pytest.fixture
async def ground(
    others: Mapping[str, str], bench: private_engine.Workbench, engine: DockerSpawnEngine, tmp_path: Path
) -> AsyncIterator[AttackHarness]:
    """A gateway for one test, and tokens for one user."""
    user = bench.username()
    for template in VOLUMES:
        bench.forget_volume(template.format(username=user))
    bench.forget_container(f"jupyterlab-{user}")
    async with gateway(engine, tmp_path, spawn=_policy(others)) as stage:
        yield AttackHarness(stage, bench.socket, {**others, "user": user, "own": f"jupyterlab-{user}"})


def _policy(others: Mapping[str, str]) -> SpawnPolicy:
    policy = replace(POLICY, images=(others["image"],), publish="127.0.0.1")
    return named(replace(policy, max_containers=1000, max_creates=parse_rate("100/minute")), others["folder"])
