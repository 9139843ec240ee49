"""The gateway's end: what runs is finished, and nothing new begins."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import web
from hubwarden_agent.gateway.listener import Handler, Listener


@pytest.fixture
def bound(tmp_path: Path) -> socket.socket:
    """A socket on a path of its own."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(tmp_path / "docker.sock"))
    return made


def slow_handler(begun: asyncio.Event, seconds: float) -> Handler:
    """Answers "done" after a while."""

    async def answer(_: web.BaseRequest) -> web.Response:
        begun.set()
        await asyncio.sleep(seconds)
        return web.Response(text="done")

    return answer


async def test_a_running_request_is_finished(bound: socket.socket) -> None:
    """And its answer arrives; whoever comes later finds no listener."""
    begun = asyncio.Event()
    listener = Listener(slow_handler(begun, 0.2), drain_seconds=5)
    path = bound.getsockname()
    await listener.start(bound)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await begun.wait()
    stopping = asyncio.create_task(listener.stop())
    await asyncio.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_unix_connection(path)
    assert (await reader.read()).endswith(b"done")
    await stopping
    writer.close()


async def test_a_request_that_does_not_end_is_given_up(bound: socket.socket) -> None:
    """After the time that it may take."""
    begun = asyncio.Event()
    listener = Listener(slow_handler(begun, 60), drain_seconds=0.1)
    path = bound.getsockname()
    await listener.start(bound)
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await begun.wait()
    async with asyncio.timeout(5):
        await listener.stop()
    writer.close()


async def test_a_listener_that_never_started_can_be_stopped() -> None:
    """The gateway is off by default."""
    await Listener(slow_handler(asyncio.Event(), 0), drain_seconds=1).stop()
