"""The page follows what happens elsewhere, without a reload: a crash, another tab, an admin, a reload in the middle."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from support.browser.admin import Admin
from support.browser.person import Person, PersonFactory
from support.browser.stack import Stack

# The demo's Hub polls every 30 s: what shows within this was noticed because the page asked.
BEFORE_THE_HUBS_OWN_POLL = 10_000


@pytest.mark.parametrize("end", ["kill", pytest.param("stop", marks=pytest.mark.full)])
def test_a_server_that_ends_behind_the_hubs_back_shows_as_stopped(
    stack: Stack, person_with_server: Person, end: str
) -> None:
    """After a crash, and after an operator's `docker stop`: Reset and Start are there, Restart and Stop are gone."""
    person = person_with_server
    stack.docker(end, person.container)
    expect(person.restart_button).to_be_hidden(timeout=BEFORE_THE_HUBS_OWN_POLL)
    expect(person.reset_button).to_be_enabled()
    expect(person.page.locator("#stop")).to_be_hidden()
    expect(person.page.locator("#start")).to_have_text("Start My Server")


def test_jupyterhubs_own_buttons_follow_a_start_and_stop_works(person: Person) -> None:
    """A server that starts elsewhere brings Stop to a page that was drawn without it, and it stops the server."""
    expect(person.reset_button).to_be_visible()
    assert person.call("POST", f"{person.path}/server")["status"] in {201, 202}
    expect(person.restart_button).to_be_enabled(timeout=120_000)
    expect(person.page.locator("#start")).to_have_text("My Server")
    person.stop_server()


@pytest.mark.slow("takes the agent away and waits until it is healthy again")
def test_a_stop_that_waits_for_the_agent_says_so(
    stack: Stack, make_person: PersonFactory, person_with_server: Person
) -> None:
    """When the agent is away during a stop, the home page and the admins' page say so, and the server still counts."""
    person, admin = person_with_server, Admin(make_person)
    admin.open()
    row = admin.find(person.name)
    stack.stop_agent()
    try:
        person.page.locator("#stop").click()
        expect(person.hint).to_contain_text("Your server is stopping. The Hub is waiting for the Docker agent")
        expect(row).to_contain_text("stopping: waiting for the Docker agent")
        expect(person.reset_button).to_be_hidden()
        assert person.identity()
    finally:
        stack.start_agent()
    expect(person.reset_button).to_be_enabled(timeout=60_000)
    expect(person.hint).not_to_contain_text("Docker agent")
    expect(row).to_contain_text("stopped")


def test_coming_back_shows_where_a_restart_stands(person_with_slow_server: Person) -> None:
    """Leaving the page in the middle changes nothing; the page that is opened then tells how it goes, and the end."""
    person = person_with_slow_server
    before = person.identity()
    person.ask_to_restart().click()
    expect(person.dialog).to_contain_text("Restarting your server")
    expect(person.page.locator(".hubwarden-steps [aria-current]").first).to_be_visible()
    person.open_home()
    expect(person.status).to_contain_text("server")
    expect(person.page.get_by_role("link", name="Go to my server")).to_be_visible(timeout=120_000)
    assert person.identity()[0] == before[0]
    assert person.identity()[1] > before[1]


def test_an_admins_reset_is_told(make_person: PersonFactory, person_with_home: Person) -> None:
    """The person whose home an admin resets learns of it on the open page."""
    admin = make_person("admin")
    assert admin.call("DELETE", f"{person_with_home.path}/reset-home-volume")["status"] == 200
    expect(person_with_home.hint).to_contain_text("There is no home volume yet")


def test_a_hub_out_of_reach_is_said_and_recovers(person: Person) -> None:
    """While the Hub does not answer the page says so, and by itself no longer once it does."""
    expect(person.reset_button).to_be_visible()
    person.page.route("**/hubwarden-state", lambda route: route.abort())
    expect(person.hint).to_contain_text("cannot be reached right now")
    person.page.unroute("**/hubwarden-state")
    expect(person.hint).not_to_contain_text("cannot be reached right now")
