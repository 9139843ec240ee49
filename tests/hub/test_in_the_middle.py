"""What goes on around an operation that is held in its very middle: the Hub, its proxy, the agent, other containers."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from support.docker.private_engine import Workbench
from support.jupyterhub.gate import Gated, gated_stack
from support.jupyterhub.people import Person
from support.jupyterhub.rows import notes
from support.jupyterhub.stack import Hub
from support.waiting.conditions import wait_for


def restart(person: Person, request_id: str = "") -> None:
    """Restart, and do not mind that the answer is cut off."""
    with suppress(httpx.TransportError):
        person.restart(headers={"X-Request-ID": request_id or str(uuid.uuid4())})


def routes_of(hub: Hub, person: Person) -> list[str]:
    """The user's routes, as the proxy has them; none while it does not answer."""
    with suppress(httpx.TransportError):
        return [route for route in hub.routes() if person.name in route]
    return []


def proxy_pid(hub: Hub) -> int:
    """The proxy's process; 0 while the Hub is starting a new one."""
    with suppress(FileNotFoundError, IndexError):
        return int((Path(hub.options["directory"]) / "proxy.pid").read_text().split()[0])
    return 0


def last_entry(person: Person) -> dict[str, str]:
    """The newest entry of the user's history."""
    return dict(person.operator.get(f"{person.path}/hubwarden-history").json()["entries"][0])


@pytest.mark.every_hub
def test_route_check_and_new_proxy_during_a_restart(gated: Gated, make_person: Callable[..., Person]) -> None:
    """Neither brings the old route back: it is the restart that gives the route, to the server's present address."""
    hub, person = gated.hub, make_person(gated.hub)
    person.start()
    before = person.container()
    with gated.gate.holding("restart", lambda: restart(person)):
        assert person.operator.post("proxy").is_success
        assert routes_of(hub, person) == []
        old = proxy_pid(hub)
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: proxy_pid(hub) not in {0, old} and answers(hub), "a new proxy", 90)
        assert person.operator.post("proxy").is_success
        assert routes_of(hub, person) == []
    wait_for(person.is_ready, "the server")
    wait_for(lambda: routes_of(hub, person), "the route")
    assert person.visit().json() == {"user": person.name, "host": before.short_id}
    assert person.operator.post("proxy").is_success
    assert person.visit().json() == {"user": person.name, "host": before.short_id}


def answers(hub: Hub) -> bool:
    """Whether the Hub answers through its proxy."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{hub.address}hub/api/").is_success
    return False


def test_another_users_container_takes_the_internal_address(gated: Gated, make_person: Callable[..., Person]) -> None:
    """While the container is down somebody else's gets its address and answers there: the route does not lead there."""
    check_robbed(gated, make_person(gated.hub), internal=True)


def test_another_users_container_takes_the_published_port(
    engine: str, session_bench: Workbench, tmp_path: Path, make_person: Callable[..., Person]
) -> None:
    """The same, where servers are reached by published ports."""
    with gated_stack(tmp_path, engine, session_bench.image, use_internal_ip=False) as stack:
        check_robbed(stack, make_person(stack.hub), internal=False)


def check_robbed(stack: Gated, person: Person, *, internal: bool) -> None:
    """Restart, have the address taken in the middle, and look where the route leads."""
    person.start()
    before, address = person.container(), stack.hub.routes()[f"/user/{person.name}"]["target"]

    def rob() -> None:
        person.container().stop(timeout=5)
        thief(person, httpx.URL(address), internal=internal)

    with stack.gate.doing("restart", rob):
        assert person.restart().status_code == httpx.codes.OK
    wait_for(lambda: whose(person, address) == "thief", "the thief's answer at the old address")
    assert person.visit().json() == {"user": person.name, "host": before.short_id}
    assert person.operator.post("proxy").is_success
    assert person.visit().json() == {"user": person.name, "host": before.short_id}


def whose(person: Person, address: str) -> str:
    """Who answers at an address."""
    with suppress(httpx.TransportError):
        return str(httpx.get(f"{address}/user/{person.name}/who").json()["user"])
    return ""


def thief(person: Person, address: httpx.URL, *, internal: bool) -> None:
    """Start containers of somebody else's until one has the address."""
    environment = {"JUPYTERHUB_USER": "thief", "JUPYTERHUB_SERVICE_PREFIX": f"/user/{person.name}/"}
    for _ in range(20):
        name = f"thief-{uuid.uuid4().hex[:8]}"
        person.bench.forget_container(name)
        ports = {} if internal else {"8888/tcp": ("127.0.0.1", address.port or 0)}
        container = person.bench.client.containers.create(
            person.bench.image, name=name, environment=environment, ports=ports
        )
        container.start()
        container.reload()
        if not internal or container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == address.host:
            return
    raise AssertionError(f"no container got the address {address}")


