"""Renewed files are served without a restart and without hurting what runs; broken ones are not, and are reported."""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hubwarden.v1 import agent_pb2
from hubwarden_agent import tls, tls_listener
from hubwarden_agent.config import ConfigurationError
from support.agent.tls import LOOPBACK, NOW, SERVER, YEAR, RemoteStage, authority, issued, remote_agent
from support.waiting.conditions import until
from support.waiting.threads import in_background


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[RemoteStage]:
    """An agent that serves on TCP."""
    async with remote_agent(tmp_path) as stage:
        yield stage


async def _code(stub: Any) -> str:
    """What a client gets that asks about Bob's home."""
    request = agent_pb2.ResetHomeVolumeRequest(username="bob", actor="user:bob", validate_only=True)
    try:
        await stub.ResetHomeVolume(request, timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_everything_is_renewed_and_a_running_operation_is_not_dropped(stage: RemoteStage) -> None:
    """With a new CA, certificate and key, new connections use them only, and an operation under way gets its answer."""
    old = stage.stub(issued(stage.ca))
    stage.engine.hold["restart_container"] = threading.Event()
    request = agent_pb2.RestartContainerRequest(username="alice", actor="user:alice", request_id=str(uuid.uuid4()))
    running = asyncio.ensure_future(old.RestartContainer(request, timeout=20))
    await until(lambda: stage.engine.calls)
    new_ca = authority("The next CA")
    stage.files.write(issued(new_ca, LOOPBACK, purpose=SERVER), new_ca)
    stage.certificates.reload()
    assert await _code(stage.stub(issued(new_ca), new_ca)) == "OK"
    assert await _code(stage.stub(issued(stage.ca), new_ca)) == "UNAVAILABLE"
    assert await _code(stage.stub(issued(stage.ca))) == "UNAVAILABLE"
    stage.engine.hold["restart_container"].set()
    assert (await running).container == "jupyterlab-alice"


async def test_a_client_taken_off_the_list_is_out_at_once(stage: RemoteStage) -> None:
    """Its next call is refused, on the connection that it has; put back, it is let in again."""
    stub = stage.stub(issued(stage.ca))
    assert await _code(stub) == "OK"
    stage.files.clients = ("dns:another.example.org",)
    stage.certificates.reload()
    assert await _code(stub) == "PERMISSION_DENIED"
    stage.files.clients = ("dns:another.example.org", "dns:hub.example.org")
    stage.certificates.reload()
    assert await _code(stub) == "OK"


async def test_an_empty_list_is_nobody(stage: RemoteStage) -> None:
    """When the list becomes empty, the only client is refused at its next call, and that is no mistake."""
    stub = stage.stub(issued(stage.ca))
    assert await _code(stub) == "OK"
    stage.files.clients = ()
    stage.certificates.reload()
    assert await _code(stub) == "PERMISSION_DENIED"
    assert stage.certificates.last_error == ""


@pytest.mark.parametrize("content", [b"half a fi", None])
async def test_a_list_does_not_wait_for_the_files(stage: RemoteStage, content: bytes | None) -> None:
    """When the certificate is broken or expired, the lists of clients are taken over all the same."""
    stub, before = stage.stub(issued(stage.ca)), stage.certificates.current
    expired = issued(stage.ca, LOOPBACK, purpose=SERVER, start=NOW - 2 * YEAR)
    stage.files.write(expired, stage.ca)
    if content:
        (stage.files.directory / "agent.crt").write_bytes(content)
    stage.files.clients = ()
    stage.certificates.reload()
    assert await _code(stub) == "PERMISSION_DENIED"
    assert stage.certificates.current.certificate == before.certificate
    assert "agent.crt" in stage.certificates.last_error


async def test_reloading_survives_any_failure(
    stage: RemoteStage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When a reload raises anything, what is served stays, the log has it once, and the next reload is tried."""
    before = stage.certificates.current
    with monkeypatch.context() as broken:
        broken.setattr(tls, "_demand", lambda *_: 1 / 0)
        stage.certificates.reload()
        stage.certificates.reload()
    assert stage.certificates.current is before
    assert stage.certificates.last_error == "division by zero"
    assert [record.name for record in caplog.records if record.exc_info] == ["hubwarden_agent.tls_listener"]
    stage.certificates.reload()
    assert stage.certificates.last_error == ""


@pytest.mark.parametrize("name", ["agent.crt", "agent.key", "ca.crt"])
async def test_a_broken_file_keeps_what_was_served(
    stage: RemoteStage, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once which file it is, `last_error` says so while it lasts, and repairing it ends it."""
    path = stage.files.directory / name
    good, before = path.read_bytes(), stage.certificates.current
    path.write_bytes(b"half a fi")
    with caplog.at_level(logging.INFO, "hubwarden_agent.tls_listener"):
        stage.certificates.reload()
        stage.certificates.reload()
    assert stage.certificates.current is before
    assert str(path) in stage.certificates.last_error
    said = [record.getMessage() for record in caplog.records if record.name == "hubwarden_agent.tls_listener"]
    assert [str(path) in message for message in said] == [True]
    assert await _code(stage.stub(issued(stage.ca))) == "OK"
    path.write_bytes(good)
    stage.certificates.reload()
    assert stage.certificates.last_error == ""


async def test_an_expired_renewal_is_not_served(stage: RemoteStage) -> None:
    """What replaces a valid certificate has to be valid."""
    before = stage.certificates.current
    stage.files.write(issued(stage.ca, LOOPBACK, purpose=SERVER, start=NOW - 2 * YEAR), stage.ca)
    stage.certificates.reload()
    assert stage.certificates.current is before
    assert "expired on" in stage.certificates.last_error


async def test_half_of_a_renewal_is_not_served(stage: RemoteStage) -> None:
    """Between the new certificate's arrival and its key's, the old pair is served; then the new one."""
    key = (stage.files.directory / "agent.key").read_bytes()
    stage.files.write(issued(stage.ca, LOOPBACK, purpose=SERVER), stage.ca)
    new_key = (stage.files.directory / "agent.key").read_bytes()
    (stage.files.directory / "agent.key").write_bytes(key)
    before = stage.certificates.current
    stage.certificates.reload()
    assert stage.certificates.current is before
    (stage.files.directory / "agent.key").write_bytes(new_key)
    stage.certificates.reload()
    assert stage.certificates.current.key == new_key


async def test_files_are_reloaded_while_it_serves(stage: RemoteStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """When files change, the agent reloads them without being told."""
    monkeypatch.setattr(tls_listener, "RELOAD_INTERVAL", 0.01)
    stopping = threading.Event()
    reloading = in_background(lambda: stage.certificates.run(stopping))
    stage.files.write(issued(stage.ca, LOOPBACK, purpose=SERVER), stage.ca)
    certificate = (stage.files.directory / "agent.crt").read_bytes()
    await until(lambda: stage.certificates.current.certificate == certificate)
    stopping.set()
    await asyncio.wrap_future(reloading)


async def test_there_is_no_first_material_to_keep(tmp_path: Path) -> None:
    """An agent does not start with files that it could not serve."""
    async with remote_agent(tmp_path) as stage:
        (tmp_path / "ca.crt").unlink()
        with pytest.raises(ConfigurationError):
            stage.files.store()
