"""By keyboard, by screen reader, small, zoomed and dark: axe-core finds nothing on our markup in any phase."""

from __future__ import annotations

from playwright.sync_api import expect
from support.browser import stubs
from support.browser.accessibility import assert_accessible
from support.browser.person import Person, PersonFactory


def test_every_phase_of_a_restart_is_accessible(person: Person) -> None:
    """Buttons, question, an obstacle to it, progress, the same told in the page, and a failure."""
    stubs.show_state(person, default=stubs.READY)
    expect(person.restart_button).to_be_enabled()
    assert_accessible(person.page, "buttons")
    confirm = person.ask_to_restart()
    assert_accessible(person.page, "question")
    stubs.show_state(person, default=stubs.STOPPED)
    expect(person.dialog).to_contain_text("no longer running")
    assert_accessible(person.page, "obstacle")
    stubs.show_state(person, default=stubs.READY)
    held = stubs.Held(person, "restart-server")
    stubs.tell_progress(person, "restart-server", {"phase": "answering", "progress": 70})
    confirm.click()
    expect(person.dialog).to_contain_text("Waiting for it to answer")
    expect(person.dialog.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "70")
    assert_accessible(person.page, "progress")
    person.dialog.get_by_role("button", name="Close").click()
    expect(person.status).to_be_focused()
    expect(person.status.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "70")
    assert_accessible(person.page, "progress in the page")
    held.release(202, {**stubs.RESTARTED, "ready": False})
    expect(person.alert).to_contain_text("doesn't respond yet")
    assert_accessible(person.page, "failure")


def test_every_phase_of_a_reset_is_accessible(person: Person) -> None:
    """A button that cannot act and says why, and the deletion under way; the rest is an admin's, below."""
    stubs.show_home(person)
    stubs.show_state(person, default=stubs.STOPPED, lab=stubs.READY)
    expect(person.hint).to_contain_text("lab")
    assert_accessible(person.page, "button that cannot act")
    stubs.show_state(person, default=stubs.STOPPED)
    confirm = person.ask_to_reset()
    stubs.Held(person, "reset-home-volume")
    stubs.tell_progress(person, "reset-home-volume", {"phase": "removing", "progress": 30})
    confirm.click()
    expect(person.dialog.locator("[aria-current]")).to_have_text("Deleting")
    assert_accessible(person.page, "progress")


def test_every_phase_of_an_admins_reset_is_accessible(make_person: PersonFactory) -> None:
    """An admin types the name of the person whose home it is, by keyboard alone, before Delete can be pressed."""
    person = make_person("admin")
    person.stack.make_volume(person.volume("home"))
    person.open_home()
    expect(person.reset_button).to_be_enabled()
    person.reset_button.focus()
    person.page.keyboard.press("Enter")
    confirm = person.dialog.get_by_role("button", name="Delete my home volume")
    expect(confirm).to_be_disabled()
    assert_accessible(person.page, "question")
    person.dialog.get_by_label("Type admin to confirm").focus()
    person.page.keyboard.type("admi")
    expect(confirm).to_be_disabled()
    person.page.keyboard.type("n")
    expect(confirm).to_be_enabled()
    person.page.keyboard.press("Tab")
    person.page.keyboard.press("Tab")
    expect(confirm).to_be_focused()
    person.page.keyboard.press("Enter")
    expect(person.status).to_contain_text("was deleted", timeout=60_000)
    expect(person.status).to_be_focused()
    assert_accessible(person.page, "success")


def test_reduced_motion_is_respected(person: Person) -> None:
    """Nothing turns or slides for a person who asked for reduced motion."""
    person.page.emulate_media(reduced_motion="reduce")
    stubs.show_state(person, default=stubs.READY)
    stubs.Held(person, "restart-server")
    person.ask_to_restart().click()
    spinner = person.dialog.locator(".hubwarden-spinner")
    expect(spinner).to_have_css("animation-name", "none")
    expect(person.dialog.locator(".progress-bar")).to_have_css("transition-duration", "0s")
