"""The page for admins by keyboard alone, and without motion; axe-core looks at it in test_servers_and_homes.py."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect
from support.browser import stubs
from support.browser.admin import Admin
from support.browser.listing import NAME, list_user
from support.browser.person import PersonFactory

MOST_TABS = 40
MOVING = """() => document.getAnimations().filter(({ playState }) => playState === "running")
    .map(({ effect }) => effect.target.outerHTML)"""


@pytest.fixture
def admin(make_person: PersonFactory) -> Admin:
    """An admin at the page, with one user whose server runs."""
    admin = Admin(make_person)
    stubs.show_state(admin.person, default=stubs.READY)
    list_user(admin, stubs.READY)
    return admin


def tab_to(admin: Admin, control: Locator, key: str = "Tab") -> None:
    """Press Tab until a control has the focus."""
    for _press in range(MOST_TABS):
        admin.page.keyboard.press(key)
        if control.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{control} is not reached by keyboard")


def test_a_row_is_acted_on_by_keyboard_alone(admin: Admin) -> None:
    """Escape gives the focus back to the row; after a restart it is at the message, also when that is closed."""
    keyboard = admin.page.keyboard
    stubs.answer(admin.person, "restart-server", stubs.RESTARTED)
    restart = admin.row(NAME).get_by_role("button", name="Restart")
    tab_to(admin, restart)
    keyboard.press("Enter")
    expect(admin.dialog.get_by_role("button", name="Cancel")).to_be_focused()
    keyboard.press("Escape")
    expect(restart).to_be_focused()
    keyboard.press("Enter")
    tab_to(admin, admin.dialog.get_by_role("button", name="Restart server"))
    keyboard.press("Enter")
    expect(admin.notice).to_contain_text("was restarted and is ready")
    expect(admin.notice).to_be_focused()
    tab_to(admin, admin.notice.get_by_role("button", name="Close"))
    keyboard.press("Enter")
    expect(admin.notice).to_be_empty()
    expect(admin.notice).to_be_focused()


def test_many_are_acted_on_by_keyboard_alone(admin: Admin) -> None:
    """Space ticks, Enter asks and confirms; the focus goes to how it stands, and is not lost when that is closed."""
    keyboard = admin.page.keyboard
    held = stubs.Held(admin.person, "restart-server")
    tab_to(admin, admin.row(NAME).get_by_role("checkbox"))
    keyboard.press("Space")
    selected = admin.page.get_by_role("button", name="Restart selected (1)")
    expect(selected).to_be_enabled()
    tab_to(admin, selected, "Shift+Tab")
    keyboard.press("Enter")
    tab_to(admin, admin.dialog.get_by_role("button", name="Restart them"))
    keyboard.press("Enter")
    expect(admin.many).to_be_focused()
    held.release(200, stubs.RESTARTED)
    expect(admin.many).to_contain_text("Finished: 1 of 1 restarted")
    tab_to(admin, admin.many.get_by_role("button", name="Close"))
    keyboard.press("Enter")
    expect(admin.many).to_be_hidden()
    expect(admin.page.get_by_role("button", name="Select all running servers that match")).to_be_focused()


def test_nothing_moves_for_a_person_who_asked_for_that(admin: Admin) -> None:
    """No animation runs and no bar slides, in the dialog, in the message, and in the panel of many."""
    admin.page.emulate_media(reduced_motion="reduce")
    stubs.Held(admin.person, "restart-server")
    stubs.tell_progress(admin.person, "restart-server", {"phase": "answering", "progress": 70})
    admin.row(NAME).get_by_role("checkbox").check()
    admin.row(NAME).get_by_role("button", name="Restart").click()
    admin.dialog.get_by_role("button", name="Restart server").click()
    expect(admin.dialog.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "70")
    assert admin.page.evaluate(MOVING) == []
    admin.dialog.get_by_role("button", name="Close").click()
    admin.page.get_by_role("button", name="Restart selected (1)").click()
    admin.dialog.get_by_role("button", name="Restart them").click()
    expect(admin.many).to_contain_text("0 of 1 restarted")
    assert admin.page.evaluate(MOVING) == []
    for bar in admin.page.locator(".progress-bar").all():
        expect(bar).to_have_css("transition-duration", "0s")
