"""Named servers: a Restart button in each row that runs, a home that waits for all of them, and rows that are true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import unquote

import pytest
from playwright.sync_api import Locator, Request, expect
from support.browser import stubs
from support.browser.person import JUPYTERLAB, SERVER_STARTS_MILLISECONDS, Person, PersonFactory
from support.browser.stack import Stack


@pytest.fixture
def start_named_server(stack: Stack) -> Iterator[Callable[[Person], None]]:
    """Starts the named server "lab" of a person, and shows them their home page."""
    containers: list[str] = []

    def start(person: Person) -> None:
        containers.append(f"{person.container}--lab")
        with person.another_tab("hub/token") as other:  # a home page would be loaded anew before the answer
            answer = other.call("POST", f"{person.path}/servers/lab")
        assert answer["status"] in {201, 202}, answer
        person.open_home()

    yield start
    for container in containers:
        stack.remove_container(container)


@pytest.mark.slow("starts the real JupyterLab, and waits for it again after its restart")
def test_a_named_server_is_restarted_from_its_row(
    stack: Stack, make_person: PersonFactory, start_named_server: Callable[[Person], None]
) -> None:
    """When a row's button is used, that server's container restarts, and the browser ends at its JupyterLab."""
    person = make_person(f"{JUPYTERLAB}木村-")
    start_named_server(person)
    button = person.page.get_by_role("button", name="Restart server lab")
    expect(button).to_be_enabled(timeout=SERVER_STARTS_MILLISECONDS)
    before = stack.inspect_container(f"{person.container}--lab")
    button.click()
    expect(person.dialog.get_by_role("definition").last).to_have_text("lab")
    person.dialog.get_by_role("button", name="Restart server").click()
    person.expect_server()
    assert f"/user/{person.name}/lab/lab" in unquote(person.page.url)
    after = stack.inspect_container(f"{person.container}--lab")
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] > before["State"]["StartedAt"]


def test_the_home_waits_for_named_servers_and_says_which(
    person: Person, start_named_server: Callable[[Person], None]
) -> None:
    """While a named server runs, Reset is disabled and the page names it; once it is stopped, Reset can act."""
    start_named_server(person)
    expect(person.page.get_by_role("button", name="Restart server lab")).to_be_enabled(timeout=120_000)
    expect(person.hint).to_contain_text("Stop these servers first, because they use your home: lab")
    expect(person.reset_button).to_be_disabled()
    person.page.locator("#stop-lab").click()
    expect(person.reset_button).to_be_enabled(timeout=60_000)
    expect(person.page.get_by_role("button", name="Restart server lab")).to_be_hidden()


def row(person: Person, name: str) -> Locator:
    """A named server's row in JupyterHub's table."""
    return person.page.locator(f'tr.home-server-row[data-server-name="{name}"]')


def test_a_server_made_and_deleted_in_another_tab_gets_and_loses_its_row(stack: Stack, person: Person) -> None:
    """Without a reload by hand; the row is JupyterHub's own, so that its Stop works as if it had always been there."""
    with person.another_tab("hub/token") as other:
        path = f"{person.path}/servers/lab"
        assert other.call("POST", path)["status"] in {201, 202}
        restart = person.page.get_by_role("button", name="Restart server lab")
        expect(restart).to_be_enabled(timeout=SERVER_STARTS_MILLISECONDS)
        row(person, "lab").locator(".stop-server").click()
        expect(restart).to_be_hidden(timeout=SERVER_STARTS_MILLISECONDS)
        expect(row(person, "lab").locator(".delete-server")).to_be_visible(timeout=SERVER_STARTS_MILLISECONDS)
        assert other.call("DELETE", path, {"remove": True})["status"] in {202, 204}
        expect(row(person, "lab")).to_have_count(0)
    stack.remove_container(f"{person.container}--lab")


def loads(person: Person) -> list[str]:
    """Which pages are loaded from now on."""
    loaded: list[str] = []

    def note(request: Request) -> None:
        if request.is_navigation_request():
            loaded.append(request.url)

    person.page.on("request", note)
    return loaded


def let_it_look(person: Person, times: int = 3) -> None:
    """Until the page has asked how things stand a few times more."""
    for _look in range(times):
        with person.page.expect_response("**/hubwarden-state"):
            pass


def test_a_server_that_jupyterhub_shows_no_row_of_loads_the_page_once(person: Person) -> None:
    """Never in a loop: what loading did not change is left; the next change is followed again, once."""
    loaded = loads(person)
    for servers in ({"ghost": stubs.STOPPED}, {"ghost": stubs.STOPPED, "phantom": stubs.STOPPED}):
        with person.page.expect_navigation():
            stubs.show_state(person, default=stubs.STOPPED, **servers)
        let_it_look(person)
    assert len(loaded) == 2


def test_the_page_is_not_loaded_under_a_person_who_is_busy_with_it(person: Person) -> None:
    """Not while a dialog is open, a message tells an end, or a name is being written; but as soon as that is over."""
    stubs.show_home(person)
    stubs.show_state(person, default=stubs.STOPPED)
    person.open_home()
    loaded = loads(person)
    person.ask_to_reset()
    stubs.show_state(person, default=stubs.STOPPED, lab=stubs.STOPPED)
    let_it_look(person)
    stubs.answer(person, "reset-home-volume", {"message": "No.", "reason": "RATE_LIMITED", "request_id": "x"}, 429)
    person.dialog.get_by_role("button", name="Delete my home volume").click()
    expect(person.alert).to_be_visible()
    let_it_look(person)
    assert loaded == []
    stubs.show_state(person, default=stubs.STOPPED)
    person.open_home()
    new_name = person.page.locator(".new-server-name")
    new_name.fill("thes")
    loaded.clear()
    stubs.show_state(person, default=stubs.STOPPED, lab=stubs.STOPPED)
    let_it_look(person)
    new_name.fill("")
    let_it_look(person)
    assert loaded == []
    with person.page.expect_navigation():
        new_name.blur()
