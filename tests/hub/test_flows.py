"""The two things that the plugin is for, on a real Hub and a real engine, for people with all kinds of names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.docker.private_engine import Workbench
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Hub

NAMES = ("alice", "john.doe-x", pytest.param("Ana@Example.org", marks=pytest.mark.every_hub), "木村")


@pytest.fixture(params=NAMES)
def named(request: pytest.FixtureRequest, hub: Hub, bench: Workbench) -> Iterator[Person]:
    """Each of the people in turn. The next test has the same people, so the Hub's own stop comes before the end."""
    person = Person(hub, bench, request.param)
    yield person
    if person.server() is not None:
        person.stop()


def test_a_user_restarts_their_own_server_in_place(named: Person) -> None:
    """The container keeps its id and its files and has a later start; the route leads to the same user's server."""
    named.start()
    named.run("echo mine > /home/jovyan/file && echo also > /root/file")
    before = named.container()
    answer = named.restart(named.client())
    assert answer.status_code == 200, answer.text
    body = answer.json()
    after = named.container()
    assert (body["ready"], body["container"], body["container_id"]) == (True, named.container_name, before.id)
    assert after.id == before.id
    assert after.attrs["State"]["StartedAt"] > before.attrs["State"]["StartedAt"]
    assert named.run("cat /home/jovyan/file /root/file") == "mine\nalso\n"
    assert named.is_ready()
    assert named.visit().json()["user"] == named.name


def test_a_user_resets_their_own_home(named: Person) -> None:
    """After a stop the home can be reset: the next server finds it empty, workspace and cache as they were."""
    named.start()
    named.run("for d in /home/jovyan /workspace /cache; do echo mine > $d/file; done")
    named.stop()
    client = named.client()
    home = named.home(client).json()
    assert (home["volume"], home["exists"], home["resettable"]) == (named.volume("home"), True, True)
    answer = named.reset(client)
    assert answer.status_code == 200, answer.text
    assert answer.json()["volume"] == named.volume("home")
    assert answer.json()["removed_containers"] == [named.container_name]
    named.start()
    assert named.run("ls -A /home/jovyan; cat /workspace/file /cache/file") == "mine\nmine\n"
