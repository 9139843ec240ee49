"""The history's endpoints on a real Hub."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Hub

pytestmark = pytest.mark.every_hub


def test_a_user_sees_their_own_history_and_nobody_elses(hub: Hub, make_person: Callable[..., Person]) -> None:
    """Everybody's is for who may reset everybody's home; without the scope there is none at all."""
    person, stranger = make_person(hub), make_person(hub)
    path = f"{person.path}/hubwarden-history"
    assert stranger.client().get(path).status_code in {403, 404}
    assert person.client().get("hubwarden/history").status_code == 403
    assert person.client("access:servers!user").get(path).status_code in {403, 404}
    request_id = str(uuid.uuid4())
    assert person.reset(person.client(), headers={"X-Request-ID": request_id}).status_code == 404
    (entry,) = person.client().get(path).json()["entries"]
    assert (entry["kind"], entry["actor"], entry["request_id"]) == ("reset", f"user:{person.name}", request_id)
    assert (entry["result"], entry["reason"]) == ("failed", "VOLUME_NOT_FOUND")
    everybody = person.operator.get("hubwarden/history", params={"actor": f"user:{person.name}"}).json()
    assert everybody["entries"] == [entry]


@pytest.mark.parametrize(
    "query",
    [
        "kind=other",
        "limit=0",
        "before=-1",
        "limit=1&limit=2",
        "unknown=1",
        "actor=x",
        "since=2026-13-01T00:00:00Z",
        "until=x",
    ],
)
def test_a_query_is_understood_completely_or_refused(hub: Hub, query: str) -> None:
    """When a query has an unknown parameter or value, it is refused and not ignored."""
    answer = hub.client().get(f"hubwarden/history?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST")


def test_the_users_name_is_a_filter_of_everybodys_history_only(hub: Hub, make_person: Callable[..., Person]) -> None:
    """On one user's own history it is refused, so that it cannot be taken for another's."""
    person, stranger = make_person(hub), make_person(hub)
    person.reset(person.client())
    answer = stranger.client().get(f"{stranger.path}/hubwarden-history", params={"username": person.name})
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST")
    everybody = hub.client().get("hubwarden/history", params={"username": person.name}).json()["entries"]
    assert [entry["username"] for entry in everybody] == [person.name]
