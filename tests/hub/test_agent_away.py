"""The agent, and with it the spawn gateway, goes away and comes back: unknown is not dead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.agent import newer_agent
from support.jupyterhub.people import Person
from support.jupyterhub.stack import Agent, Hub
from support.waiting.conditions import stays, wait_for


def two_people(
    agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> tuple[Hub, Person, Person]:
    """A Hub, somebody whose server runs, and somebody whose server is stopped."""
    hub = make_hub(agent)
    hub.start()
    running, stopped = make_person(hub), make_person(hub)
    running.start()
    stopped.start()
    stopped.stop()
    return hub, running, stopped


def test_without_the_agent_requests_are_503_and_servers_run_on(
    own_agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """Polled every second while nobody answers, servers stay listed and routed; the agent's return is enough."""
    hub, running, stopped = two_people(own_agent, make_hub, make_person)
    routes = hub.routes()
    own_agent.stop()
    for answer in (running.restart(), stopped.reset(), stopped.home()):
        assert (answer.status_code, answer.json()["reason"]) == (503, "AGENT_UNREACHABLE")
        assert "is not available" in answer.json()["message"]
    browser = hub.browser(running.name)

    def unharmed() -> bool:
        assert browser.get("hub/home").status_code == 200
        assert running.visit().json()["user"] == running.name
        return running.is_ready() and hub.routes().keys() == routes.keys()

    stays(unharmed, 5)  # five polls
    own_agent.start()
    wait_for(lambda: running.restart().status_code == 200, "a restart")
    assert stopped.reset().status_code == 200


@pytest.mark.every_hub
def test_a_hub_that_starts_without_the_agent_keeps_its_servers(
    own_agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """The server is neither ready nor stopped until the agent can say where it is; meanwhile the Hub serves."""
    hub = make_hub(own_agent)
    hub.start()
    person = make_person(hub)
    person.start()
    container = person.container().id
    hub.kill()
    own_agent.stop()
    hub.start()
    assert (person.server() or {})["pending"] == "check"
    assert hub.browser(person.name).get("hub/home").status_code == 200
    own_agent.start()
    wait_for(person.is_ready, "the server")
    assert person.container().id == container
    assert person.visit().json()["user"] == person.name


def test_a_newer_agent_takes_over_while_servers_run(
    own_agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person]
) -> None:
    """It says more than the plugin knows: no server is declared dead, and everything goes on as before."""
    _hub, running, stopped = two_people(own_agent, make_hub, make_person)
    before = running.container().id
    own_agent.stop()
    own_agent.program = (sys.executable, str(Path(newer_agent.__file__)))
    own_agent.start()
    assert running.is_ready()
    assert running.visit().json()["user"] == running.name
    assert running.restart().json()["container_id"] == before
    assert stopped.home().json()["exists"]
    assert stopped.reset().json()["volume"] == stopped.volume("home")
    assert running.is_ready()
