"""Names of every kind, people without the right, and people who are no longer logged in."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from support.browser.person import Person, PersonFactory

# What a person types, and the home volume that belongs to it.
NAMES = {
    "john.doe-x": "jupyterlab-john-2edoe-2dx_home",
    "Ana@Example.org": "jupyterlab-ana-40example-2eorg_home",
    "木村": "jupyterlab--e6-9c-a8-e6-9d-91_home",
}


@pytest.mark.parametrize(
    ("typed_name", "volume"),
    [pytest.param(*item, marks=pytest.mark.full) if item[0] == "john.doe-x" else item for item in NAMES.items()],
)
def test_dialogs_show_the_right_names(make_person: PersonFactory, typed_name: str, volume: str) -> None:
    """Whatever is in a name, the dialogs show the user and the volume, and both operations reach them."""
    person = make_person(typed_name)
    person.start_server()
    confirm = person.ask_to_restart()
    expect(person.dialog).to_contain_text(person.name)
    confirm.click()
    person.expect_server()
    person.open_home()
    person.expect_ready()
    person.stop_server()
    confirm = person.ask_to_reset()
    expect(person.dialog).to_contain_text(person.name)
    expect(person.dialog).to_contain_text(volume)
    confirm.click()
    expect(person.status).to_contain_text(f"{volume} was deleted", timeout=60_000)


def test_nobody_acts_on_another_user(make_person: PersonFactory, person_with_server: Person) -> None:
    """From another user's page, every endpoint refuses, and the server runs on as before."""
    stranger = make_person()
    before = person_with_server.identity()
    for method, operation in [
        ("POST", "restart-server"),
        ("GET", "home-volume"),
        ("DELETE", "reset-home-volume"),
    ]:
        answer = stranger.call(method, f"{person_with_server.path}/{operation}")
        assert answer["status"] in {403, 404}, (method, operation)
    assert person_with_server.identity() == before


def test_an_ended_login_is_said_with_a_way_back(person: Person) -> None:
    """When the login ends, the buttons go, and the page says so with a link to log in again."""
    expect(person.reset_button).to_be_visible()
    person.page.context.clear_cookies()
    expect(person.alert).to_contain_text("You were logged out")
    expect(person.reset_button).to_be_hidden()
    person.page.get_by_role("link", name="Log in again").click()
    person.page.wait_for_url("**/hub/login?next=%2Fhub%2Fhome")


def test_confirming_after_the_login_has_ended_does_nothing(person_with_server: Person) -> None:
    """Who confirms with an ended login is told that nothing was done, and nothing was; the way back leads back."""
    person = person_with_server
    before = person.identity()
    confirm = person.ask_to_restart()
    person.page.context.clear_cookies()
    confirm.click()
    expect(person.alert).to_contain_text("so nothing was done")
    person.page.get_by_role("link", name="Log in again").click()
    person.sign_in()
    expect(person.restart_button).to_be_enabled()
    assert person.identity() == before
