"""What can meet a restart or a reset on its way, one test each; what is not here is in the file of its flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, Request, Route, expect
from support.browser import stubs
from support.browser.person import Person
from support.browser.stack import Stack

SLOW_MACHINE = 120_000


@contextmanager
def another_tab(person: Person) -> Iterator[Page]:
    """A second home page of the same person, up to date."""
    page = person.page.context.new_page()
    with page.expect_response("**/hubwarden-state"):
        page.goto(f"{person.stack.url}/hub/home")
    yield page
    page.close()


def test_two_tabs_restart_once(person_with_server: Person) -> None:
    """A question that is open in another tab says that somebody was quicker, and then tells the end like the other."""
    person = person_with_server
    confirm = person.ask_to_restart()
    with another_tab(person) as other:
        sent: list[Request] = []
        other.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
        other.get_by_role("button", name="Restart server").click()
        dialog = other.get_by_role("dialog")
        confirm.click()
        expect(dialog).to_contain_text("Your server is being restarted")
        expect(dialog.get_by_role("button", name="Restart server")).to_be_disabled()
        dialog.get_by_role("button", name="Cancel").click()
        expect(other.locator("#hubwarden-notice")).to_contain_text("is ready", timeout=SLOW_MACHINE)
        assert sent == []
    person.expect_server()
    assert len(person.operations) == 1


def test_a_server_stopped_in_another_tab_takes_the_question_back(person_with_server: Person) -> None:
    """While the question is open: it says that there is nothing to restart, and cannot be confirmed."""
    person = person_with_server
    confirm = person.ask_to_restart()
    with another_tab(person) as other:
        other.locator("#stop").click()
        expect(person.dialog).to_contain_text("there is nothing to restart")
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


def test_a_restart_during_a_spawn_waits_for_it(person: Person) -> None:
    """Asked for while the server starts, it is done when that is over, and the page tells both."""
    with another_tab(person) as other:
        other.evaluate(
            """path => {
                const { base_url, xsrf_token } = window.jhdata;
                const post = (what) => fetch(`${base_url}api/${path}/${what}`,
                    { method: "POST", headers: { "X-XSRFToken": xsrf_token } });
                post("server");
                window.asked = () => post("restart-server");
            }""",
            person.path,
        )
        expect(person.hint).to_contain_text("Your server is starting", timeout=SLOW_MACHINE)
        first = person.stack.inspect_container_once_it_runs(person.container)
        answer = other.evaluate("async () => (await window.asked()).status")
    assert answer in {200, 202}
    expect(person.status).to_contain_text("is ready", timeout=SLOW_MACHINE)
    container_id, started_at = person.identity()
    assert container_id == first["Id"]
    assert started_at > first["State"]["StartedAt"]


def test_a_server_that_does_not_come_back_is_said_and_can_be_started(stack: Stack, person_with_server: Person) -> None:
    """The page says that it was stopped, with a reference and a way to start it; that works."""
    person = person_with_server
    program = stack.docker("exec", person.container, "sh", "-c", "command -v jupyterhub-singleuser")
    stack.docker("exec", "--user", "0", person.container, "mv", program, f"{program}.away")
    person.ask_to_restart().click()
    expect(person.alert).to_contain_text("did not come back", timeout=SLOW_MACHINE)
    expect(person.alert).to_contain_text(person.operations[0].headers["x-request-id"])
    expect(person.restart_button).to_be_hidden()
    stack.remove_container(person.container)  # what an administrator does about a container that is beyond repair
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
        expect(person.alert).to_contain_text("Trying again is safe", timeout=SLOW_MACHINE)
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
        expect(person.alert).to_contain_text("Trying again is safe", timeout=SLOW_MACHINE)
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
        expect(person.alert).to_contain_text("Trying again is safe", timeout=SLOW_MACHINE)
        assert not stack.volume_exists(person.volume("home"))
        stack.docker("volume", "create", person.volume("home"))
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
