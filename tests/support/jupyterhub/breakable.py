"""A stack whose agent and Docker can be taken away, and `docker ps` beside the Hub's API.

Invariants: whatever is broken is mended when the body ends, also when the body fails.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hubwarden.v1 import agent_pb2, agent_pb2_grpc
from support.docker.relay import Relay, RelayThread
from support.jupyterhub.gate import Gate, opened
from support.jupyterhub.people import Person
from support.jupyterhub.stack import TOKEN, Agent, Hub, running

CONFIGURATION = [
    'c.JupyterHub.tornado_settings = {"slow_stop_timeout": 0.5}',
    "c.Hubwarden.turn_wait = 1",
]


@dataclass(frozen=True)
class Stack:
    """A Hub and its agent. Between the agent and Docker: a relay that can be stopped or frozen, then a gate."""

    gate: Gate
    relay: RelayThread
    agent: Agent
    hub: Hub


@contextmanager
def breakable_stack(directory: Path, engine: str, image: str) -> Iterator[Stack]:
    """A stack of which a test may break what it mends."""
    for name in ("agent", "hub"):
        (directory / name).mkdir()
    options = {"lines_before": CONFIGURATION}
    relay = RelayThread(directory / "docker.sock", lambda: Relay(str(directory / "gate.sock"), lambda: True))
    with (
        opened(directory / "gate.sock", engine) as gate,
        running(relay),
        running(Agent(directory / "agent", str(relay.socket), image, docker_timeout=5)) as agent,
        running(Hub(directory / "hub", agent.socket, agent.gateway, image, options)) as hub,
    ):
        yield Stack(gate, relay, agent, hub)


def runs(person: Person, server: str = "") -> bool:
    """Whether Docker shows the server's container as running."""
    name = f"{person.container_name}--{server}" if server else person.container_name
    try:
        return str(person.bench.client.containers.get(name).status) == "running"
    except NotFound:
        return False


def state(person: Person, server: str = "") -> dict[str, Any]:
    """The server in the plugin's state endpoint."""
    answer = person.operator.get(f"{person.path}/hubwarden-state")
    return dict(answer.json()["servers"][server])


def is_forgotten(person: Person, server: str = "") -> bool:
    """Whether the Hub shows the server as stopped although its container runs."""
    shown = person.server(server) or {"pending": None, "ready": False}
    return not shown["pending"] and not shown["ready"] and runs(person, server)


def is_ready(person: Person, server: str = "") -> bool:
    """Whether the Hub shows a server as ready."""
    return bool((person.server(server) or {}).get("ready"))


@contextmanager
def watched(person: Person, server: str = "") -> Iterator[None]:
    """Compare Hub and Docker again and again; at the end, no difference may have been seen."""
    stop, forgotten = threading.Event(), []

    def watch() -> None:
        while not stop.wait(0.1):
            if is_forgotten(person, server):
                forgotten.append(person.server(server))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not forgotten


@contextmanager
def agent_down(stack: Stack, _person: Person) -> Iterator[None]:
    """No connection."""
    stack.agent.stop()
    try:
        yield
    finally:
        stack.agent.start()


@contextmanager
def docker_down(stack: Stack, _person: Person) -> Iterator[None]:
    """The gateway answers 503."""
    stack.relay.stop()
    try:
        yield
    finally:
        stack.relay.start()


@contextmanager
def docker_frozen(stack: Stack, _person: Person) -> Iterator[None]:
    """Docker accepts requests and answers none."""
    stack.relay.freeze()
    try:
        yield
    finally:
        stack.relay.thaw()


@contextmanager
def user_locked(stack: Stack, person: Person) -> Iterator[None]:
    """The gateway answers 409, because a restart that did not come from this Hub holds the user's lock."""
    request = agent_pb2.RestartContainerRequest(
        username=person.name, actor="service:other", request_id=str(uuid.uuid4()), expected_container=""
    )
    request.stop_timeout.seconds = 60  # the agent gives up on Docker soon after that
    with grpc.insecure_channel(f"unix://{stack.agent.socket}", (("grpc.enable_http_proxy", 0),)) as channel:
        restart = agent_pb2_grpc.DockerAgentServiceStub(channel).RestartContainer
        with stack.gate.holding("restart", lambda: restart(request, timeout=120), longest=100):
            yield


FAULTS = {
    "agent down": (agent_down, "agent"),
    "gateway answers 503": (docker_down, "agent"),
    "docker frozen": (docker_frozen, "agent"),
    "gateway answers 409": (user_locked, "operation"),
}


def delete_server(person: Person, server: str = "", token: str = TOKEN) -> int:
    """Ask the Hub to stop a server. Returns the status."""
    path = f"{person.path}/servers/{server}" if server else f"{person.path}/server"
    return person.hub.client(token).delete(path).status_code


def waits_for(person: Person, what: str, server: str = "") -> bool:
    """Whether the Hub says that the stop waits for it."""
    now = state(person, server)
    return bool(now["pending"] == "stop" and now["waiting_for"] == what)
