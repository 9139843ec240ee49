"""An agent whose audit's disk is full does nothing, says so, and works again once there is room."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from hubwarden_agent.tools.audit import verify
from support.agent.client import PATIENCE, refusal_of, reset_request, restart_request
from support.agent.client import refused as read_refusal
from support.agent.killable_agent import AgentProcess
from support.docker.private_engine import Workbench


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own, of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "hubwarden-test", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture
async def agent(small_disk: Path, engine_socket: str) -> AsyncIterator[AgentProcess]:
    """An agent whose state lies there."""
    agent = AgentProcess(small_disk, Path(engine_socket), log=small_disk.parent / "agent.log")
    await agent.start()
    yield agent
    agent.close()


def _fill(disk: Path) -> Path:
    """Take every page that is free."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


async def test_a_full_disk(agent: AgentProcess, small_disk: Path, bench: Workbench) -> None:
    """When the audit's disk is full, both operations are AUDIT_UNAVAILABLE and change nothing; with room, both work."""
    username, other = bench.username(), bench.username()
    container, home = f"jupyterlab-{username}", f"jupyterlab-{other}_home"
    bench.volume(home)
    bench.container(container)
    async with agent.client() as stub:
        ballast = _fill(small_disk)
        # The last page of the audit has room for a few lines; the budget bounds the loop.
        with pytest.raises(grpc.aio.AioRpcError) as full:  # noqa: PT012 - which restart is the first refused, the size of a page decides
            while True:
                await stub.RestartContainer(restart_request(username), timeout=PATIENCE)
        assert read_refusal(full.value).reason == "AUDIT_UNAVAILABLE"
        started = bench.client.containers.get(container).attrs["State"]["StartedAt"]
        for _ in range(2):
            refused = await refusal_of(stub.RestartContainer(restart_request(username), timeout=PATIENCE))
            assert refused.reason == "AUDIT_UNAVAILABLE"
        refused = await refusal_of(stub.ResetHomeVolume(reset_request(other), timeout=PATIENCE))
        assert refused.reason == "AUDIT_UNAVAILABLE"
        assert bench.client.containers.get(container).attrs["State"]["StartedAt"] == started
        assert bench.client.volumes.get(home)

        ballast.unlink()
        answer = await stub.RestartContainer(restart_request(username), timeout=PATIENCE)
        assert answer.container == container
        assert (await stub.ResetHomeVolume(reset_request(other), timeout=PATIENCE)).volume == home
    assert list(verify(agent.audit, []))[-1].startswith("whole from 1 ")
