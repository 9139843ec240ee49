"""A Docker that takes connections and then says nothing: who waits for whom, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.docker_spawn import DockerSpawnEngine
from hubwarden_agent.engine.port import EngineUnavailable
from hubwarden_agent.names import ContainerId
from support.waiting.conditions import until

CONTAINER = ContainerId(f"{1:064x}")
BOUND = 30
"""Seconds for what takes a second or two: far below the patience with a change."""
ANSWERS = {
    "GET /version": b'{"ApiVersion": "1.45"}',
    "GET /v1.45/volumes": b'{"Volumes": []}',
    f"POST /v1.45/containers/{CONTAINER.value}/start": b"",
}


class Silent:
    """Docker, as far as it is asked here. While `answering` is not set, it takes requests and holds them."""

    def __init__(self) -> None:
        self.answering = asyncio.Event()
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which carries one request."""
        request = " ".join((await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)[:2])
        self.asked.append(request)
        await self.answering.wait()
        answer = ANSWERS[request]
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(answer)}\r\n\r\n"
        writer.write(head.encode() + answer)
        writer.close()


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[Silent]:
    """It, on a socket."""
    docker = Silent()
    async with await asyncio.start_unix_server(docker.serve, tmp_path / "docker.sock"):
        yield docker
        docker.answering.set()


async def test_a_change_that_connects_does_not_hold_up_an_inspect(tmp_path: Path, silent: Silent) -> None:
    """When Docker hangs at the first change's connect, later calls do not wait for that one."""
    engine = DockerSpawnEngine(f"unix://{tmp_path}/docker.sock", timeout=600, change_timeout=600, clock=SystemClock())
    starting = asyncio.ensure_future(asyncio.to_thread(engine.start_container, CONTAINER))
    await until(lambda: silent.asked)
    held, silent.answering = silent.answering, asyncio.Event()
    silent.answering.set()
    async with asyncio.timeout(BOUND):
        assert await asyncio.to_thread(engine.volume_names) == ()
        assert not starting.done()
        held.set()
        await starting
    engine.close()


async def test_connecting_takes_no_longer_than_a_question(tmp_path: Path, silent: Silent) -> None:
    """Also for a change; who waits for another that connects gives up, too."""
    engine = DockerSpawnEngine(f"unix://{tmp_path}/docker.sock", timeout=1, change_timeout=600, clock=SystemClock())
    async with asyncio.timeout(BOUND):
        ended = await asyncio.gather(
            *(asyncio.to_thread(engine.start_container, CONTAINER) for _ in range(4)), return_exceptions=True
        )
    assert [type(one) for one in ended] == [EngineUnavailable] * 4
    assert set(silent.asked) == {"GET /version"}
    engine.close()


async def test_a_change_has_its_own_patience_once_connected(tmp_path: Path, silent: Silent) -> None:
    """It goes on while a question that was asked later has been given up."""
    engine = DockerSpawnEngine(f"unix://{tmp_path}/docker.sock", timeout=1, change_timeout=600, clock=SystemClock())
    silent.answering.set()
    await asyncio.to_thread(engine.start_container, CONTAINER)
    await asyncio.to_thread(engine.volume_names)
    silent.answering.clear()
    starting = asyncio.ensure_future(asyncio.to_thread(engine.start_container, CONTAINER))
    await until(lambda: silent.asked[-1].startswith("POST"))
    for _ in range(2):
        with pytest.raises(EngineUnavailable):
            await asyncio.to_thread(engine.volume_names)
    assert not starting.done()
    silent.answering.set()
    await starting
    engine.close()


async def test_nothing_is_asked_after_the_end(tmp_path: Path, silent: Silent) -> None:
    """When the engine is closed, a request under way ends, and each further one is refused without a connection."""
    engine = DockerSpawnEngine(f"unix://{tmp_path}/docker.sock", timeout=600, change_timeout=600, clock=SystemClock())
    starting = asyncio.ensure_future(asyncio.to_thread(engine.start_container, CONTAINER))
    await until(lambda: silent.asked == ["GET /version"])
    engine.close()
    silent.answering.set()
    async with asyncio.timeout(BOUND):
        await starting
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await asyncio.to_thread(engine.start_container, CONTAINER)
    assert silent.asked == ["GET /version", f"POST /v1.45/containers/{CONTAINER.value}/start"]
