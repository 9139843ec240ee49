"""Reset home volume, as a person does it in a browser, and what then is true on the engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Route, expect
from support.browser.person import HOME, JUPYTERLAB, Person, PersonFactory
from support.browser.stack import Stack


@pytest.fixture
def foreign_container(stack: Stack, person_with_home: Person) -> Iterator[str]:
    """Somebody else's container, not yet made, that holds the user's home."""
    name = f"foreign-{person_with_home.name}"
    yield name
    stack.remove_container(name)


def hold_home(stack: Stack, person: Person, name: str) -> None:
    """Make a container that is not the user's and holds the user's home."""
    stack.docker("create", "--name", name, "--volume", f"{person.volume('home')}:/held", stack.user_image)


@pytest.mark.slow("starts the real JupyterLab twice, before the reset and after it")
def test_a_reset_gives_a_clean_home_and_leaves_the_rest(stack: Stack, make_person: PersonFactory) -> None:
    """When a home is reset, the next start of JupyterLab finds it as new, and the other volumes as they were."""
    person = make_person(f"{JUPYTERLAB}-")
    person.start_server()
    for file in (f"{HOME}/mine.txt", "/workspace/project.txt", "/cache/download.txt"):
        person.write(file)
    person.stop_server()
    expect(person.restart_button).to_be_hidden()
    confirm = person.ask_to_reset()
    expect(person.dialog).to_contain_text(person.volume("home"))
    expect(person.dialog).to_contain_text("Your workspace and cache are kept")
    confirm.click()
    expect(person.status).to_contain_text(f"Your home volume {person.volume('home')} was deleted", timeout=60_000)
    expect(person.dialog).to_be_hidden()
    assert not stack.volume_exists(person.volume("home"))
    person.start_server_by_hand()
    assert "mine.txt" not in person.files(HOME)
    assert "README.md" in person.files(HOME)
    assert "project.txt" in person.files("/workspace")
    assert "download.txt" in person.files("/cache")


def test_without_a_home_the_button_says_why(person: Person) -> None:
    """Before the first start, Reset is shown disabled, with the reason beside it."""
    expect(person.reset_button).to_be_disabled()
    expect(person.hint).to_contain_text("There is no home volume yet")


def test_leaving_the_dialog_deletes_nothing(stack: Stack, person_with_home: Person) -> None:
    """Escape and Cancel close the dialog, send nothing, and the home is still there."""
    person = person_with_home
    for key in ("Escape", "Enter"):
        person.ask_to_reset()
        expect(person.dialog.get_by_role("button", name="Cancel")).to_be_focused()
        person.page.keyboard.press(key)
        expect(person.dialog).to_be_hidden()
    assert person.operations == []
    assert stack.volume_exists(person.volume("home"))


def test_a_refused_reset_says_why_and_can_be_tried_again(
    stack: Stack, person_with_home: Person, foreign_container: str
) -> None:
    """A home that something else holds is not deleted: the page says so, and Try again works once it is free."""
    person = person_with_home
    confirm = person.ask_to_reset()
    hold_home(stack, person, foreign_container)
    confirm.click()
    expect(person.alert).to_contain_text("Something else is using the home volume")
    expect(person.alert).to_contain_text("Reference")
    assert stack.volume_exists(person.volume("home"))
    stack.remove_container(foreign_container)
    person.try_again()
    person.dialog.get_by_role("button", name="Delete my home volume").click()
    expect(person.status).to_contain_text("was deleted", timeout=60_000)
    first, second = (request.headers["x-request-id"] for request in person.operations)
    assert first != second
    assert not stack.volume_exists(person.volume("home"))


def test_a_home_that_something_else_holds_cannot_be_reset(
    stack: Stack, person_with_home: Person, foreign_container: str
) -> None:
    """On a page opened meanwhile, Reset is shown disabled with the Hub's sentence."""
    hold_home(stack, person_with_home, foreign_container)
    person_with_home.open_home()
    expect(person_with_home.hint).to_contain_text("Something else is using the home volume")
    expect(person_with_home.reset_button).to_be_disabled()


def test_a_lost_answer_is_asked_for_again_under_the_same_request_id(stack: Stack, person_with_home: Person) -> None:
    """The reset happens, its answer gets lost: the page finds out by itself, and it is not done twice."""
    person = person_with_home

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    person.page.route("**/reset-home-volume", lose_the_answer, times=1)
    person.ask_to_reset().click()
    expect(person.status).to_contain_text("was deleted", timeout=60_000)
    assert len(person.operations) == 2
    assert len({request.headers["x-request-id"] for request in person.operations}) == 1
    assert not stack.volume_exists(person.volume("home"))


def test_a_hub_out_of_reach_is_said_and_trying_again_keeps_the_request_id(person_with_home: Person) -> None:
    """When asking again by itself does not help, the page says that trying again is safe: same request id."""
    person = person_with_home
    unreachable = "**/reset-home-volume"
    person.page.route(unreachable, lambda route: route.abort())
    person.ask_to_reset().click()
    expect(person.status).to_contain_text("cannot be reached")
    expect(person.alert).to_contain_text("It is safe to try again")
    person.page.unroute(unreachable)
    person.try_again()
    person.dialog.get_by_role("button", name="Delete my home volume").click()
    expect(person.status).to_contain_text("was deleted", timeout=60_000)
    assert len({request.headers["x-request-id"] for request in person.operations}) == 1
