"""What can meet a restart or a reset on its way, one test each; what is not here is in the file of its flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Route, expect
from support.browser import stubs
from support.browser.person import Person, PersonFactory
from support.browser.stack import Stack

SLOW_MACHINE = 120_000


def test_two_tabs_restart_once(person_with_slow_server: Person) -> None:
    """When another tab was quicker, an open question says so; that tab then shows the phases and the end, and stays."""
    person = person_with_slow_server
    confirm = person.ask_to_restart()
    with person.another_tab() as other:
        asked = other.ask_to_restart()
        confirm.click()
        expect(other.dialog).to_contain_text("Your server is being restarted")
        expect(asked).to_be_disabled()
        other.dialog.get_by_role("button", name="Cancel").click()
        expect(other.status).to_contain_text("Waiting for it to answer")
        expect(other.restart_button).to_be_hidden()
        expect(other.status).to_contain_text("is ready", timeout=SLOW_MACHINE)
        expect(other.restart_button).to_be_enabled()
        assert other.operations == []
    person.expect_server()
    assert len(person.operations) == 1


def test_a_server_stopped_in_another_tab_takes_the_question_back(person_with_server: Person) -> None:
    """While the question is open: it says that there is nothing to restart, and cannot be confirmed."""
    person = person_with_server
    confirm = person.ask_to_restart()
    with person.another_tab() as other:
        other.page.locator("#stop").click()
        expect(person.dialog).to_contain_text("no longer running")
        expect(confirm).to_be_disabled()
        person.dialog.get_by_role("button", name="Cancel").click()
        expect(person.reset_button).to_be_enabled()
    assert person.operations == []


def test_a_server_started_in_another_tab_takes_the_reset_back(person: Person) -> None:
    """While the question is open: it says which servers to stop, and can be confirmed again once they are."""
    stubs.show_home(person)
    stubs.show_state(person, default=stubs.STOPPED, lab=stubs.STOPPED)
    confirm = person.ask_to_reset()
    stubs.show_state(person, default={**stubs.STOPPED, "stopped": False, "pending": "spawn"}, lab=stubs.READY)
    expect(person.dialog).to_contain_text(
        "Stop these servers first, because they use your home: your default server and lab"
    )
    expect(confirm).to_be_disabled()
    stubs.show_state(person, default=stubs.STOPPED, lab=stubs.STOPPED)
    expect(confirm).to_be_enabled()
    expect(person.dialog).not_to_contain_text("Stop these servers first")


def test_a_server_that_does_not_come_back_is_said_and_can_be_started(make_person: PersonFactory) -> None:
    """When a server does not come back, the page says that it was stopped, with a reference and a way to start it."""
    person = make_person("sulky-")  # its second start fails, its third does not
    person.start_server()
    person.ask_to_restart().click()
    expect(person.alert).to_contain_text("did not come back", timeout=SLOW_MACHINE)
    expect(person.alert).to_contain_text(person.operations[0].headers["x-request-id"])
    expect(person.restart_button).to_be_hidden()
    person.page.get_by_role("link", name="Start my server").click()
    person.expect_server()


@contextmanager
def hub_out_of_reach(person: Person, operation: str) -> Iterator[None]:
    """The Hub gets the first request for the operation and carries it out; no answer of the Hub reaches the page."""

    def cut(route: Route) -> None:
        if len(person.operations) == 1:
            route.fetch()
        route.abort()

    stubs.hold(person, operation, cut)
    stubs.hold(person, "hubwarden-state", lambda route: route.abort())
    yield
    for path in (operation, "hubwarden-state"):
        person.page.unroute(f"**/{path}")


def test_a_restart_whose_answer_is_lost_is_told_once_the_hub_is_back(person_with_server: Person) -> None:
    """When all answers are lost, the page says so; when it reaches the Hub again, it shows the end."""
    person = person_with_server
    _, started_before = person.identity()
    confirm = person.ask_to_restart()
    with hub_out_of_reach(person, "restart-server"):
        confirm.click()
        expect(person.alert).to_contain_text("It is safe to try again", timeout=SLOW_MACHINE)
        expect(person.hint).to_contain_text("This page keeps trying")
        person.try_again()
        assert person.identity()[1] > started_before
        asked = len(person.operations)
    expect(person.status).to_contain_text("was restarted and is ready", timeout=SLOW_MACHINE)
    expect(person.dialog).to_be_hidden()
    expect(person.page.get_by_role("button", name="Try again")).to_be_hidden()
    assert len(person.operations) == asked


def test_a_new_click_after_a_lost_answer_restarts_again(person_with_server: Person) -> None:
    """When the first restart's answer is lost and the person clicks Restart anew, the server restarts a second time."""
    person = person_with_server
    confirm = person.ask_to_restart()
    with hub_out_of_reach(person, "restart-server"):
        confirm.click()
        expect(person.alert).to_contain_text("It is safe to try again", timeout=SLOW_MACHINE)
        started_first = person.identity()[1]
    expect(person.restart_button).to_be_enabled(timeout=SLOW_MACHINE)
    person.ask_to_restart().click()
    person.expect_server()
    assert person.identity()[1] > started_first
    ids = [request.headers["x-request-id"] for request in person.operations]
    assert ids[-1] != ids[0]


def test_a_new_click_after_a_lost_answer_deletes_the_new_home(stack: Stack, person_with_home: Person) -> None:
    """When the first reset's answer is lost and the home exists anew, a click on Reset deletes the new home."""
    person = person_with_home
    confirm = person.ask_to_reset()
    with hub_out_of_reach(person, "reset-home-volume"):
        confirm.click()
        expect(person.alert).to_contain_text("It is safe to try again", timeout=SLOW_MACHINE)
        assert not stack.volume_exists(person.volume("home"))
        stack.make_volume(person.volume("home"))
    expect(person.reset_button).to_be_enabled(timeout=SLOW_MACHINE)
    person.ask_to_reset().click()
    expect(person.status).to_contain_text(f"{person.volume('home')} was deleted")
    assert not stack.volume_exists(person.volume("home"))


def test_nothing_is_asked_while_the_page_is_hidden(person: Person) -> None:
    """A hidden page is silent, also when an operation ends there; one that is shown again asks at once."""
    stubs.show_state(person, default=stubs.READY)
    held = stubs.Held(person, "restart-server")
    person.ask_to_restart().click()
    expect(person.dialog).to_contain_text("Restarting your server")
    hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    hide += " document.dispatchEvent(new Event('visibilitychange')); }"
    person.page.evaluate(hide, True)  # noqa: FBT003 - the script's argument
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))
    held.release(400, {"message": "No.", "reason": "INVALID_REQUEST", "request_id": "x"})
    expect(person.alert).to_be_visible()
    person.page.wait_for_timeout(4_000)  # more than two beats: only time shows that nothing comes
    assert not [url for url in asked if url.endswith(("hubwarden-state", "home-volume"))]
    with person.page.expect_request("**/hubwarden-state"):
        person.page.evaluate(hide, False)  # noqa: FBT003 - the script's argument
