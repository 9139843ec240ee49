"""What the page says, given what the Hub answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Route, expect
from support.browser import stubs
from support.browser.person import Person
from support.browser.stubs import NEITHER_IS_KNOWN

DAYS_AGO = (datetime.now(UTC) - timedelta(days=3, hours=1)).isoformat()


def test_the_stubs_have_the_shape_of_the_hubs_answers(person: Person) -> None:
    """What the tests here make up has the fields that the Hub's own answers have."""
    state = person.call("GET", f"{person.path}/hubwarden-state")["body"]
    assert set(state["servers"][""]) == set(stubs.READY)
    assert set(person.call("GET", f"{person.path}/home-volume")["body"]) == set(stubs.HOME)


def test_the_page_says_what_each_button_does_to_files(person: Person) -> None:
    """Before anything is clicked: beside the button that is offered stands what becomes of the files."""
    stubs.show_state(person, default=stubs.READY)
    expect(person.hint).to_contain_text("Your saved files stay")
    expect(person.restart_button).to_have_accessible_description(person.hint.inner_text())
    stubs.show_home(person)
    stubs.show_state(person, default=stubs.STOPPED)
    expect(person.hint).to_contain_text("deletes everything in your home folder")
    expect(person.reset_button).to_have_accessible_description(person.hint.inner_text())


def test_the_question_names_volume_size_and_last_use(person: Person) -> None:
    """Size and last use where they are known, and no word about them where they are not."""
    stubs.show_home(person)
    stubs.show_state(person, default=stubs.STOPPED)
    person.ask_to_reset()
    expect(person.dialog).to_contain_text("jupyterlab-somebody_home")
    expect(person.dialog).not_to_contain_text("Size")
    expect(person.dialog).not_to_contain_text("Last used")
    stubs.show_home(person, size_bytes=1_234_567_890)
    stubs.show_state(person, default={**stubs.STOPPED, "last_activity": DAYS_AGO})
    person.open_home()
    person.ask_to_reset()
    expect(person.dialog).to_contain_text("1.2 GB")
    expect(person.dialog).to_contain_text("3 days ago")


@pytest.mark.parametrize(
    ("backup", "told"),
    [
        ({}, None),
        ({"backup_id": "b-7", "backup_until": None}, r"from it\.$"),
        ({"backup_id": "b-7", "backup_until": "2026-12-24T12:00:00+00:00"}, r"from it until December 24, 2026\.$"),
    ],
)
def test_a_backup_is_told_with_the_day_until_which_it_is_kept(
    person: Person, backup: dict[str, Any], told: str | None
) -> None:
    """No backup: not a word. A backup: an administrator can bring the home back, until a day if that is known."""
    stubs.show_home(person)
    stubs.show_state(person, default=stubs.STOPPED)
    stubs.answer(person, "reset-home-volume", {**stubs.RESET, **backup})
    person.ask_to_reset().click()
    expect(person.status).to_contain_text("was deleted")
    if told is None:
        expect(person.status).not_to_contain_text("backup")
        expect(person.status).not_to_contain_text("dministrator")
    else:
        paragraph = person.status.locator("p", has_text="A backup was made first: b-7")
        expect(paragraph).to_contain_text("An administrator can bring your old home back")
        assert re.search(told, paragraph.inner_text())


def test_the_question_warns_and_promises_nothing(person: Person) -> None:
    """Whether there will be a backup, the Hub does not know: you cannot undo it is true both ways, for good is not."""
    stubs.show_home(person)
    stubs.show_state(person, default=stubs.STOPPED)
    person.open_home()
    person.ask_to_reset()
    expect(person.dialog).to_contain_text("This permanently deletes your home folder.")
    expect(person.dialog).not_to_contain_text(NEITHER_IS_KNOWN)


def test_too_often_says_when_to_try_again(person: Person) -> None:
    """A refused reset says so in the message, and a budget known to be spent says so beside the button."""
    refusal = {"status": 429, "message": "Too often.", "reason": "RATE_LIMITED", "request_id": "ref-1"}
    stubs.show_home(person)
    stubs.show_state(person, default=stubs.STOPPED)
    stubs.answer(person, "reset-home-volume", refusal, 429, {"Retry-After": "125"})
    person.ask_to_reset().click()
    expect(person.alert).to_contain_text("You can try again in 3 minutes.")
    expect(person.alert).to_contain_text("ref-1")
    stubs.show_home(person, resettable=False, message="Too often.", retry_after=40)
    person.open_home()
    expect(person.hint).to_have_text("Too often. You can try again in 40 seconds.")
    expect(person.reset_button).to_be_disabled()


