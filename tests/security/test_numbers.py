"""A thousand of anything: the bounds on numbers, at a scale that a test can afford, and under parallel requests."""

from __future__ import annotations

import asyncio
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.rates import parse_rate
from support.agent.gateway import POLICY, GatewayStage, gateway, spawner_body
from support.docker.private_engine import Workbench

MANY = 12
CROWD = 50
FEW = 3
LIKE_OURS = re.compile(r"jupyterlab-(?:[a-z0-9]|-[0-9a-f]{2})+_(?:home|workspace)")
"""What volumes of the policy's templates are called."""


class Crowd:
    """Many users, and what the engine has of theirs."""

    def __init__(self, bench: Workbench, size: int) -> None:
        self._bench = bench
        self.users = [bench.username() for _ in range(size)]
        for user in self.users:
            bench.forget_volume(f"jupyterlab-{user}_home")
            bench.forget_container(f"jupyterlab-{user}")

    def containers(self) -> int:
        """How many of theirs there are."""
        names = {container.name for container in self._bench.client.containers.list(all=True)}
        return len(names & {f"jupyterlab-{user}" for user in self.users})

    def volumes(self) -> int:
        """How many of theirs there are."""
        names = {volume.name for volume in self._bench.client.volumes.list()}
        return len(names & {f"jupyterlab-{user}_home" for user in self.users})

    async def create(self, stage: GatewayStage, user: str) -> int:
        """Ask for one's server; the status."""
        return (await stage.create(spawner_body(user, Image=self._bench.image), f"jupyterlab-{user}")).status


def _taken(bench: Workbench) -> int:
    return len(bench.client.containers.list(all=True, filters={"label": "hubwarden.agent=jupyterlab-{username}"}))


@pytest.mark.parametrize(("size", "parallel"), [(CROWD, True), (MANY, False)], ids=["at once", "one by one"])
async def test_a_thousand_containers(
    bench: Workbench, engine: DockerEngine, tmp_path: Path, *, size: int, parallel: bool
) -> None:
    """As many as there is room for are created; others get 429, or 503 of a busy gateway, and leave nothing."""
    crowd = Crowd(bench, size)
    policy = replace(
        POLICY, images=(bench.image,), max_containers=_taken(bench) + FEW, max_creates=parse_rate("99/minute")
    )
    async with gateway(engine, tmp_path, spawn=policy) as stage:
        asked = [crowd.create(stage, user) for user in crowd.users]
        statuses = await asyncio.gather(*asked) if parallel else [await one for one in asked]
        assert Counter(statuses)[201] == FEW
        assert set(statuses) - {201, 429} <= ({503} if parallel else set())
        assert (crowd.containers(), crowd.volumes()) == (FEW, FEW)
        # The twin: room that was given back can be taken.
        freed = crowd.users[statuses.index(201)]
        assert (await stage.request("DELETE", f"/v1.44/containers/jupyterlab-{freed}?v=True")).status == 204
        assert await crowd.create(stage, freed) == 201


async def test_a_thousand_volumes(bench: Workbench, engine: DockerEngine, tmp_path: Path) -> None:
    """Removing each container at once does not help: creates have a rate, and a volume comes with a create only."""
    crowd = Crowd(bench, MANY)
    policy = replace(
        POLICY, images=(bench.image,), max_containers=_taken(bench) + MANY, max_creates=parse_rate("3/minute")
    )
    async with gateway(engine, tmp_path, spawn=policy) as stage:
        statuses = []
        for user in crowd.users:
            statuses.append(await crowd.create(stage, user))
            await stage.request("DELETE", f"/v1.44/containers/jupyterlab-{user}?v=True")
        assert Counter(statuses) == {201: FEW, 429: MANY - FEW}
        assert (crowd.containers(), crowd.volumes()) == (0, FEW)
        stage.clock.advance(61)
        assert await crowd.create(stage, crowd.users[-1]) == 201


@pytest.mark.parametrize("parallel", [True, False], ids=["at once", "one by one"])
async def test_a_thousand_volumes_left_behind(
    bench: Workbench, engine: DockerEngine, tmp_path: Path, *, parallel: bool
) -> None:
    """However slowly: as many volumes as the policy has room for, and a user who has one already is none the worse."""
    crowd = Crowd(bench, MANY)
    there = sum(1 for volume in bench.client.volumes.list() if LIKE_OURS.fullmatch(volume.name))
    policy = replace(
        POLICY, images=(bench.image,), max_containers=1000, max_volumes=there + FEW, max_creates=parse_rate("99/minute")
    )
    async with gateway(engine, tmp_path, spawn=policy) as stage:
        asked = [crowd.create(stage, user) for user in crowd.users]
        statuses = await asyncio.gather(*asked) if parallel else [await one for one in asked]
        assert Counter(statuses) == {201: FEW, 429: MANY - FEW}
        assert (crowd.containers(), crowd.volumes()) == (FEW, FEW)
        has_one, has_none = (crowd.users[statuses.index(status)] for status in (201, 429))
        await stage.request("DELETE", f"/v1.44/containers/jupyterlab-{has_one}?v=True")
        assert await crowd.create(stage, has_one) == 201
        # The twin: room that was given back can be taken.
        await stage.request("DELETE", f"/v1.44/containers/jupyterlab-{has_one}?v=True")
        bench.client.volumes.get(f"jupyterlab-{has_one}_home").remove()
        assert await crowd.create(stage, has_none) == 201


@pytest.fixture
def declaring(bench: Workbench) -> Iterator[str]:
    """An image that declares two paths as volumes."""
    dockerfile = io.BytesIO(f"FROM {bench.image}\nVOLUME /scratch /more\n".encode())
    image, _ = bench.client.images.build(fileobj=dockerfile, tag="hubwarden-test/declaring:latest", rm=True)
    yield image.tags[0]
    bench.client.images.remove(image.tags[0], force=True)  # also where a failed test leaves its container


async def test_volumes_that_an_image_declares(
    bench: Workbench, engine: DockerEngine, tmp_path: Path, declaring: str
) -> None:
    """They have no name, and go with their container: never more than the containers that there may be bring."""
    crowd = Crowd(bench, FEW)
    policy = replace(POLICY, images=(declaring,), max_containers=_taken(bench) + 1, max_creates=parse_rate("99/minute"))
    before = _nameless(bench)
    async with gateway(engine, tmp_path, spawn=policy) as stage:
        for user in crowd.users:
            path = f"/v1.44/containers/jupyterlab-{user}"
            assert (await stage.create(spawner_body(user, Image=declaring), f"jupyterlab-{user}")).status == 201
            assert len(_nameless(bench) - before) == 2
            assert [(await stage.request("DELETE", f"{path}{query}")).status for query in ("", "?v=False")] == [400] * 2
            assert (await stage.request("DELETE", f"{path}?v=True")).status == 204
        assert _nameless(bench) == before
    assert (crowd.containers(), crowd.volumes()) == (0, FEW)


def _nameless(bench: Workbench) -> set[str]:
    """What Docker calls volumes that nobody gave a name to."""
    return {volume.name for volume in bench.client.volumes.list() if re.fullmatch("[0-9a-f]{64}", volume.name)}
