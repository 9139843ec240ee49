"""Who may not: denied by JupyterHub's own rules, on every endpoint, and nothing happens."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import TOKEN, Hub

pytestmark = pytest.mark.every_hub

ENDPOINTS = (("POST", "restart-server"), ("GET", "home-volume"), ("DELETE", "reset-home-volume"))
DENIED = {403, 404}

endpoints = pytest.mark.parametrize(("method", "endpoint"), ENDPOINTS, ids=[endpoint for _, endpoint in ENDPOINTS])


@pytest.fixture
def other(hub: Hub, make_person: Callable[..., Person]) -> Person:
    """A second user, with no role of the operator's."""
    return make_person(hub, "other")


def test_a_user_cannot_act_on_another(person: Person, other: Person) -> None:
    """When a user asks for another's server or home, running or not, the answer is 404 or 403 and nothing changes."""
    client = other.client()
    person.start()
    started_at = person.started_at()
    running = [client.request(method, f"{person.path}/{endpoint}") for method, endpoint in ENDPOINTS]
    assert {answer.status_code for answer in running} <= DENIED
    assert [answer.json()["status"] for answer in running] == [answer.status_code for answer in running]
    person.stop()
    stopped = [client.request(method, f"{person.path}/{endpoint}") for method, endpoint in ENDPOINTS]
    assert {answer.status_code for answer in stopped} <= DENIED
    assert person.started_at() == started_at
    assert person.bench.client.volumes.get(person.volume("home"))


@endpoints
def test_nobody_without_credentials(person: Person, hub: Hub, method: str, endpoint: str) -> None:
    """When a request has neither token nor cookie, it is 403."""
    assert httpx.request(method, f"{hub.address}hub/api/{person.path}/{endpoint}").status_code == 403


@endpoints
def test_a_cookie_without_the_xsrf_token_is_refused(person: Person, hub: Hub, method: str, endpoint: str) -> None:
    """A page of somebody else's that a logged-in user visits can do nothing; the Hub's own page can."""
    browser = hub.browser(person.name)
    browser.headers["Sec-Fetch-Mode"] = "cors"  # as every script's request in a browser has it
    path = f"hub/api/{person.path}/{endpoint}"
    denied = browser.request(method, path)
    assert denied.status_code == 403
    assert "_xsrf" in denied.json()["message"]
    wrong = browser.request(method, path, headers={"X-XSRFToken": "wrong"})
    assert wrong.status_code == 403
    right = browser.request(method, path, headers={"X-XSRFToken": browser.cookies["_xsrf"]})
    assert right.json()["reason"] in {"SERVER_NOT_RUNNING", "VOLUME_NOT_FOUND"}


def test_no_mode_of_fetching_is_a_way_around_the_xsrf_token(person: Person, hub: Hub) -> None:
    """When a page has its request sent in any mode, as `no-cors` (unchecked by JupyterHub 4), it is refused."""
    person.start()
    started_at = person.started_at()
    browser = hub.browser(person.name)
    answers = {}
    for mode in ("no-cors", "navigate", "same-origin", "cors", "websocket", "nested-navigate", None):
        headers = {"Sec-Fetch-Mode": mode} if mode else {}
        for method, endpoint in (("POST", "restart-server"), ("DELETE", "reset-home-volume")):
            denied = browser.request(method, f"hub/api/{person.path}/{endpoint}", headers=headers)
            answers[mode, endpoint] = (denied.status_code, "_xsrf" in denied.json()["message"])
    assert set(answers.values()) == {(403, True)}, answers
    assert person.started_at() == started_at


@endpoints
def test_a_token_holds_no_more_than_its_scopes(person: Person, method: str, endpoint: str) -> None:
    """A token of the user's own for something else is refused."""
    assert person.client("read:users!user").request(method, f"{person.path}/{endpoint}").status_code == 403


def test_restart_and_reset_are_separate_rights(person: Person) -> None:
    """A token for servers does not reset, and one for resets does not restart."""
    servers, reset = person.client("servers!user"), person.client("custom:hubwarden:reset!user")
    assert person.restart(servers).json()["reason"] == "SERVER_NOT_RUNNING"
    assert person.home(servers).status_code == 403
    assert person.reset(servers).status_code == 403
    assert person.restart(reset).status_code == 403
    assert person.reset(reset).json()["reason"] == "VOLUME_NOT_FOUND"


def test_a_right_to_stop_servers_is_none_to_reset_homes(person: Person, hub: Hub) -> None:
    """`delete:servers`, which idle-cullers hold, is good for neither; `servers` is good for a restart only."""
    culler, restarter = hub.client(f"{TOKEN}-culler"), hub.client(f"{TOKEN}-restarter")
    assert person.restart(culler).status_code == 403
    assert person.reset(culler).status_code == 403
    assert person.home(culler).status_code == 403
    assert person.reset(restarter).status_code == 403
    person.start()
    assert person.restart(restarter).status_code == 200


def test_an_admin_may_act_for_everybody(person: Person, hub: Hub) -> None:
    """JupyterHub's own admin role includes both rights, without a role of the operator's."""
    admin = hub.browser("root-admin")
    headers = {"X-XSRFToken": admin.cookies["_xsrf"]}
    person.start()
    assert admin.post(f"hub/api/{person.path}/restart-server", headers=headers).status_code == 200
    person.stop()
    assert admin.get(f"hub/api/{person.path}/home-volume", headers=headers).json()["holders"] == []
    assert admin.delete(f"hub/api/{person.path}/reset-home-volume", headers=headers).status_code == 200


def test_a_user_made_admin_later_may_act_for_everybody(hub: Hub, person: Person, other: Person) -> None:
    """Being made an admin in a running Hub is enough; no longer being one ends it."""
    admin = hub.browser("root-admin")
    headers = {"X-XSRFToken": admin.cookies["_xsrf"]}
    admin.patch(f"hub/api/{other.path}", json={"admin": True}, headers=headers).raise_for_status()
    assert person.home(other.client()).json()["reason"] == "VOLUME_NOT_FOUND"
    admin.patch(f"hub/api/{other.path}", json={"admin": False}, headers=headers).raise_for_status()
    assert person.home(other.client()).status_code in DENIED


@endpoints
def test_an_unknown_user_is_404(person: Person, method: str, endpoint: str) -> None:
    """Nobody learns who exists: 404 for the operator, who may ask, and for a user, who may not."""
    assert person.operator.request(method, f"users/nobody-here/{endpoint}").status_code == 404
    assert person.client().request(method, f"users/nobody-here/{endpoint}").status_code == 404


def test_an_unknown_named_server_is_404(person: Person) -> None:
    """A server that the user does not have is 404, and is not made by asking."""
    assert person.operator.post(f"{person.path}/servers/nope/restart-server").status_code == 404
    assert person.server("nope") is None
