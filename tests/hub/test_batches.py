"""Batches of restarts, through the REST API of a real Hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.jupyterhub.gate import Gated
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Hub
from support.waiting.conditions import wait_for

BATCHES = "hubwarden/batches"


def begin(client: httpx.Client, *people: Person, **options: Any) -> httpx.Response:
    """Ask for a batch of these people's default servers."""
    servers = [{"user": person.name, "server": ""} for person in people]
    return client.post(BATCHES, json={"servers": servers, "operation": "restart", **options})


@pytest.mark.every_hub
def test_a_batch_restarts_its_servers_and_is_its_authors(hub: Hub, make_person: Callable[..., Person]) -> None:
    """When an admin begins a batch, its servers restart and its events tell so; others see none, nor begin one."""
    people = [make_person(hub), make_person(hub)]
    for person in people:
        person.start()
    before = [person.started_at() for person in people]
    client, user = hub.client(), people[0].client()
    assert begin(user, *people).status_code == 404
    assert client.post(BATCHES, json={"servers": [], "operation": "restart"}).json()["reason"] == "INVALID_REQUEST"
    accepted = begin(client, *people)
    assert accepted.status_code == httpx.codes.ACCEPTED
    path = f"{BATCHES}/{accepted.json()['id']}"
    assert accepted.headers["Location"] == f"/hub/api/{path}"
    for method, below in (("GET", ""), ("DELETE", ""), ("GET", "/progress")):
        assert user.request(method, path + below).status_code == 404
    with client.stream("GET", f"{path}/progress") as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert json.loads(lines[-1].removeprefix("data: "))["counts"] == {"done": 2}
    assert client.get(path).json()["state"] == "done"
    again = begin(client, *people, announce_minutes=1)
    assert again.json()["id"] != accepted.json()["id"]
    assert people[1].operator.get(f"{people[1].path}/hubwarden-state").json()["restart_announced"]
    assert client.delete(f"{BATCHES}/{again.json()['id']}").status_code == 200
    wait_for(lambda: client.get(f"{BATCHES}/{again.json()['id']}").json()["state"] == "stopped", "the stop")
    assert all(person.started_at() > earlier for person, earlier in zip(people, before, strict=True))
    own = begin(user, people[0], announce_minutes=1)
    assert (own.status_code, own.json()["author"]) == (httpx.codes.ACCEPTED, f"user:{people[0].name}")
    assert client.delete(f"{BATCHES}/{own.json()['id']}").status_code == 200


@pytest.mark.slow("a Hub is killed and started")
def test_a_batch_is_interrupted_with_the_hub(gated: Gated, make_person: Callable[..., Person]) -> None:
    """When the Hub is killed in the middle of a batch, the next one reports it as interrupted, and begins no more."""
    person = make_person(gated.hub)
    person.start()
    accepted: list[httpx.Response] = []
    servers = [{"user": person.name, "server": ""}, {"user": person.name, "server": "lab"}]
    body = {"servers": servers, "operation": "restart"}
    with gated.gate.holding("restart", lambda: accepted.append(gated.hub.client().post(BATCHES, json=body))):
        wait_for(lambda: accepted, "the answer")
        gated.hub.kill()
    gated.hub.start()
    batch = gated.hub.client().get(f"{BATCHES}/{accepted[0].json()['id']}").json()
    assert (batch["state"], batch["counts"]) == ("interrupted", {"interrupted": 2})
    wait_for(person.is_ready, "the server")
