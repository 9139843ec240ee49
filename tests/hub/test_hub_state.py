"""What the Hub shows and does while a restart runs and after it, for each way of running containers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.rows import ONE_RUNNING, orphans, own_rows
from support.jupyterhub.stack import IMAGE, Agent, Hub, running
from support.waiting.conditions import wait_for

# Both values of both options; the two other combinations differ from these in nothing that a restart looks at. How a
# container is run is DockerSpawner's part, which is the same on every JupyterHub.
VARIANTS = [
    pytest.param((False, True), id="kept-internal", marks=pytest.mark.every_hub),
    pytest.param((True, False), id="removed-published"),
    pytest.param((False, False), id="kept-published", marks=pytest.mark.full),
    pytest.param((True, True), id="removed-internal", marks=pytest.mark.full),
]
FETCH_INTERVAL = 0.2
"""Seconds between two fetches of the home page, so that they do not take a whole core from the Hub."""


@pytest.fixture(scope="module", params=VARIANTS)
def any_hub(request: pytest.FixtureRequest, agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Hubs that keep or remove stopped containers, and reach running ones by internal address or published port."""
    options = {"remove": request.param[0], "use_internal_ip": request.param[1]}
    with running(Hub(tmp_path_factory.mktemp("any"), agent.socket, agent.gateway, IMAGE, options)) as hub:
        yield hub


@contextmanager
def home_page_fetched(hub: Hub, person: Person) -> Iterator[list[int]]:
    """Fetch the home page several times a second in the background; yields the statuses."""
    statuses: list[int] = []
    stop = threading.Event()
    browser = hub.browser(person.name)

    def fetch() -> None:
        while not stop.wait(FETCH_INTERVAL):
            statuses.append(browser.get("hub/home").status_code)

    thread = threading.Thread(target=fetch)
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("kind", "restarts"),
    [("quick", 3), pytest.param("quick", 20, marks=pytest.mark.full), ("stubborn", 1), ("slow", 1)],
)
def test_a_restart_while_the_hub_polls(
    any_hub: Hub, make_person: Callable[..., Person], kind: str, restarts: int
) -> None:
    """When the Hub polls during restarts, each second and for each home page, the server is never declared dead.

    Whether it restarts at once, ignores SIGTERM or takes long to answer: the container is the same one, the server is
    ready, its route leads to this user's server at its present address, its token is good, and no row is left over.
    """
    person = make_person(any_hub, kind)
    person.start()
    before = person.container()
    client = person.client()
    with home_page_fetched(any_hub, person) as statuses:
        for _ in range(restarts):
            answer = person.restart(client)
            assert answer.status_code == 200, answer.text
            assert person.visit().json() == {"user": person.name, "host": before.short_id}
    assert set(statuses) == {200}
    assert person.container().id == before.id
    assert person.started_at() > before.attrs["State"]["StartedAt"]
    assert person.is_ready()
    assert own_rows(person) == ONE_RUNNING
    assert orphans(any_hub) == {}
    own = dict(line.split("=", 1) for line in before.attrs["Config"]["Env"])["JUPYTERHUB_API_TOKEN"]
    assert any_hub.client(own).get("user").json()["name"] == person.name


def test_a_server_that_does_not_come_back_is_shown_as_stopped(any_hub: Hub, make_person: Callable[..., Person]) -> None:
    """The user is told to start it again, the Hub shows it stopped without a route, and starting works."""
    person = make_person(any_hub, "sulky")
    person.start()
    answer = person.restart(person.client())
    assert (answer.status_code, answer.json()["reason"]) == (500, "RESTART_FAILED")
    assert "Start the server again" in answer.json()["message"]
    wait_for(lambda: person.server() is None, "the Hub shows it stopped")
    assert not [route for route in any_hub.routes() if person.name in route]
    person.start()
    assert person.visit().json()["user"] == person.name
    assert own_rows(person) == ONE_RUNNING


@pytest.mark.every_hub
def test_visitors_wait_on_the_hubs_page_during_a_restart(hub: Hub, make_person: Callable[..., Person]) -> None:
    """There is no route; a visitor gets JupyterHub's pending page; a stop is refused; then the server is back."""
    person = make_person(hub, "slow")
    person.start()
    with ThreadPoolExecutor() as pool:
        restarted = pool.submit(person.restart)
        wait_for(lambda: (person.server() or {}).get("pending") == "restart", "restart pending")
        wait_for(lambda: not [route for route in hub.routes() if person.name in route], "no route")
        assert person.operator.delete(f"{person.path}/server").status_code in {400, 409}
        visited = hub.browser(person.name).get(f"user/{person.name}/")
        assert visited.status_code == 200
        assert "spawn-pending" in str(visited.url)
        assert restarted.result().status_code == 200
    assert person.is_ready()
    assert person.visit().json()["user"] == person.name


@pytest.mark.every_hub
def test_the_hubs_progress_follows_a_restart(hub: Hub, make_person: Callable[..., Person]) -> None:
    """JupyterHub's own progress endpoint tells the phases, and ends with the ready server."""
    person = make_person(hub, "slow")
    person.start()
    with ThreadPoolExecutor() as pool:
        restarted = pool.submit(person.restart)
        wait_for(lambda: (person.server() or {}).get("pending") == "restart", "restart pending")
        events = person.operator.get(f"{person.path}/server/progress").text
        assert restarted.result().status_code == 200
    assert '"phase": "answering"' in events
    assert '"ready": true' in events.strip().splitlines()[-1]


@pytest.mark.every_hub
def test_a_client_that_goes_away_changes_nothing(hub: Hub, make_person: Callable[..., Person]) -> None:
    """The restart goes on to its end."""
    person = make_person(hub, "slow")
    person.start()
    started_at = person.started_at()
    with pytest.raises(httpx.ReadTimeout):
        person.restart(timeout=0.2)
    wait_for(lambda: person.is_ready() and person.started_at() > started_at, "the restart's end")
    assert person.visit().json()["user"] == person.name
