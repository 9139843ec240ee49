"""The progress endpoints and the state endpoint of a real Hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub
from support.waiting.conditions import wait_for


def events(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Everything that a stream says, to its end."""
    with client.stream("GET", path) as answer:
        assert answer.status_code == httpx.codes.OK, answer.read()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        return [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data: ")]


def state(person: Person, client: httpx.Client | None = None, **options: Any) -> httpx.Response:
    """The user's state."""
    return (client or person.operator).get(f"{person.path}/hubwarden-state", **options)


@pytest.mark.every_hub
def test_strangers_see_neither_progress_nor_state(hub: Hub, make_person: Callable[..., Person]) -> None:
    """Another user gets 403 or 404 from each of the endpoints, and so does a token without the scope."""
    alice, bob = make_person(hub), make_person(hub)
    for client in (bob.client(), alice.client("read:users:name!user")):
        for path in ("restart-server/progress", "reset-home-volume/progress", "hubwarden-state"):
            answer = client.get(f"{alice.path}/{path}")
            assert answer.status_code in {httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND}, path


def test_progress_without_anything_under_way(person: Person) -> None:
    """A stopped server has no restart to follow (400), a home no reset (404); a ready server is said to be ready."""
    assert person.operator.get(f"{person.path}/restart-server/progress").status_code == httpx.codes.BAD_REQUEST
    assert person.operator.get(f"{person.path}/reset-home-volume/progress").status_code == httpx.codes.NOT_FOUND
    person.start()
    (event,) = events(person.operator, f"{person.path}/restart-server/progress")
    assert event["ready"]
    assert event["url"].endswith(f"/user/{person.name}/")


@pytest.mark.every_hub
def test_a_restart_is_told_to_its_end(person: Person) -> None:
    """Percentages only grow, phases come once each, and the last event says ready, with the restart's request id."""
    person.start()
    answers: list[httpx.Response] = []
    restart = threading.Thread(target=lambda: answers.append(person.restart(person.hub.client())))
    restart.start()
    wait_for(lambda: state(person).json()["servers"][""]["pending"] == "restart", "the restart")
    told = events(person.operator, f"{person.path}/restart-server/progress")
    restart.join()
    percentages = [event["progress"] for event in told]
    assert percentages == sorted(set(percentages))
    assert "stopping" in {event["phase"] for event in told[:-1]}
    assert told[-1]["ready"]
    assert {event["request_id"] for event in told} == {answers[0].json()["request_id"]}


def test_a_reset_is_told_to_its_end(person: Person) -> None:
    """The last reset's end is in its stream and in the state, without a volume's name that nobody asked for."""
    person.start()
    person.stop()
    request_id = person.reset().json()["request_id"]
    told = events(person.operator, f"{person.path}/reset-home-volume/progress")
    assert told[-1]["ready"]
    assert told[-1]["request_id"] == request_id
    assert state(person).json()["reset"]["request_id"] == request_id


def test_an_unchanged_state_is_304(person: Person) -> None:
    """When a request carries the ETag and nothing has changed, the answer is empty."""
    first = state(person, person.client())
    again = state(person, person.client(), headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == httpx.codes.NOT_MODIFIED
    assert again.content == b""


def test_the_state_notices_a_crash_before_the_hubs_own_poll(
    agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """Asking for the state brings the poll forward: the server that was killed is stopped, for the Hub too."""
    hub = make_hub(agent, lines_after=["c.Spawner.poll_interval = 3600"])
    hub.start()
    person = make_person(hub)
    person.start()
    person.container().kill()
    wait_for(lambda: state(person).json()["servers"][""]["stopped"], "the Hub's notice of the crash")
    assert person.server() is None
