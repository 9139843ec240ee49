"""Stops that the agent cannot carry out now: `docker ps` and the Hub's API, side by side.

Invariants: the Hub never shows a server as stopped while its container runs.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.jupyterhub.breakable import (
    FAULTS,
    Stack,
    agent_down,
    delete_server,
    is_ready,
    runs,
    waits_for,
    watched,
)
from support.jupyterhub.people import Person
from support.jupyterhub.stack import TOKEN
from support.waiting.conditions import stays, wait_for

pytestmark = pytest.mark.every_hub


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stop_waits_until_docker_has_stopped_the_server(
    breakable: Stack, make_person: Callable[..., Person], fault: str
) -> None:
    """When the stop cannot be carried out, the server stays pending and the Hub says why; later it is stopped."""
    check_stop_waits(breakable, make_person(breakable.hub), fault, seconds=0)


@pytest.mark.full
@pytest.mark.parametrize("fault", ["gateway answers 503", "gateway answers 409", "docker frozen"])
def test_a_stop_waits_for_a_minute(breakable: Stack, make_person: Callable[..., Person], fault: str) -> None:
    """When the gateway refuses for a minute, nothing gives up."""
    check_stop_waits(breakable, make_person(breakable.hub), fault, seconds=60)


def check_stop_waits(breakable: Stack, person: Person, fault: str, seconds: float) -> None:
    """Break, stop, look, wait, look again, mend."""
    person.start()
    fails, reason = FAULTS[fault]
    with watched(person):
        with fails(breakable, person):
            assert delete_server(person) == 202
            wait_for(lambda: waits_for(person, reason), f"the stop that waits for {reason}")
            assert runs(person)
            stays(lambda: waits_for(person, reason) and runs(person), seconds)
        wait_for(lambda: person.server() is None, "the stop")
    assert not runs(person)


def test_a_stop_waits_for_a_slow_restart_of_another_server(
    breakable: Stack, make_person: Callable[..., Person]
) -> None:
    """When a sibling restarts for longer than `turn_wait`, the stop waits for its end."""
    person = make_person(breakable.hub)
    person.start()
    person.bench.forget_container(f"{person.container_name}--lab")
    assert person.operator.post(f"{person.path}/servers/lab").is_success
    wait_for(lambda: is_ready(person, "lab"), "the named server")
    with watched(person, "lab"), watched(person):
        with breakable.gate.holding("restart", person.restart):
            assert delete_server(person, "lab") == 202
            wait_for(lambda: waits_for(person, "operation", "lab"), "the stop that waits")
            stays(lambda: waits_for(person, "operation", "lab") and runs(person, "lab"), 2)  # longer than turn_wait
        wait_for(lambda: not (person.server("lab") or {}).get("pending"), "the stop")
        wait_for(person.is_ready, "the restarted sibling")
    assert not runs(person, "lab")


def test_a_culler_and_the_deletion_of_the_user_meet_a_stop_that_waits(
    breakable: Stack, make_person: Callable[..., Person]
) -> None:
    """When both come while the agent is away, the user stays until the server has stopped, and can then be deleted."""
    person = make_person(breakable.hub)
    person.start()
    with watched(person):
        with agent_down(breakable, person):
            assert delete_server(person, token=f"{TOKEN}-culler") == 202
            assert person.operator.delete(person.path).status_code == 400
            assert delete_server(person, token=f"{TOKEN}-culler") == 202
            assert person.operator.get(person.path).is_success
            assert runs(person)
        wait_for(lambda: person.server() is None, "the stop")
    assert not runs(person)
    assert person.operator.delete(person.path).status_code == 204
