"""Hub and engine disagree about whether a server runs: each way there is something that the user can do."""

from __future__ import annotations

from support.jupyterhub.people import Person
from support.waiting.conditions import wait_for


def test_stopped_for_the_hub_and_running(person: Person) -> None:
    """The home is kept; Start takes the container over as it is, and then Stop and reset work."""
    person.start()
    container = person.container()
    person.stop()
    container.start()
    assert person.server() is None
    assert person.restart().json()["reason"] == "SERVER_NOT_RUNNING"
    refused = person.reset()
    assert (refused.status_code, refused.json()["reason"]) == (400, "SERVER_RUNNING")
    person.start()
    assert person.visit().json() == {"user": person.name, "host": container.short_id}
    person.stop()
    assert person.reset().status_code == 200


def test_running_for_the_hub_and_stopped(person: Person) -> None:
    """The poll notices; a restart before that says that it does not run; Start works, on the same container."""
    person.start()
    container = person.container()
    container.stop(timeout=5)
    assert person.restart().json()["reason"] in {"SERVER_NOT_RUNNING", "OPERATION_IN_PROGRESS"}
    wait_for(lambda: person.server() is None, "the Hub's notice")
    person.start()
    assert person.visit().json() == {"user": person.name, "host": container.short_id}
