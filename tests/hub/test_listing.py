"""The list of users for the page "Servers and homes": who gets it, whom it shows, and how it is asked."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.jupyterhub.people import Person
from support.jupyterhub.stack import TOKEN, Hub

pytestmark = pytest.mark.every_hub

PATH = "hubwarden/users"


def rows(client: httpx.Client, **query: Any) -> dict[str, dict[str, Any]]:
    """The listed users, by name."""
    answer = client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return {user["name"]: user for user in answer.json()["users"]}


def put_in_group(hub: Hub, *people: Person) -> None:
    """Make people members of the group that the assistant's scopes are for."""
    assert hub.client().post("groups/course").status_code in {httpx.codes.CREATED, httpx.codes.CONFLICT}
    assert hub.client().post("groups/course/users", json={"users": [person.name for person in people]}).is_success


def test_who_reaches_nobody_else_gets_neither_list_nor_page_nor_link(hub: Hub, person: Person) -> None:
    """Every user may restart and reset for themselves; that is not enough. No credentials are less."""
    assert person.client().get(PATH).status_code == 403
    assert person.client("read:users!user").get(PATH).status_code == 403
    assert hub.client(f"{TOKEN}-culler").get(PATH).status_code == 403
    assert httpx.get(f"{hub.address}hub/api/{PATH}").status_code == 403
    browser = hub.browser(person.name)
    assert browser.get("hub/servers-and-homes").status_code == 404
    assert "servers-and-homes" not in browser.get("hub/home").text
    assert "/hub/login" in str(httpx.get(f"{hub.address}hub/servers-and-homes", follow_redirects=True).url)


def test_a_cookie_without_the_xsrf_token_gets_no_list(hub: Hub) -> None:
    """Another site's page that an admin visits cannot read who is there."""
    admin = hub.browser("root-admin")
    admin.headers["Sec-Fetch-Mode"] = "cors"
    assert admin.get(f"hub/api/{PATH}").status_code == 403
    assert admin.get(f"hub/api/{PATH}", headers={"X-XSRFToken": admin.cookies["_xsrf"]}).status_code == 200


def test_one_groups_scopes_list_that_groups_members_only(hub: Hub, make_person: Callable[..., Person]) -> None:
    """A stranger is neither listed nor counted nor found by searching for them."""
    member, stranger = make_person(hub), make_person(hub)
    put_in_group(hub, member)
    assistant = hub.client(f"{TOKEN}-assistant")
    listed = rows(assistant, limit=200)
    assert member.name in listed
    assert stranger.name not in listed
    answer = assistant.get(PATH, params={"search": stranger.name}).json()
    assert (answer["total"], answer["users"]) == (0, [])


def test_what_one_scope_reaches_is_not_shown_for_the_other(hub: Hub, person: Person) -> None:
    """Who may only restart is not told of operations on the home, nor offered a reset."""
    request_id = str(uuid.uuid4())
    person.reset(headers={"X-Request-ID": request_id})
    row = rows(hub.client(f"{TOKEN}-restarter"), search=person.name)[person.name]
    assert (row["may_reset"], row["last_operation"], row["reset"]) == (False, None, None)
    assert row["servers"][""]["may_restart"]
    row = rows(hub.client(), search=person.name)[person.name]
    assert row["may_reset"]
    assert (row["last_operation"]["request_id"], row["last_operation"]["result"]) == (request_id, "failed")


def test_an_admin_gets_page_and_link(hub: Hub) -> None:
    """The page has what the script looks for, and everything that it names is served."""
    admin = hub.browser("root-admin")
    assert "/hub/servers-and-homes" in admin.get("hub/home").text
    page = admin.get("hub/servers-and-homes")
    assert page.status_code == 200
    for name in ("others", "query", "rows", "many", "history-form", "restart-dialog", "reset-dialog"):
        assert f'id="hubwarden-{name}"' in page.text
    assert "data-everybodys-history" in page.text
    for name in ("servers-and-homes.js", "servers-and-homes.css"):
        assert f"/hub/hubwarden/static/{name}" in page.text
        assert admin.get(f"hub/hubwarden/static/{name}").is_success


@pytest.mark.parametrize(
    "query",
    ["state=other", "sort=id", "limit=0", "offset=-1", "search=", "search=a&search=b", "unknown=1", "sort=--name"],
)
def test_a_query_is_understood_completely_or_refused(hub: Hub, query: str) -> None:
    """When a query has an unknown parameter or value, it is refused and not ignored."""
    answer = hub.client().get(f"{PATH}?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST")


def test_searching_sorting_and_paging_are_the_servers_business(hub: Hub) -> None:
    """Pages of a search do not overlap and cover it; `%` and `_` are letters like any other."""
    prefix = f"p{uuid.uuid4().hex[:8]}"
    names = [f"{prefix}-{number}_{'ab'[number % 2]}" for number in range(5)]
    operator = hub.client()
    operator.post("users", json={"usernames": names}).raise_for_status()
    found: list[str] = []
    for offset in (0, 2, 4):
        answer = operator.get(PATH, params={"search": prefix.upper(), "offset": offset, "limit": 2}).json()
        assert answer["total"] == 5
        found += [user["name"] for user in answer["users"]]
    assert found == names
    assert list(rows(operator, search=prefix, sort="-name")) == names[::-1]
    assert list(rows(operator, search=f"{prefix}-1_")) == [names[1]]
    assert rows(operator, search=f"{prefix}%") == {}
    assert rows(operator, search=f"{prefix}-1-a") == {}


def test_running_servers_are_told_and_filtered(hub: Hub, make_person: Callable[..., Person]) -> None:
    """A running server, named ones too, is in the row and passes the filter; a stopped one is on the other side."""
    prefix = f"r{uuid.uuid4().hex[:8]}"
    idle, person = make_person(hub, prefix), make_person(hub, prefix)
    person.start()
    operator = hub.client()
    row = rows(operator, search=prefix, state="running")
    assert list(row) == [person.name]
    assert row[person.name]["servers"][""]["ready"]
    assert list(rows(operator, search=prefix, state="stopped")) == [idle.name]
    assert rows(operator, search=idle.name)[idle.name]["servers"][""]["stopped"]
    assert next(iter(rows(operator, search=prefix, sort="running"))) == person.name
    assert next(iter(rows(operator, search=prefix, sort="-running"))) == idle.name
    person.bench.forget_container(f"{person.container_name}--lab")
    operator.post(f"{person.path}/servers/lab").raise_for_status()
    assert set(rows(operator, search=person.name)[person.name]["servers"]) == {"", "lab"}
    operator.request("DELETE", f"{person.path}/servers/lab", json={"remove": True}).raise_for_status()
