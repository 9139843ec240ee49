"""What the page "Servers and homes" says, given what the Hub answers."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Dialog, Route, expect
from support.browser import stubs
from support.browser.admin import Admin
from support.browser.listing import NAME, list_user, listing_of
from support.browser.person import PersonFactory
from support.browser.stubs import NEITHER_IS_KNOWN

SILENT = "was restarted, but doesn't respond yet"


@pytest.fixture
def admin(make_person: PersonFactory) -> Admin:
    """An admin at the page."""
    return Admin(make_person)


def test_the_users_here_have_the_shape_of_the_hubs_answer(admin: Admin) -> None:
    """What the tests here make up has the fields that the Hub's own answer has."""
    truly = admin.person.call("GET", "hubwarden/users")["body"]
    list_user(admin, stubs.READY)
    made_up = admin.person.call("GET", "hubwarden/users?stub")["body"]
    assert set(made_up) == set(truly)
    assert set(made_up["users"][0]) == set(truly["users"][0])
    assert set(made_up["users"][0]["servers"][""]) == set(truly["users"][0]["servers"][""])


def restart(admin: Admin) -> None:
    """Ask for a restart, and confirm it."""
    admin.row(NAME).get_by_role("button", name="Restart").click()
    admin.dialog.get_by_role("button", name="Restart server").click()


def test_a_server_that_is_silent_after_its_restart_is_not_called_ready(admin: Admin) -> None:
    """Alone, and among many: it was restarted and does not answer, though the Hub has it."""
    list_user(admin, stubs.READY)
    stubs.show_state(admin.person, default=stubs.READY)
    stubs.answer(admin.person, "restart-server", {**stubs.RESTARTED, "ready": False}, 202)
    restart(admin)
    expect(admin.page.get_by_role("alert")).to_contain_text(SILENT)
    admin.row(NAME).get_by_role("checkbox").check()
    admin.page.get_by_role("button", name="Restart selected (1)").click()
    admin.dialog.get_by_role("button", name="Restart them").click()
    expect(admin.many).to_contain_text("Finished: 0 of 1 restarted, 1 failed, 0 skipped.")
    expect(admin.many.get_by_role("listitem")).to_contain_text("It was restarted, but doesn't respond yet")


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ({"failed": True, "message": "Docker said no.", "reason": "DOCKER_ERROR"}, "Docker said no."),
        ({"ready": False, "message": ""}, SILENT),
    ],
    ids=["failed", "silent"],
)
def test_the_end_of_a_restart_is_told_and_not_that_the_hub_has_the_server(
    admin: Admin, end: dict[str, Any], told: str
) -> None:
    """A restart that the answer did not wait for: what counts is how it ended, not that the server is there."""
    list_user(admin, stubs.READY)
    stubs.answer(admin.person, "restart-server", {**stubs.RESTARTED, "started_at": None, "ready": False}, 202)

    def state(route: Route) -> None:
        request_id = admin.person.operations[-1].headers["x-request-id"]
        ended = {"progress": 100, "phase": "done", "request_id": request_id, **end}
        route.fulfill(json={"servers": {"": {**stubs.READY, "restart": ended}}, "reset": None, "waiting": None})

    stubs.hold(admin.person, "hubwarden-state", state)
    restart(admin)
    expect(admin.page.get_by_role("alert")).to_contain_text(told)


def test_a_lost_answer_is_told_from_the_list_and_a_new_click_is_a_new_request(admin: Admin) -> None:
    """When a reset's answer is lost and the list shows its end, the page says so; the next click has another id."""
    list_user(admin, stubs.STOPPED)
    stubs.hold(admin.person, "reset-home-volume", lambda route: route.abort())

    def reset_home() -> None:
        admin.row(NAME).get_by_role("button", name="Reset home").click()
        admin.dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
        admin.dialog.get_by_role("button", name="Delete this home volume").click()

    reset_home()
    expect(admin.page.get_by_role("alert")).to_contain_text("It is safe to try again")
    first = admin.person.operations[0].headers["x-request-id"]
    ended = {"progress": 100, "phase": "done", "message": "Done", "request_id": first, "ready": True}
    stubs.answer(admin.person, "hubwarden/users?*", listing_of(stubs.STOPPED, ended))
    expect(admin.notice).to_contain_text(f"The home volume of {NAME} was deleted")
    expect(admin.page.get_by_role("button", name="Try again")).to_be_hidden()
    stubs.answer(admin.person, "reset-home-volume", stubs.RESET)
    reset_home()
    expect(admin.notice).to_contain_text(f"{stubs.HOME['volume']} of {NAME} was deleted")
    assert admin.person.operations[-1].headers["x-request-id"] != first


def test_forgetting_a_server_warns_first(admin: Admin) -> None:
    """When a stop waits for the agent, the row says so; *Forget server* warns, and sends nothing if that is refused."""
    list_user(admin, stubs.STOP_WAITS)
    stubs.answer(admin.person, "forget-server", {"message": "", "container": "c-1", "request_id": "x"})
    expect(admin.row(NAME)).to_contain_text("stopping: waiting for the Docker agent")
    forget = admin.row(NAME).get_by_role("button", name=f"Forget default of {NAME}")
    warnings: list[str] = []

    def answer(dialog: Dialog) -> None:
        warnings.append(dialog.message)
        (dialog.accept if len(warnings) > 1 else dialog.dismiss)()

    admin.page.on("dialog", answer)
    forget.click()
    assert not admin.person.operations
    forget.click()
    expect(admin.notice).to_contain_text("Its container c-1 may still be running.")
    assert len(admin.person.operations) == 1
    assert all("may still be running" in warning for warning in warnings)
    stubs.answer(admin.person, "hubwarden/users?*", listing_of(stubs.READY))
    expect(forget).to_be_hidden()


def test_a_home_that_cannot_be_reset_now_says_why_and_is_asked_about_again(admin: Admin) -> None:
    """The row says what is in the way, and offers Reset once that has passed, without a reload."""
    list_user(admin, stubs.STOPPED)
    stubs.show_home(admin.person, resettable=False, reason="RATE_LIMITED", message="Too often.", retry_after=40)
    admin.person.reload()
    reset = admin.row(NAME).get_by_role("button", name="Reset home")
    expect(admin.row(NAME)).to_contain_text("Too often. You can try again in 40 seconds.")
    expect(reset).to_be_hidden()
    stubs.show_home(admin.person)
    expect(reset).to_be_visible()
    expect(admin.row(NAME)).not_to_contain_text("Too often")


def test_the_question_about_anothers_home_warns_and_promises_nothing(admin: Admin) -> None:
    """As on the user's own page: true with a backup, and without one."""
    list_user(admin, stubs.STOPPED)
    admin.row(NAME).get_by_role("button", name="Reset home").click()
    expect(admin.dialog).to_contain_text("This permanently deletes this user's home folder")
    expect(admin.dialog).not_to_contain_text(NEITHER_IS_KNOWN)


def test_among_stopped_servers_none_that_runs_is_selected(admin: Admin) -> None:
    """The filter says "Stopped": what runs does not match it, so that nothing is selected unseen."""
    list_user(admin, stubs.READY)
    admin.page.get_by_role("button", name="Select all running servers that match").click()
    expect(admin.page.get_by_role("button", name="Restart selected (1)")).to_be_enabled()
    admin.page.get_by_role("button", name="Clear selection").click()
    admin.page.get_by_label("Servers", exact=True).select_option("Stopped")
    admin.page.get_by_role("button", name="Select all running servers that match").click()
    expect(admin.page.get_by_role("button", name="Restart selected (0)")).to_be_disabled()
