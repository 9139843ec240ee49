"""The Hub's way to an agent on TCP: mutual TLS only, with files that are renewed under it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from hubwarden_hub.agent import AgentClient, Deadlines
from hubwarden_hub.channel import Dialer, Files
from hubwarden_hub.commands import RequestId, ResetCommand, RestartCommand
from hubwarden_hub.errors import AgentError, Reason
from hubwarden_hub.settings import Hubwarden
from support.agent.tls import LOOPBACK, SERVER, RemoteStage, authority, issued, pem, remote_agent
from support.waiting.conditions import until
from traitlets import TraitError

DEADLINES = Deadlines(check=20, restart=20, reset=20, outcome=0)
QUESTION = ResetCommand(username="bob", actor="user:bob", request_id=RequestId.new(), expected_volume="")
RESTART = RestartCommand(
    username="alice",
    server_name="",
    actor="user:alice",
    request_id=RequestId.new(),
    expected_container="",
    stop_timeout=1,
)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[RemoteStage]:
    """An agent that serves on TCP."""
    async with remote_agent(tmp_path) as stage:
        yield stage


def _write(directory: Path, stage: RemoteStage, *names: x509.GeneralName) -> Files:
    """The Hub's files, of a certificate that is new every time."""
    certificate, key = pem(issued(stage.ca, *names))
    files = Files(directory / "agent-ca.pem", directory / "hub.pem", directory / "hub-key.pem")
    files.ca.write_bytes(pem(stage.ca)[0])
    files.certificate.write_bytes(certificate)
    files.key.write_bytes(key)
    return files


def _client(stage: RemoteStage, files: Files) -> AgentClient:
    return AgentClient(f"tcp://127.0.0.1:{stage.port}", DEADLINES, files)


async def test_a_listed_hub_is_answered(stage: RemoteStage, tmp_path: Path) -> None:
    """With its own certificate and the agent's CA, over TCP as over the socket."""
    assert (await _client(stage, _write(tmp_path, stage)).check_reset(QUESTION)).volume == "jupyterlab-bob_home"


async def test_an_unlisted_hub_is_told_so(stage: RemoteStage, tmp_path: Path) -> None:
    """The reason arrives, so that the page can say `misconfigured` and not `unreachable`."""
    client = _client(stage, _write(tmp_path, stage, x509.DNSName("other.example.org")))
    with pytest.raises(AgentError) as refused:
        await client.check_reset(QUESTION)
    assert refused.value.reason is Reason.CLIENT_NOT_ALLOWED


async def test_an_agent_of_another_ca_is_not_asked(stage: RemoteStage, tmp_path: Path) -> None:
    """When another server took the agent's place, it gets no request."""
    files = _write(tmp_path, stage)
    files.ca.write_bytes(pem(authority())[0])
    with pytest.raises(AgentError) as refused:
        await _client(stage, files).check_reset(QUESTION)
    assert refused.value.reason is Reason.AGENT_UNREACHABLE
    assert stage.audited() == []


async def test_an_agent_of_another_name_is_not_asked(stage: RemoteStage, tmp_path: Path) -> None:
    """The agent's certificate has to be for the host of the address."""
    stage.files.write(issued(stage.ca, x509.DNSName("another.example.org"), purpose=SERVER), stage.ca)
    stage.certificates.reload()
    with pytest.raises(AgentError) as refused:
        await _client(stage, _write(tmp_path, stage)).check_reset(QUESTION)
    assert refused.value.reason is Reason.AGENT_UNREACHABLE


async def test_renewed_files_are_used_and_a_running_call_is_not_dropped(stage: RemoteStage, tmp_path: Path) -> None:
    """After both sides moved to a new CA the next call gets through, and so does the one that was under way."""
    files = _write(tmp_path, stage)
    client = _client(stage, files)
    stage.engine.hold["restart_container"] = threading.Event()
    running = asyncio.ensure_future(client.restart(RESTART))
    await until(lambda: stage.engine.calls)
    stage.ca = authority("The next CA")
    stage.files.write(issued(stage.ca, LOOPBACK, purpose=SERVER), stage.ca)
    stage.certificates.reload()
    _write(tmp_path, stage)
    assert (await client.check_reset(QUESTION)).volume == "jupyterlab-bob_home"
    stage.engine.hold["restart_container"].set()
    assert (await running).container == "jupyterlab-alice"


async def test_unchanged_files_keep_the_channel(stage: RemoteStage, tmp_path: Path) -> None:
    """When the TLS files are unchanged, all calls share one connection."""
    dialer = Dialer(f"tcp://127.0.0.1:{stage.port}", _write(tmp_path, stage), 1, logging.getLogger("test"))
    assert stage.keep(dialer.channel()) is dialer.channel()


@pytest.mark.parametrize("name", ["agent-ca.pem", "hub.pem", "hub-key.pem"])
async def test_files_that_cannot_be_used_keep_the_channel(
    stage: RemoteStage, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a renewal is said once and not used; the whole of it is."""
    files = _write(tmp_path, stage)
    dialer = Dialer(f"tcp://127.0.0.1:{stage.port}", files, 1, logging.getLogger("test"))
    channel = stage.keep(dialer.channel())
    (tmp_path / name).write_bytes(b"half a fi")
    assert dialer.channel() is channel
    assert dialer.channel() is channel
    assert [record.name for record in caplog.records].count("test") == 1
    _write(tmp_path, stage)
    assert stage.keep(dialer.channel()) is not channel
    await until(lambda: not dialer._closing)  # noqa: SLF001 - channels that are being closed show nowhere else


def test_tcp_without_files_is_refused_when_the_hub_starts(tmp_path: Path) -> None:
    """Plaintext is no choice; every setting that is missing is named."""
    with pytest.raises(TraitError, match=r"needs c\.Hubwarden\.tls_ca, c\.Hubwarden\.tls_key"):
        _ = Hubwarden(agent_address="tcp://agent:7443", tls_certificate=str(tmp_path)).tls_files
    with pytest.raises(ValueError, match="TCP needs TLS files"):
        Dialer("tcp://agent:7443", None, 1, logging.getLogger("test")).channel()


@pytest.mark.parametrize("address", ["agent:7443", "tcp://agent", "tcp://agent:0", "http://agent:1", "unix://x"])
def test_other_addresses_are_refused(address: str) -> None:
    """Nothing is left to gRPC's own ideas of an address."""
    with pytest.raises(TraitError, match="must be unix:///absolute/path or tcp://HOST:PORT"):
        Hubwarden(agent_address=address)


async def test_files_that_cannot_be_used_are_refused_when_the_hub_starts(stage: RemoteStage, tmp_path: Path) -> None:
    """Missing, not PEM, or a key of another certificate: which file, and what it must be."""
    files = _write(tmp_path, stage)
    settings = Hubwarden(
        agent_address="tcp://agent:7443",
        tls_ca=str(files.ca),
        tls_certificate=str(files.certificate),
        tls_key=str(files.key),
    )
    assert settings.tls_files == files
    files.key.write_bytes(pem(issued(stage.ca))[1])
    with pytest.raises(TraitError, match=f"{files.key}: must be the key of {files.certificate}"):
        _ = settings.tls_files
    missing = replace(files, key=tmp_path / "missing")
    settings.tls_key = str(missing.key)
    with pytest.raises(TraitError, match="No such file"):
        _ = settings.tls_files
