"""The Hub is killed in the middle of a restart, and started again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.rows import notes
from support.jupyterhub.stack import Agent, Hub
from support.waiting.conditions import wait_for


@pytest.mark.parametrize(
    "internal", [pytest.param(True, marks=pytest.mark.every_hub, id="internal"), pytest.param(False, id="published")]
)
def test_a_killed_hub_finds_the_restarted_server(
    own_agent: Agent, make_hub: Callable[..., Hub], make_person: Callable[..., Person], *, internal: bool
) -> None:
    """The agent carries the restart on; the next Hub asks about it, finds the address, and ends the history's entry."""
    hub = make_hub(own_agent, use_internal_ip=internal)
    hub.start()
    person = make_person(hub, "stubborn")
    person.start()
    before = person.container()
    with ThreadPoolExecutor() as pool:
        cut_off = pool.submit(person.restart)
        wait_for(lambda: notes(hub), "the note about the restart")
        hub.kill()
        assert cut_off.result().status_code == httpx.codes.SERVICE_UNAVAILABLE  # the proxy says so
    hub.start()
    wait_for(person.is_ready, "the server")
    assert person.container().id == before.id
    assert person.started_at() > before.attrs["State"]["StartedAt"]
    assert person.visit().json() == {"user": person.name, "host": before.short_id}
    assert notes(hub) == []
    (entry,) = person.operator.get(f"{person.path}/hubwarden-history").json()["entries"]
    assert (entry["kind"], entry["result"]) == ("restart", "done")
    assert person.restart().status_code == 200
