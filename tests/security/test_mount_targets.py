"""A Hub that chooses where volumes are mounted, against the container's /dev, judged by what the processes see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hubwarden_agent.engine.docker_engine import DockerEngine
from support.agent.gateway import POLICY, GatewayStage, gateway, spawner_body
from support.docker.private_engine import Workbench

KERNEL_FILE = "/proc/irq/default_smp_affinity"
REPORT = f"grep ' /dev ' /proc/self/mountinfo >@/mounts; head -c 20 <&1 >@/stdout; test -s {KERNEL_FILE}"
"""Writes to the volume at `@` what is mounted on /dev, and what an open standard output gives to read."""


@pytest.fixture
def linked(bench: Workbench) -> Iterator[str]:
    """An image like Debian's, in which /var/run is a link to /run."""
    maker = bench.container("hubwarden-linked", "mkdir -p /run /var /home/jovyan && ln -s /run /var/run", start=True)
    maker.wait(timeout=30)
    image = maker.commit("hubwarden-linked", "1")
    yield "hubwarden-linked:1"
    bench.client.images.remove(image.id, force=True)


class Taken:
    """A taken-over Hub with a user of its own: two volumes that it may mount, and links in them."""

    def __init__(self, stage: GatewayStage, bench: Workbench) -> None:
        self.stage = stage
        self.bench = bench
        self.user = bench.username()
        self.name = f"jupyterlab-{self.user}"
        self.home, self.workspace = f"{self.name}_home", f"{self.name}_workspace"
        for volume in (self.home, self.workspace):
            bench.volume(volume)
        bench.forget_container(self.name)

    def write(self, volume: str, command: str) -> None:
        """What the user does in a volume: a shell in its folder."""
        writer = self.bench.container(f"{self.name}-writer", f"cd /v && {command}", mounts={volume: "/v"})
        assert writer.wait(timeout=30)["StatusCode"] == 0
        writer.remove()

    def read(self, volume: str, file: str) -> str:
        """What a file in a volume holds; empty if it is not there."""
        reader = self.bench.container(f"{self.name}-reader", f"cat /v/{file} || true", mounts={volume: "/v"})
        reader.wait(timeout=30)
        text = reader.logs(stderr=False).decode()
        reader.remove()
        return str(text)

    async def create(self, binds: dict[str, str], command: str) -> int:
        """Ask for a container; the status."""
        host = {"Binds": [f"{volume}:{target}:rw" for volume, target in binds.items()]}
        body = spawner_body(
            self.user, Image="hubwarden-linked:1", Cmd=["/bin/sh", "-c", command], Volumes={}, host=host
        )
        return (await self.stage.create(body, self.name)).status

    async def start(self) -> int:
        """Ask for its start, and wait until it has ended; the status."""
        reply = await self.stage.request("POST", f"/v1.44/containers/{self.name}/start")
        if reply.status == 204:
            self.bench.client.containers.get(self.name).wait(timeout=30)
        return reply.status


@pytest.fixture
async def taken(bench: Workbench, engine: DockerEngine, linked: str, tmp_path: Path) -> AsyncIterator[Taken]:
    """A taken-over Hub on a gateway in front of the private engine."""
    async with gateway(engine, tmp_path, spawn=replace(POLICY, images=(linked,))) as stage:
        yield Taken(stage, bench)


async def test_two_binds_through_a_link(taken: Taken) -> None:
    """When two targets meet at /dev through a link of the user's, the container does not get root's descriptor."""
    taken.write(taken.home, "ln -s /dev x")
    taken.write(taken.workspace, f"ln -s {KERNEL_FILE} null")
    binds = {taken.home: "/run", taken.workspace: "/var/run/x"}
    created = await taken.create(binds, REPORT.replace("@", "/run"))
    if created == 201:
        await taken.start()
    assert taken.read(taken.home, "stdout") == "", "standard output is a file of the host's kernel"
    assert taken.workspace not in taken.read(taken.home, "mounts")
    assert created == 400


async def test_a_second_start_after_a_folder_became_a_link(taken: Taken) -> None:
    """When a folder above a target becomes a link before a kept container starts again, /dev stays the container's."""
    taken.write(taken.workspace, f"ln -s {KERNEL_FILE} null")
    turn = "mv /home/jovyan/a /home/moved && ln -s / /home/jovyan/a"
    created = await taken.create({taken.workspace: "/home/jovyan/a/dev"}, f"{REPORT.replace('@', '/dev')}; {turn}")
    for _ in range(2 if created == 201 else 0):
        await taken.start()
    assert taken.workspace not in taken.read(taken.workspace, "mounts")
    assert taken.read(taken.workspace, "stdout") == "", "standard output is a file of the host's kernel"
    assert created == 400
