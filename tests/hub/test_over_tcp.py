"""A Hub that reaches its agent over TCP with mutual TLS, and goes on when both sides' certificates are renewed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.docker.private_engine import Workbench
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub, running
from support.waiting.conditions import wait_for
from support.waiting.ports import free_port

FILES = ("agent.key", "agent.crt", "hub.key", "hub.crt", "ca.crt")


def issue(directory: Path, hub_name: str) -> Path:
    """A CA with a certificate each for agent and Hub, by the agent's own tool."""
    command = [str(Path(sys.executable).with_name("hubwarden-agent")), "certs", "init", str(directory)]
    subprocess.run([*command, "--agent-host", "localhost", "--hub-name", hub_name], check=True, capture_output=True)
    return directory


def put(issued: Path, place: Path) -> None:
    """Put new files where agent and Hub look, each replaced at once."""
    for name in FILES:
        new = place / f"{name}.new"
        shutil.copy(issued / name, new)
        new.rename(place / name)


@pytest.fixture
def port() -> int:
    """The agent's."""
    return free_port()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Where both look; one Hub is listed now, and one for later."""
    place = tmp_path / "certificates"
    place.mkdir()
    put(issue(tmp_path / "first", "hub-1.example.org"), place)
    return place


@pytest.fixture
def remote_agent(
    session_bench: Workbench, engine: str, tmp_path: Path, certificates: Path, port: int
) -> Iterator[Agent]:
    """An agent that also listens on TCP."""
    directory = tmp_path / "agent"
    directory.mkdir()
    agent = Agent(directory, engine, session_bench.image)
    config = directory / "agent.toml"
    text = config.read_text().replace('agent.sock"]', f'agent.sock", "tcp://localhost:{port}"]')
    files = "".join(
        f'{key} = "{certificates}/{name}"\n'
        for key, name in (("certificate", "agent.crt"), ("key", "agent.key"), ("client_ca", "ca.crt"))
    )
    clients = 'clients = ["dns:hub-1.example.org", "dns:hub-2.example.org"]\n'
    config.write_text(f"{text}[tls]\n{files}{clients}")
    with running(agent):
        yield agent


def callers(agent: Agent, person: Person) -> list[tuple[str, str]]:
    """Operation and client of every outcome for this person, as the agent recorded them."""
    lines = map(json.loads, (agent.directory / "state" / "audit.jsonl").read_text().splitlines())
    return [
        (line["operation"], line["client"])
        for line in lines
        if line["username"] == person.name and line["phase"] == "outcome" and line["client"] != "gateway"
    ]


def test_a_restart_and_a_reset_before_and_after_renewal(
    remote_agent: Agent,
    make_hub: Callable[..., Hub],
    make_person: Callable[..., Person],
    certificates: Path,
    port: int,
    tmp_path: Path,
) -> None:
    """Both work, by whom the Hub's certificate says it is; new files, CA included, need no restart of either."""
    lines = [f'c.Hubwarden.agent_address = "tcp://localhost:{port}"'] + [
        f'c.Hubwarden.{trait} = "{certificates}/{name}"'
        for trait, name in (("tls_ca", "ca.crt"), ("tls_certificate", "hub.crt"), ("tls_key", "hub.key"))
    ]
    hub = make_hub(remote_agent, lines_before=lines)
    hub.start()
    person = make_person(hub)
    person.start()
    before = person.started_at()
    assert person.restart().status_code == 200
    assert person.started_at() != before
    person.stop()
    assert person.reset().status_code == 200
    assert callers(remote_agent, person) == [
        ("restart", "dns:hub-1.example.org"),
        ("reset", "dns:hub-1.example.org"),
    ]

    person.start()
    put(issue(tmp_path / "second", "hub-2.example.org"), certificates)
    wait_for(
        lambda: (
            person.restart().status_code == 200 and callers(remote_agent, person)[-1][1].endswith("hub-2.example.org")
        ),
        "a restart with the new certificates",
    )
    assert person.visit().json()["user"] == person.name
    person.stop()
    assert person.reset().status_code == 200
    assert callers(remote_agent, person)[-1] == ("reset", "dns:hub-2.example.org")