def test_a_slow_server_is_gone_to_the_moment_it_is_ready(person: Person) -> None:
    """The Hub answers before a slow server is up: the page asks again under the same id when the progress says so."""
    answers = [(202, {"started_at": None, "ready": False}), (200, {})]

    def restart(route: Route) -> None:
        status, differences = answers.pop(0)
        route.fulfill(status=status, json={**stubs.RESTARTED, **differences})

    stubs.show_state(person, default=stubs.READY)
    stubs.hold(person, "restart-server", restart)
    stubs.tell_progress(person, "restart-server", {"phase": "done", "progress": 100, "ready": True})
    person.ask_to_restart().click()
    person.page.wait_for_url("**/hub/home?arrived")
    first, second = (request.headers["x-request-id"] for request in person.operations)
    assert first == second


def test_a_server_that_stays_silent_is_said_with_what_to_do(person: Person) -> None:
    """It was restarted and does not answer in time: no journey to an error page, but what to do and where it is."""
    stubs.show_state(person, default=stubs.READY)
    stubs.answer(person, "restart-server", {**stubs.RESTARTED, "ready": False}, 202)
    person.ask_to_restart().click()
    expect(person.alert).to_contain_text("doesn't respond yet")
    expect(person.alert).to_contain_text("stop it and start it again")
    expect(person.page.get_by_role("link", name="Go to my server")).to_be_visible()
    expect(person.dialog).to_be_hidden()


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ([], "so nothing was done"),
        ([None], "You were logged out before this finished"),
        ([{**stubs.RESTARTED, "started_at": None, "ready": False}], "You were logged out before this finished"),
    ],
    ids=["at the first request", "after a lost answer", "while it goes on"],
)
def test_a_login_that_ends_claims_only_what_is_known(
    person: Person, before: list[dict[str, Any] | None], told: str
) -> None:
    """Once the Hub may have begun, the page does not say that nothing was done."""
    coming = list(before)

    def restart(route: Route) -> None:
        if not coming:
            route.fulfill(status=403, json={"status": 403, "message": "Missing or invalid credentials."})
        elif (answer := coming.pop(0)) is None:
            route.abort()
        else:
            route.fulfill(status=202, json=answer)

    stubs.show_state(person, default=stubs.READY)
    stubs.hold(person, "restart-server", restart)
    stubs.answer(person, "api/user", {"status": 403, "message": "Missing or invalid credentials."}, 403)
    person.ask_to_restart().click()
    expect(person.alert).to_contain_text(told)
    expect(person.page.get_by_role("link", name="Log in again")).to_be_visible()


@pytest.mark.parametrize(
    ("status", "reason", "again", "ids"),
    [
        (503, "AGENT_UNREACHABLE", "Try again", 2),
        (504, "DEADLINE_EXCEEDED", "Try again", 1),
        (504, "DEADLINE_EXCEEDED", "Restart server", 2),
    ],
)
def test_only_trying_again_keeps_the_id_while_the_outcome_is_unknown(
    person: Person, status: int, reason: str, again: str, ids: int
) -> None:
    """Try again repeats the id when the Hub does not know the outcome; a refusal and a new click lead to a new id."""
    stubs.show_state(person, default=stubs.READY)
    stubs.answer(person, "restart-server", {"message": "No.", "reason": reason, "request_id": "x"}, status)
    person.ask_to_restart().click()
    expect(person.alert).to_be_visible()
    person.page.get_by_role("button", name=again).click()
    person.dialog.get_by_role("button", name="Restart server").click()
    expect(person.alert).to_be_visible()
    assert len(person.operations) == 2
    assert len({request.headers["x-request-id"] for request in person.operations}) == ids


@pytest.mark.parametrize("end", ["silent", "forgotten"])
def test_a_restart_begun_elsewhere_is_told_to_whatever_end_it_has(person: Person, end: str) -> None:
    """A server that does not answer is not called ready; what the Hub no longer knows of is no longer told."""
    under_way = {"progress": 20, "phase": "stopping", "message": "", "request_id": "x"}
    stubs.show_state(person, default={**stubs.READY, "ready": False, "pending": "restart", "restart": under_way})
    expect(person.status).to_contain_text("Stopping your server")
    if end == "silent":
        silent = {**under_way, "phase": "done", "progress": 100, "ready": False}
        stubs.show_state(person, default={**stubs.READY, "restart": silent})
        expect(person.alert).to_contain_text("doesn't respond yet")
    else:
        stubs.show_state(person, default=stubs.READY)
        expect(person.status).to_be_empty()
