"""The ends of a stop that Docker has not carried out: the Hub shuts down, is killed, or an admin gives up."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.jupyterhub.breakable import CONFIGURATION, Stack, agent_down, delete_server, runs, waits_for
from support.jupyterhub.people import Person
from support.jupyterhub.rows import ONE_RUNNING, own_rows
from support.jupyterhub.stack import IMAGE, TOKEN, Hub, running
from support.waiting.conditions import wait_for

pytestmark = pytest.mark.every_hub


def own_hub(breakable: Stack, directory: Path, *lines: str) -> Hub:
    """A second Hub with the same agent, which a test may end."""
    return Hub(
        directory, breakable.agent.socket, breakable.agent.gateway, IMAGE, {"lines_before": [*CONFIGURATION, *lines]}
    )


@pytest.mark.parametrize("cleanup", [True, False], ids=["cleanup_servers", "servers left running"])
def test_a_hub_that_shuts_down_keeps_a_server_that_it_could_not_stop(
    breakable: Stack, make_person: Callable[..., Person], tmp_path: Path, *, cleanup: bool
) -> None:
    """When the agent is away, the Hub ends in bounded time and logs what may still run; the next Hub finds it."""
    hub = own_hub(breakable, tmp_path, f"c.JupyterHub.cleanup_servers = {cleanup}", "c.Hubwarden.shutdown_wait = 2")
    with running(hub):
        person = make_person(hub)
        person.start()
        started = (person.server() or {})["started"]
        with agent_down(breakable, person):
            if not cleanup:
                assert delete_server(person) == 202
                wait_for(lambda: waits_for(person, "agent"), "the stop that waits")
            began = time.monotonic()
            hub.process.end()
            assert time.monotonic() - began < 10
            assert runs(person)
            assert f"container {person.container_name} may still run" in hub.process.log.read_text()
        hub.start()
        wait_for(person.is_ready, "the server that ran on")
        assert (person.server() or {})["started"] == started
        assert runs(person)
        assert person.visit().json()["user"] == person.name
        assert own_rows(person) == ONE_RUNNING


def test_a_killed_hub_finds_a_server_whose_stop_waited(
    breakable: Stack, make_person: Callable[..., Person], tmp_path: Path
) -> None:
    """When the Hub is killed while a stop waits, the next Hub finds the server running and can stop it."""
    hub = own_hub(breakable, tmp_path)
    with running(hub):
        person = make_person(hub)
        person.start()
        with agent_down(breakable, person):
            assert delete_server(person) == 202
            wait_for(lambda: waits_for(person, "agent"), "the stop that waits")
            hub.kill()
        hub.start()
        wait_for(person.is_ready, "the server")
        person.stop()
        assert not runs(person)


def forget(client: httpx.Client, person: Person, **options: Any) -> httpx.Response:
    """Have the Hub forget the default server."""
    return client.post(f"{person.path}/forget-server", **options)


def test_an_admin_makes_the_hub_give_up_on_a_server(breakable: Stack, make_person: Callable[..., Person]) -> None:
    """When an admin gives up, the Hub forgets the server, revokes its token and records it; the container runs on."""
    person, request_id = make_person(breakable.hub), str(uuid.uuid4())
    person.start()
    assert forget(person.operator, person).status_code == 409
    with agent_down(breakable, person):
        assert delete_server(person) == 202
        wait_for(lambda: waits_for(person, "agent"), "the stop that waits")
        assert forget(person.client(), person).status_code == 403
        assert forget(breakable.hub.client(f"{TOKEN}-restarter"), person).status_code == 403
        answer = forget(person.operator, person, headers={"X-Request-ID": request_id})
        assert (answer.status_code, answer.json()["container"]) == (200, person.container_name)
        assert "may still be running" in answer.json()["message"]
        wait_for(lambda: person.server() is None, "the end of the record")
        assert runs(person)
        assert own_rows(person)["tokens"] == 0
    (entry,) = person.operator.get(f"{person.path}/hubwarden-history").json()["entries"]
    assert (entry["kind"], entry["result"], entry["actor"]) == ("forget", "done", "service:operator")
    assert entry["request_id"] == request_id
    assert person.container_name in breakable.hub.process.log.read_text()
    person.start()  # finds the container
    assert person.visit().json()["user"] == person.name


def test_giving_up_needs_the_xsrf_token(breakable: Stack, make_person: Callable[..., Person]) -> None:
    """When an admin's browser sends no XSRF token, nothing is forgotten."""
    person, browser = make_person(breakable.hub), breakable.hub.browser("root-admin")
    path, token = f"hub/api/{person.path}/forget-server", {"X-XSRFToken": browser.cookies["_xsrf"]}
    for mode in ("cors", "no-cors"):
        refused = browser.post(path, headers={"Sec-Fetch-Mode": mode})
        assert (refused.status_code, "_xsrf" in refused.json()["message"]) == (403, True)
    assert browser.post(path, headers=token | {"Sec-Fetch-Mode": "cors"}).status_code == 409  # no stop waits
