"""The Hub's queue of operations, from outside: a restart that is asked for while its server starts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from support.jupyterhub.gate import Gated
from support.jupyterhub.people import Person
from support.waiting.conditions import wait_for


@dataclass(frozen=True)
class Waiting:
    """A restart that waits."""

    request_id: str
    answer: Future[httpx.Response]


def state(person: Person) -> dict[str, Any]:
    """The user's state."""
    return dict(person.operator.get(f"{person.path}/hubwarden-state").json())


@contextmanager
def waiting_restart(gated: Gated, person: Person, client: httpx.Client) -> Iterator[Waiting]:
    """A restart that waits for the start of its server, which is held as long as the body runs."""
    request_id = str(uuid.uuid4())
    with ThreadPoolExecutor() as pool:
        with gated.gate.holding("spawn", lambda: person.operator.post(f"{person.path}/server")):
            answer = pool.submit(person.restart, client, headers={"X-Request-ID": request_id})
            wait_for(lambda: state(person)["waiting"], "the restart that waits")
            yield Waiting(request_id, answer)
        with suppress(httpx.TransportError):
            answer.result()


@pytest.mark.every_hub
def test_a_waiting_restart_is_visible_and_can_be_cancelled(gated: Gated, make_person: Callable[..., Person]) -> None:
    """When a server starts, its restart is in the state as waiting; those who may restart it can cancel it."""
    person, stranger = make_person(gated.hub), make_person(gated.hub)
    user, reader = person.client(), person.client("read:servers!user")
    with waiting_restart(gated, person, user) as waiting:
        expected = {"kind": "restart", "server_name": "", "request_id": waiting.request_id}
        seen = state(person)
        assert seen["waiting"] == expected
        assert (seen["servers"][""]["pending"], seen["servers"][""]["restart"]["phase"]) == ("spawn", "queued")
        assert person.restart(user).json()["reason"] == "OPERATION_IN_PROGRESS"
        path = f"{person.path}/waiting-operations/{waiting.request_id}"
        assert stranger.client().delete(path).status_code == 404
        assert reader.delete(path).status_code == 403
        assert user.delete(f"{person.path}/waiting-operations/{uuid.uuid4()}").status_code == 404
        assert user.delete(path).status_code == 200
        assert state(person)["waiting"] is None
        answer = waiting.answer.result()
        assert (answer.status_code, answer.json()["reason"]) == (409, "CANCELLED")
    wait_for(person.is_ready, "the server")
    assert state(person)["servers"][""]["restart"]["reason"] == "CANCELLED"
    assert person.restart(user).status_code == 200


@pytest.mark.every_hub
def test_permission_is_checked_again_when_it_begins(gated: Gated, make_person: Callable[..., Person]) -> None:
    """When a token is revoked while the restart that it asked for waits, the server is not restarted."""
    person = make_person(gated.hub)
    created = person.operator.post(f"{person.path}/tokens", json={}).json()
    with waiting_restart(gated, person, gated.hub.client(created["token"])) as waiting:
        assert person.operator.delete(f"{person.path}/tokens/{created['id']}").is_success
    answer = waiting.answer.result()
    assert (answer.status_code, answer.json()["reason"]) == (403, "NOT_ALLOWED")
    wait_for(person.is_ready, "the server")


@pytest.mark.slow("a Hub is killed and started")
def test_what_waits_is_lost_with_the_hub(gated: Gated, make_person: Callable[..., Person]) -> None:
    """When the Hub is killed while a restart waits, the next one reports it as lost, in state and history."""
    person = make_person(gated.hub)
    with waiting_restart(gated, person, person.client()) as waiting:
        gated.hub.kill()
        gated.hub.start()
        restart = state(person)["servers"][""]["restart"]
        assert (restart["request_id"], restart["reason"]) == (waiting.request_id, "LOST")
        assert state(person)["waiting"] is None
    (entry,) = person.operator.get(f"{person.path}/hubwarden-history").json()["entries"]
    assert (entry["request_id"], entry["reason"]) == (waiting.request_id, "LOST")
