"""Restart server, as a person does it in a browser, and what then is true on the engine."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect
from support.browser import stubs
from support.browser.person import HOME, JUPYTERLAB, Person, PersonFactory
from support.browser.stack import Stack

STEPS = ["Stopping", "Starting", "Waiting for the server", "Ready"]
NOTE_STEPS = """() => {
    window.seen = [];
    const dialog = document.getElementById("hubwarden-restart-dialog");
    const note = () => {
        const step = dialog.querySelector("[aria-current]")?.textContent;
        if (step && window.seen.at(-1) !== step) window.seen.push(step);
    };
    new MutationObserver(note).observe(dialog, { attributes: true, subtree: true });
    window.addEventListener("pagehide", () => sessionStorage.setItem("seen", JSON.stringify(window.seen)));
}"""


@pytest.mark.slow("starts the real JupyterLab, and waits for it again after its restart")
def test_a_restart_keeps_container_and_files_and_ends_at_the_server(make_person: PersonFactory) -> None:
    """When JupyterLab restarts, the dialog shows the phases in order, and the browser lands on the same container."""
    person = make_person(f"{JUPYTERLAB}-")
    person.start_server()
    expect(person.reset_button).to_be_hidden()
    person.write(f"{HOME}/notes.txt")
    container_id, started_at = person.identity()
    person.page.evaluate(NOTE_STEPS)
    person.ask_to_restart().click()
    expect(person.dialog).to_contain_text("Restarting your server")
    person.expect_server()
    seen = person.page.evaluate("() => JSON.parse(sessionStorage.getItem('seen'))")
    assert seen == sorted(seen, key=STEPS.index)
    assert {"Stopping", "Waiting for the server", "Ready"} <= set(seen)
    id_afterwards, started_afterwards = person.identity()
    assert id_afterwards == container_id
    assert started_afterwards > started_at
    assert "notes.txt" in person.files(HOME)


def test_leaving_the_dialog_changes_nothing(person: Person) -> None:
    """When Escape or Cancel closes the dialog, nothing is sent and the focus returns; Cancel has the focus at first."""
    stubs.show_state(person, default=stubs.READY)
    cancel = person.dialog.get_by_role("button", name="Cancel")
    for key in ("Escape", "Enter"):
        person.ask_to_restart()
        expect(cancel).to_be_focused()
        person.page.keyboard.press(key)
        expect(person.dialog).to_be_hidden()
        expect(person.restart_button).to_be_focused()
    assert person.operations == []


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


PHASE = re.compile("(Restarting|Stopping|Starting) your server…|Checking…|Disconnecting…")
"""What the page says while a server restarts, until it answers."""


def test_closing_the_dialog_leaves_a_line_that_tells_the_end(person_with_server: Person) -> None:
    """Who closes the dialog while the server restarts stays on the page, and gets the result with a link."""
    person = person_with_server
    person.ask_to_restart().click()
    person.dialog.get_by_role("button", name="Close").click()
    expect(person.dialog).to_be_hidden()
    expect(person.status).to_contain_text(PHASE)
    link = person.page.get_by_role("link", name="Go to my server")
    expect(link).to_be_visible(timeout=120_000)
    link.click()
    person.expect_server()


STARTING = {**stubs.STOPPED, "stopped": False, "pending": "spawn"}


def test_a_restart_is_offered_while_a_server_starts(person: Person) -> None:
    """When the server starts, the page offers a restart that waits for that, unless one waits already."""
    queued = {"progress": 0, "phase": "queued", "message": "", "request_id": "another"}
    stubs.show_state(person, default={**STARTING, "restart": queued})
    expect(person.hint).to_contain_text("Your server is starting")
    expect(person.reset_button).to_be_hidden()
    expect(person.restart_button).to_be_hidden()
    stubs.show_state(person, default=STARTING)
    expect(person.restart_button).to_be_enabled()
    expect(person.hint).to_contain_text("A restart begins when it has started.")
    expect(person.reset_button).to_be_hidden()


def test_an_announced_restart_is_told(person: Person) -> None:
    """When a batch that restarts the server is announced, the page says when."""
    announced = {"restart_announced": "2026-01-01T12:34:00+00:00", "waiting": None, "reset": None}
    stubs.answer(person, "hubwarden-state", {"servers": {"": stubs.READY}, **announced})
    expect(person.hint).to_contain_text("Your server will be restarted at")
    expect(person.restart_button).to_be_enabled()


def test_a_restart_that_waits_can_be_cancelled(person: Person) -> None:
    """When the Hub's state shows that the restart waits, the notice has a button that cancels just that request."""
    stubs.show_state(person, default=STARTING)
    answer = stubs.Held(person, "restart-server")
    with person.page.expect_request("**/restart-server") as sent:
        person.ask_to_restart().click()
    request_id = sent.value.headers["x-request-id"]
    person.dialog.get_by_role("button", name="Close").click()
    waiting = {"kind": "restart", "server_name": "", "request_id": request_id}
    stubs.show_state(person, default=STARTING, waiting=waiting)
    cancelled: list[str] = []

    def cancel(route: Route) -> None:
        cancelled.append(f"{route.request.method} {route.request.url}")
        route.fulfill(json={"message": "", "request_id": request_id})

    stubs.hold(person, "waiting-operations/*", cancel)
    person.page.get_by_role("button", name="Cancel this request").click()
    refusal = {"status": 409, "message": "This was cancelled.", "reason": "CANCELLED", "request_id": request_id}
    answer.release(409, refusal)
    expect(person.alert).to_contain_text("This was cancelled.")
    assert [call.startswith("DELETE") and call.endswith(request_id) for call in cancelled] == [True]


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
