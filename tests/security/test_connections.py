"""Clients that hold on to a connection, or put one request behind another: by what the engine makes of it."""

from __future__ import annotations

import asyncio
import re

import pytest
from hubwarden_agent.gateway import app, request_reader
from support.scenarios.attacks.case import BODY, TWIN, create
from support.scenarios.attacks.harness import AttackHarness
from support.waiting.conditions import until

OUTSIDE = 5.0
"""Far above the deadlines that these tests set."""

HELD = (
    pytest.param(b"", b"", id="nothing"),
    pytest.param(b"POST /v1.44/conta", b"", id="half a line"),
    pytest.param(b"POST /v1.44/containers/create?name=xy HTTP/1.1\r\nHost: x\r\n", b"", id="half a header"),
    pytest.param(
        b"POST /v1.44/containers/create?name=xy HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 20\r\n\r\n{",
        b"408",
        id="half a body",
    ),
)


@pytest.mark.parametrize(("start", "status"), HELD)
async def test_a_slow_client(
    ground: AttackHarness, monkeypatch: pytest.MonkeyPatch, start: bytes, status: bytes
) -> None:
    """It is cut off in time, and meanwhile everybody else is served."""
    monkeypatch.setattr(request_reader, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(request_reader, "BODY_SECONDS", 0.3)
    reader, writer = await asyncio.open_unix_connection(str(ground.stage.path))
    writer.write(start)
    assert (await ground.stage.raw(TWIN.encoded(ground.tokens))).status == 201
    async with asyncio.timeout(OUTSIDE):
        assert (await _rest(reader))[9:12] == status
    writer.close()


async def test_a_slow_client_that_gets_there(ground: AttackHarness) -> None:
    """The twin: a request that comes in pieces, in time, is a request."""
    reader, writer = await asyncio.open_unix_connection(str(ground.stage.path))
    data = TWIN.encoded(ground.tokens)
    for start in range(0, len(data), 100):
        writer.write(data[start : start + 100])
        await writer.drain()
    assert (await _rest(reader)).startswith(b"HTTP/1.1 201")
    writer.close()


async def test_a_request_hidden_in_a_body(ground: AttackHarness) -> None:
    """What is within the declared length is a body and never a request; here it would remove the victim."""
    hidden = f"DELETE /v1.44/containers/{ground.tokens['victim']}?force=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    reply = await ground.stage.raw(create(hidden).encoded(ground.tokens))
    assert (reply.status, "JSON" in reply.message) == (400, True)
    assert (await ground.ask("GET", f"/containers/{ground.tokens['victim_id']}/json"))[1]["State"]["Running"]
    assert (await ground.stage.raw(create(BODY).encoded(ground.tokens))).status == 201


@pytest.mark.parametrize("refused", [True, False], ids=["behind a refused one", "behind a sound one"])
async def test_a_request_behind_another(ground: AttackHarness, *, refused: bool) -> None:
    """It is never looked at, whatever became of the first; on a connection of its own it is done."""
    first = create({**BODY, "HostConfig": {**BODY["HostConfig"], "Privileged": True}}) if refused else TWIN
    behind = f"POST /v1.44/containers/{ground.tokens['own']}/start HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    sent = first.encoded(ground.tokens).replace(b"Connection: close\r\n", b"")
    reader, writer = await asyncio.open_unix_connection(str(ground.stage.path))
    writer.write(sent + (TWIN.encoded(ground.tokens) if refused else behind))
    async with asyncio.timeout(OUTSIDE):
        text = (await _rest(reader)).decode()
    writer.close()
    assert re.findall(r"HTTP/1\.1 (\d+)", text) == ["400" if refused else "201"]
    status, made = await ground.ask("GET", f"/containers/{ground.tokens['own']}/json")
    assert status == (404 if refused else 200)
    assert refused or made["State"]["Status"] == "created"
    assert (await ground.stage.raw(TWIN.encoded(ground.tokens) if refused else behind)).status == (
        201 if refused else 204
    )


async def test_a_client_that_asks_and_never_listens(ground: AttackHarness) -> None:
    """A million pings on one connection: one is answered, no other is read, and everybody else is served."""
    reader, writer = await asyncio.open_unix_connection(str(ground.stage.path), limit=1)
    writer.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000)
    async with asyncio.timeout(OUTSIDE):
        assert await reader.read(1) == b"H"
        assert b"HTTP/1.1 " not in await _rest(reader)
    assert (await ground.stage.raw(TWIN.encoded(ground.tokens))).status == 201
    writer.transport.abort()


async def test_more_silent_clients_than_threads(ground: AttackHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """When more clients stay silent than there are workers, each is disconnected in time and a later one is served."""
    monkeypatch.setattr(request_reader, "HEAD_SECONDS", 0.3)
    silent = [await asyncio.open_unix_connection(str(ground.stage.path)) for _ in range(3 * app.WORKERS)]
    async with asyncio.timeout(OUTSIDE):
        assert (await ground.stage.raw(TWIN.encoded(ground.tokens))).status == 201
        assert [await _rest(reader) for reader, _ in silent] == [b""] * len(silent)
    for _, writer in silent:
        writer.close()


async def test_a_client_that_leaves_at_once(ground: AttackHarness) -> None:
    """A create whose sender does not wait for the answer is made whole or not at all, and stays the sender's own."""
    _, writer = await asyncio.open_unix_connection(str(ground.stage.path))
    writer.write(TWIN.encoded(ground.tokens))
    await writer.drain()
    writer.close()
    await until(lambda: ("outcome", None) in ground.stage.audit.phases())
    status, made = await ground.ask("GET", f"/containers/{ground.tokens['own']}/json")
    assert (status, made["Config"]["Labels"]["hubwarden.owner"]) == (200, ground.tokens["user"])


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the end, which may be abrupt."""
    try:
        return await reader.read()
    except (ConnectionResetError, BrokenPipeError):
        return b""
