"""Stops that the agent cannot carry out now: `docker ps` and the Hub's API, side by side.

Invariants: the Hub never shows a server as stopped while its container runs, except where an admin gave up on it.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hubwarden.v1 import agent_pb2, agent_pb2_grpc
from support.docker.private_engine import Workbench
from support.docker.relay import Relay, RelayThread
from support.jupyterhub.gate import Gate, opened
from support.jupyterhub.people import Person
from support.jupyterhub.stack import TOKEN, Agent, Hub, running
from support.waiting.conditions import wait_for

pytestmark = pytest.mark.every_hub

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


@pytest.fixture(scope="module")
def stack(session_bench: Workbench, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of which a test may break what it mends."""
    directory = tmp_path_factory.mktemp("stops")
    for name in ("agent", "hub"):
        (directory / name).mkdir()
    image, options = session_bench.image, {"lines_before": CONFIGURATION}
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


def stays(condition: Callable[[], bool], seconds: float) -> None:
    """Assert that a condition is true now and remains so."""
    until = time.monotonic() + seconds
    while True:
        assert condition()
        if time.monotonic() >= until:
            return
        time.sleep(0.2)


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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stop_waits_until_docker_has_stopped_the_server(
    stack: Stack, make_person: Callable[..., Person], fault: str
) -> None:
    """When the stop cannot be carried out, the server stays pending and the Hub says why; later it is stopped."""
    check_stop_waits(stack, make_person(stack.hub), fault, seconds=0)


@pytest.mark.full
@pytest.mark.parametrize("fault", ["gateway answers 503", "gateway answers 409", "docker frozen"])
def test_a_stop_waits_for_a_minute(stack: Stack, make_person: Callable[..., Person], fault: str) -> None:
    """When the gateway refuses for a minute, nothing gives up."""
    check_stop_waits(stack, make_person(stack.hub), fault, seconds=60)


def check_stop_waits(stack: Stack, person: Person, fault: str, seconds: float) -> None:
    """Break, stop, look, wait, look again, mend."""
    person.start()
    fails, reason = FAULTS[fault]
    with watched(person):
        with fails(stack, person):
            assert delete_server(person) == 202
            wait_for(lambda: waits_for(person, reason), f"the stop that waits for {reason}")
            assert runs(person)
            stays(lambda: waits_for(person, reason) and runs(person), seconds)
        wait_for(lambda: person.server() is None, "the stop")
    assert not runs(person)


def test_a_stop_waits_for_a_slow_restart_of_another_server(stack: Stack, make_person: Callable[..., Person]) -> None:
    """When a sibling restarts for longer than `turn_wait`, the stop waits for its end."""
    person = make_person(stack.hub)
    person.start()
    person.bench.forget_container(f"{person.container_name}--lab")
    assert person.operator.post(f"{person.path}/servers/lab").is_success
    wait_for(lambda: is_ready(person, "lab"), "the named server")
    with watched(person, "lab"), watched(person):
        with stack.gate.holding("restart", person.restart):
            assert delete_server(person, "lab") == 202
            wait_for(lambda: waits_for(person, "operation", "lab"), "the stop that waits")
            stays(lambda: waits_for(person, "operation", "lab") and runs(person, "lab"), 2)  # longer than turn_wait
        wait_for(lambda: not (person.server("lab") or {}).get("pending"), "the stop")
        wait_for(person.is_ready, "the restarted sibling")
    assert not runs(person, "lab")


def test_a_culler_and_the_deletion_of_the_user_meet_a_stop_that_waits(
    stack: Stack, make_person: Callable[..., Person]
) -> None:
    """When both come while the agent is away, the user stays until the server has stopped, and can then be deleted."""
    person = make_person(stack.hub)
    person.start()
    with watched(person):
        with agent_down(stack, person):
            assert delete_server(person, token=f"{TOKEN}-culler") == 202
            assert person.operator.delete(person.path).status_code == 400
            assert delete_server(person, token=f"{TOKEN}-culler") == 202
            assert person.operator.get(person.path).is_success
            assert runs(person)
        wait_for(lambda: person.server() is None, "the stop")
    assert not runs(person)
    assert person.operator.delete(person.path).status_code == 204
