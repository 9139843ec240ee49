"""Restart server, as a person does it in a browser, and what then is true on the engine."""

from __future__ import annotations

from playwright.sync_api import expect
from support.browser import stubs
from support.browser.person import HOME, Person
from support.browser.stack import Stack

NOTHING_IS_OFFERED = """() =>
    document.getElementById("hubwarden-hint").textContent.toLowerCase().includes("starting") &&
    !["restart", "reset"].some((name) => document.getElementById(`hubwarden-${name}`).checkVisibility())"""
"""At one look: a quick server is ready between two."""


def test_a_restart_keeps_container_and_files_and_ends_at_the_server(person_with_server: Person) -> None:
    """After confirming, the browser lands on the working server: same container, started later, files kept."""
    person = person_with_server
    person.write(f"{HOME}/notes.txt")
    container_id, started_at = person.identity()
    person.ask_to_restart().click()
    expect(person.dialog).to_contain_text("Restarting your server")
    person.expect_server()
    id_afterwards, started_afterwards = person.identity()
    assert id_afterwards == container_id
    assert started_afterwards > started_at
    assert "notes.txt" in person.files(HOME)


def test_a_running_server_offers_restart_and_never_reset(person_with_server: Person) -> None:
    """While the server runs there is a Restart button and no Reset button."""
    expect(person_with_server.restart_button).to_be_enabled()
    expect(person_with_server.reset_button).to_be_hidden()


def test_leaving_the_dialog_changes_nothing(person_with_server: Person) -> None:
    """Escape and Cancel close the dialog, send nothing, and give the focus back; Cancel has the focus at first."""
    person = person_with_server
    before = person.identity()
    cancel = person.dialog.get_by_role("button", name="Cancel")
    for key in ("Escape", "Enter"):
        person.ask_to_restart()
        expect(cancel).to_be_focused()
        person.page.keyboard.press(key)
        expect(person.dialog).to_be_hidden()
        expect(person.restart_button).to_be_focused()
    assert person.operations == []
    assert person.identity() == before


def test_a_double_click_sends_one_request(person_with_server: Person) -> None:
    """Two quick clicks on the confirming button restart once, and the dialog stays until the server is ready."""
    person = person_with_server
    person.ask_to_restart().dblclick()
    expect(person.dialog).to_be_visible()
    person.expect_server()
    assert len(person.operations) == 1


def test_two_clicks_at_one_moment_send_one_request(person: Person) -> None:
    """Also where nothing moves from under the second click; and Close does not come to where it might meet it."""
    stubs.show_state(person, default=stubs.READY)
    held = stubs.Held(person, "restart-server")
    confirm = person.ask_to_restart()
    clicked = confirm.bounding_box()
    confirm.evaluate("button => { button.click(); button.click(); }")
    close = person.dialog.get_by_role("button", name="Close").bounding_box()
    assert clicked is not None
    assert close is not None
    assert close["x"] + close["width"] <= clicked["x"]
    held.release(200, stubs.RESTARTED)
    person.page.wait_for_url("**/hub/home?arrived")
    assert len(person.operations) == 1


def test_closing_the_dialog_leaves_a_line_that_tells_the_end(person_with_server: Person) -> None:
    """Who closes the dialog while the server restarts stays on the page, and gets the result with a link."""
    person = person_with_server
    person.ask_to_restart().click()
    person.dialog.get_by_role("button", name="Close").click()
    expect(person.dialog).to_be_hidden()
    expect(person.status).to_contain_text("Restarting your server")
    link = person.page.get_by_role("link", name="Go to my server")
    expect(link).to_be_visible(timeout=120_000)
    link.click()
    person.expect_server()


def test_the_page_follows_a_server_that_starts_elsewhere(person: Person) -> None:
    """Without a reload: nothing is offered while the server starts, and Restart as soon as it is ready."""
    expect(person.reset_button).to_be_visible()
    assert person.call("POST", f"{person.path}/server")["status"] in {201, 202}
    person.page.wait_for_function(NOTHING_IS_OFFERED)
    expect(person.restart_button).to_be_enabled(timeout=120_000)


def test_a_failed_restart_says_why_and_can_be_tried_again(stack: Stack, person_with_server: Person) -> None:
    """With the agent away the page shows the Hub's sentence and a reference; once it is back, Try again works."""
    person = person_with_server
    before = person.identity()
    stack.stop_agent()
    try:
        person.ask_to_restart().click()
        expect(person.alert).to_contain_text("Nothing was changed", timeout=60_000)
        expect(person.alert).to_contain_text(person.operations[0].headers["x-request-id"])
        expect(person.dialog).to_be_hidden()
        assert person.identity() == before
    finally:
        stack.start_agent()
    person.wait_for_agent()
    person.try_again()
    person.dialog.get_by_role("button", name="Restart server").click()
    person.expect_server()
    assert person.identity()[0] == before[0]
    assert person.identity()[1] > before[1]