@pytest.mark.every_hub
def test_a_hub_killed_during_a_reset_learns_its_end(gated: Gated, make_person: Callable[..., Person]) -> None:
    """The next Hub asks under the same id and says how it stands; a start waits; then history and note are closed."""
    hub, person, request_id = gated.hub, make_person(gated.hub), str(uuid.uuid4())
    person.start()
    person.run("echo mine > /home/jovyan/file")
    person.stop()

    def reset() -> None:
        with suppress(httpx.TransportError):
            person.reset(headers={"X-Request-ID": request_id})

    with gated.gate.holding("reset", reset):
        assert len(notes(hub)) == 1
        hub.kill()
        hub.start()
        standing = person.operator.get(f"{person.path}/hubwarden-state").json()["reset"]
        assert (standing["request_id"], standing["phase"]) == (request_id, "removing")
        assert last_entry(person)["result"] is None
    wait_for(lambda: last_entry(person)["result"] == "done", "the reset's end")
    assert last_entry(person)["request_id"] == request_id
    assert len(person.operator.get(f"{person.path}/hubwarden-history").json()["entries"]) == 1
    assert notes(hub) == []
    assert person.reset(headers={"X-Request-ID": request_id}).status_code == 200
    person.start()
    assert person.run("ls -A /home/jovyan") == ""


@pytest.mark.every_hub
def test_a_slow_reset_is_accepted_and_its_end_is_in_the_state(gated: Gated, make_person: Callable[..., Person]) -> None:
    """When a reset takes longer than `reset_wait`, the answer is 202; its state and its repeated id tell the end."""
    person = make_person(gated.hub)
    person.start()
    person.stop()
    headers = {"X-Request-ID": str(uuid.uuid4())}
    given: list[httpx.Response] = []
    with gated.gate.holding("reset", lambda: given.append(person.reset(headers=headers))):
        wait_for(lambda: given, "the answer while the reset runs")
    (accepted,) = given
    assert accepted.status_code == httpx.codes.ACCEPTED
    location = accepted.headers["Location"]
    assert location == f"/hub/api/{person.path}/hubwarden-state"
    assert accepted.json()["volume"] == person.volume("home")

    def standing() -> dict[str, object]:
        return dict(person.operator.get(location.removeprefix("/hub/api/")).json()["reset"])

    wait_for(lambda: standing()["phase"] == "done", "the end in the state")
    assert standing()["ready"]
    assert standing()["request_id"] == headers["X-Request-ID"]
    answer = person.reset(headers=headers)
    assert (answer.status_code, answer.json()["volume"]) == (httpx.codes.OK, person.volume("home"))


def test_an_agent_killed_during_a_restart(gated: Gated, make_person: Callable[..., Person]) -> None:
    """The agent that comes back says that it was interrupted; the Hub has the server ready, at its present address."""
    person = make_person(gated.hub)
    person.start()
    before = person.container()
    given: list[httpx.Response] = []
    with gated.gate.holding("restart", lambda: given.append(person.restart())) as hold:
        gated.agent.process.end(signal.SIGKILL)
        hold.released.set()  # Docker got the request, and does it
        wait_for(lambda: person.started_at() > before.attrs["State"]["StartedAt"], "the restart")
        gated.agent.start()
    assert (given[0].status_code, given[0].json()["reason"]) == (409, "INTERRUPTED")
    wait_for(person.is_ready, "the server")
    assert person.visit().json() == {"user": person.name, "host": before.short_id}
    assert last_entry(person)["reason"] == "INTERRUPTED"
    assert person.restart().status_code == 200


def test_a_session_that_expires_during_a_restart(gated: Gated, make_person: Callable[..., Person]) -> None:
    """The restart goes on; what comes without a session is refused in words and does nothing; a new login sees it."""
    person = make_person(gated.hub)
    person.start()
    browser = gated.hub.browser(person.name)
    path, headers = f"hub/api/{person.path}", {"X-XSRFToken": browser.cookies["_xsrf"]}
    with gated.gate.holding("restart", lambda: restart(person)):
        browser.cookies.clear()
        for method, endpoint in (
            ("POST", "restart-server"),
            ("DELETE", "reset-home-volume"),
            ("GET", "hubwarden-state"),
        ):
            answer = browser.request(method, f"{path}/{endpoint}", headers=headers)
            assert (answer.status_code, answer.json()["message"]) == (403, "Missing or invalid credentials.")
    again = gated.hub.browser(person.name)
    wait_for(person.is_ready, "the server")
    seen = again.get(f"{path}/hubwarden-state", headers={"X-XSRFToken": again.cookies["_xsrf"]}).json()
    assert seen["servers"][""]["restart"]["ready"]
    assert len(person.operator.get(f"{person.path}/hubwarden-history").json()["entries"]) == 1
