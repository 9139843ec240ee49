"""Each of the two features can be turned off: endpoints and buttons are gone, and the other feature works."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub

pytestmark = pytest.mark.every_hub


def test_a_hub_without_resets_restarts(
    agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """When `reset_home` is off, a home can neither be reset nor looked at, and the page has no button for it."""
    hub = make_hub(agent, lines_before=["c.Hubwarden.reset_home = False"])
    hub.start()
    person = make_person(hub)
    person.start()
    for answer in (person.reset(), person.home(), person.operator.get(f"{person.path}/reset-home-volume/progress")):
        assert (answer.status_code, answer.json()["message"]) == (404, "This Hub does not offer that.")
    assert person.restart(person.client()).status_code == 200
    page = hub.browser(person.name).get("hub/home").text
    assert ("data-may-restart" in page, "data-may-reset" in page) == (True, False)
    (row,) = person.operator.get(f"hubwarden/users?search={person.name}").json()["users"]
    assert (row["may_reset"], row["servers"][""]["may_restart"]) == (False, True)


def test_a_hub_without_restarts_resets(
    agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """When `restart_server` is off, no server is restarted, and the page has no button for it."""
    hub = make_hub(agent, lines_before=["c.Hubwarden.restart_server = False"])
    hub.start()
    person = make_person(hub)
    person.start()
    before = person.started_at()
    for answer in (person.restart(), person.operator.get(f"{person.path}/restart-server/progress")):
        assert (answer.status_code, answer.json()["message"]) == (404, "This Hub does not offer that.")
    assert person.started_at() == before
    (row,) = person.operator.get(f"hubwarden/users?search={person.name}").json()["users"]
    assert (row["may_reset"], row["servers"][""]["may_restart"]) == (True, False)
    page = hub.browser(person.name).get("hub/home").text
    assert ("data-may-restart" in page, "data-may-reset" in page) == (False, True)
    person.stop()
    assert person.reset(person.client()).status_code == 200
