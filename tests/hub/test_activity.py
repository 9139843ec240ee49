"""A page that asks by itself does not make its user look active."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub

pytestmark = pytest.mark.every_hub


def test_reading_the_state_is_no_activity(
    agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """When a page reads the state, by cookie and by token, the user's last activity stays; other requests change it."""
    hub = make_hub(agent, lines_before=["c.JupyterHub.activity_resolution = 0"])
    hub.start()
    person = make_person(hub)
    browser, client = hub.browser(person.name), person.client()
    headers = {"Sec-Fetch-Mode": "cors", "X-XSRFToken": browser.cookies["_xsrf"]}

    def last_activity() -> str:
        return str(person.operator.get(person.path).json()["last_activity"])

    before = last_activity()
    for _ in range(3):
        assert browser.get(f"hub/api/{person.path}/hubwarden-state", headers=headers).is_success
        assert client.get(f"{person.path}/hubwarden-state").is_success
    assert last_activity() == before
    assert client.get(f"{person.path}/hubwarden-history").is_success
    assert last_activity() != before
