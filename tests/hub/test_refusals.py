"""What a request that may be made gets when it cannot be done: a status, a reason, a sentence, and nothing changed."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub


def test_a_running_server_keeps_its_home(person: Person) -> None:
    """A reset is 400 while the server runs; looking says why."""
    person.start()
    person.run("echo mine > /home/jovyan/file")
    answer = person.reset(person.client())
    assert (answer.status_code, answer.json()["reason"]) == (400, "SERVER_RUNNING")
    assert "Stop it first" in answer.json()["message"]
    home = person.home(person.client()).json()
    assert (home["exists"], home["resettable"], home["reason"]) == (True, False, "SERVER_RUNNING")
    assert person.run("cat /home/jovyan/file") == "mine\n"


def test_a_stopped_server_is_not_started_by_a_restart(person: Person) -> None:
    """A restart of a server that never ran, or was stopped, is 400."""
    for _ in range(2):
        answer = person.restart(person.client())
        assert (answer.status_code, answer.json()["reason"]) == (400, "SERVER_NOT_RUNNING")
        if not person.bench.client.containers.list(all=True, filters={"name": person.container_name}):
            person.start()
            person.stop()
    assert person.container().status == "exited"


def test_without_a_volume_there_is_nothing_to_reset(person: Person) -> None:
    """A reset is 404 before the first start; looking says so with 200."""
    answer = person.reset(person.client())
    assert (answer.status_code, answer.json()["reason"]) == (404, "VOLUME_NOT_FOUND")
    home = person.home(person.client())
    assert home.status_code == 200
    assert home.json() == {
        "volume": person.volume("home"),
        "exists": False,
        "size_bytes": None,
        "resettable": False,
        "reason": "VOLUME_NOT_FOUND",
        "message": answer.json()["message"],
        "retry_after": None,
    }


def test_a_foreign_holder_is_named_to_admins_only(person: Person) -> None:
    """Somebody else's container keeps the home: 409, with its name and what to do for an admin, without for a user."""
    person.start()
    person.stop()
    holder = f"foreign-{uuid.uuid4().hex[:8]}"
    person.bench.container(holder, start=False, mounts={person.volume("home"): "/data"})
    admin, user = person.reset(), person.reset(person.client())
    assert (admin.status_code, admin.json()["reason"]) == (409, "VOLUME_IN_USE")
    assert holder in admin.json()["message"]
    assert "docker rm" in admin.json()["message"]
    assert user.status_code == 409
    assert holder not in user.text
    assert person.home().json()["holders"] == [holder]
    assert "holders" not in person.home(person.client()).json()
    assert person.container().status == "exited"


@pytest.mark.parametrize("given", ["", "7", "no-uuid", str(uuid.uuid1()), str(uuid.uuid4()).upper()])
def test_a_malformed_request_id_is_refused(person: Person, given: str) -> None:
    """`X-Request-ID` is a UUID4 in its canonical spelling, or the request is 400 under an id of the Hub's."""
    answer = person.restart(headers={"X-Request-ID": given})
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST")
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] != given


def test_every_answer_carries_the_request_id(person: Person) -> None:
    """The client's id comes back in header and body, in JupyterHub's own refusals too; without one it is a new one."""
    given = str(uuid.uuid4())
    for client in (person.operator, person.client("read:users!user")):
        answer = person.restart(client, headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == given
    assert uuid.UUID(person.restart().json()["request_id"]).version == 4
    unsupported = [person.operator.put(f"{person.path}/restart-server").json() for _ in range(2)]
    assert [answer["status"] for answer in unsupported] == [405, 405]
    assert unsupported[0]["request_id"] != unsupported[1]["request_id"]


def test_the_same_request_id_restarts_once(person: Person) -> None:
    """A retry under the same id gets the same answer and does not restart again; another id does."""
    person.start()
    given = {"X-Request-ID": str(uuid.uuid4())}
    first = person.restart(headers=given).json()
    started_at = person.started_at()
    assert person.restart(headers=given).json() == first
    assert person.started_at() == started_at
    assert person.restart().json()["started_at"] > first["started_at"]


def test_a_spent_budget_says_when_to_try_again(
    own_agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """One reset an hour: the second is 429 with Retry-After, and looking at the home says the same beforehand."""
    own_agent.stop()
    policy = own_agent.directory / "agent.toml"
    policy.write_text(policy.read_text().replace('resets_per_user = "10000/minute"', 'resets_per_user = "1/hour"'))
    own_agent.start()
    hub = make_hub(own_agent)
    hub.start()
    person = make_person(hub)
    person.bench.volume(person.volume("home"))
    assert person.home().json()["retry_after"] is None
    assert person.reset().status_code == 200
    person.bench.volume(person.volume("home"))
    home, refused = person.home().json(), person.reset()
    assert (home["resettable"], home["reason"]) == (False, "RATE_LIMITED")
    assert (refused.status_code, refused.json()["reason"]) == (429, "RATE_LIMITED")
    assert 0 < int(refused.headers["Retry-After"]) <= home["retry_after"] <= 3600
