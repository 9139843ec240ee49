"""Pictures for the documentation: each phase, in both themes, on a desktop and on a phone.

Only when HUBWARDEN_PICTURES names a folder. The Hub's answers are made up, so that every run shows the same moments.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, ViewportSize, expect
from support.browser import stubs
from support.browser.admin import Admin, Held
from support.browser.person import Person, PersonFactory

SIZES = {"desktop": ViewportSize(width=960, height=540), "phone": ViewportSize(width=320, height=640)}
THEMES = ("light", "dark")
SENTENCE = "The service that does this is not available. Try again in a minute. Nothing was changed."
REFUSAL = {"message": SENTENCE, "reason": "AGENT_UNREACHABLE", "request_id": "6f2b1a34-8d0c-4b7e-9a55-0c1d2e3f4a5b"}


class Photographer:
    """Takes one person's page, phase by phase."""

    def __init__(self, person: Person, folder: Path) -> None:
        self._page = person.page
        self._folder = folder
        volume = person.volume("home")
        two_days_ago = datetime.now(UTC) - timedelta(days=2, hours=1)
        used: dict[str, str | bool | None] = {"last_activity": two_days_ago.isoformat()}
        self.ready, self.stopped = stubs.READY | used, stubs.STOPPED | used
        self.reset = stubs.RESET | {"volume": volume}
        stubs.show_home(person, volume=volume, size_bytes=1_234_567_890)

    def take(self, phase: str) -> None:
        """One phase, in all four ways."""
        take(self._page, self._folder, phase)


def take(page: Page, folder: Path, phase: str, shown: Locator | None = None) -> None:
    """One phase of a page, in both sizes and both themes, with what is to be shown in sight."""
    folder.mkdir(parents=True, exist_ok=True)
    for size, viewport in SIZES.items():
        page.set_viewport_size(viewport)
        if shown is not None:
            shown.evaluate("element => element.scrollIntoView()")
        for theme in THEMES:
            page.evaluate("theme => document.documentElement.setAttribute('data-bs-theme', theme)", theme)
            page.screenshot(path=folder / f"{phase}-{size}-{theme}.png", animations="disabled")


def test_pictures_of_a_restart(make_person: PersonFactory, pictures: Path | None) -> None:
    """Button, question, progress in the dialog and in the page, and its end there."""
    if pictures is None:
        pytest.skip("HUBWARDEN_PICTURES is not set")
    person = make_person("alice")
    photographer = Photographer(person, pictures)
    stubs.show_state(person, default=photographer.ready)
    expect(person.restart_button).to_be_enabled()
    photographer.take("restart-button")
    confirm = person.ask_to_restart()
    photographer.take("restart-question")
    held = stubs.Held(person, "restart-server")
    stubs.tell_progress(person, "restart-server", {"phase": "answering", "progress": 70})
    confirm.click()
    expect(person.dialog).to_contain_text("Waiting for it to answer")
    photographer.take("restart-progress")
    person.dialog.get_by_role("button", name="Close").click()
    photographer.take("restart-progress-closed")
    held.release(200, stubs.RESTARTED)
    expect(person.status).to_contain_text("is ready")
    photographer.take("restart-done")


def test_pictures_of_a_reset(make_person: PersonFactory, pictures: Path | None) -> None:
    """Button, question, a server that is in the way, progress, and the end with a backup."""
    if pictures is None:
        pytest.skip("HUBWARDEN_PICTURES is not set")
    person = make_person("alice")
    photographer = Photographer(person, pictures)
    stubs.show_state(person, default=photographer.stopped)
    expect(person.reset_button).to_be_enabled()
    photographer.take("reset-button")
    confirm = person.ask_to_reset()
    photographer.take("reset-question")
    stubs.show_state(person, default=photographer.stopped, lab=photographer.ready)
    expect(person.dialog).to_contain_text("Stop these servers first")
    photographer.take("reset-obstacle")
    stubs.show_state(person, default=photographer.stopped)
    held = stubs.Held(person, "reset-home-volume")
    stubs.tell_progress(person, "reset-home-volume", {"phase": "removing", "progress": 30})
    confirm.click()
    expect(person.dialog.locator("[aria-current]")).to_have_text("Deleting")
    photographer.take("reset-progress")
    stubs.show_home(person, exists=False)
    held.release(200, photographer.reset | {"backup_id": "b-20261124-7", "backup_until": "2026-12-24T12:00:00Z"})
    expect(person.status).to_contain_text("was deleted")
    expect(person.hint).to_contain_text("no home volume yet")
    photographer.take("reset-done")


def test_pictures_of_an_admins_question_and_of_a_failure(make_person: PersonFactory, pictures: Path | None) -> None:
    """What an admin types, and what a failure says."""
    if pictures is None:
        pytest.skip("HUBWARDEN_PICTURES is not set")
    person = make_person("admin")
    photographer = Photographer(person, pictures)
    stubs.show_state(person, default=photographer.stopped)
    confirm = person.ask_to_reset()
    photographer.take("reset-question-admin")
    stubs.answer(person, "reset-home-volume", REFUSAL, 503)
    person.dialog.get_by_label("Type admin to confirm").fill("admin")
    confirm.click()
    expect(person.alert).to_be_visible()
    photographer.take("failure")


def test_pictures_of_servers_and_homes(make_person: PersonFactory, pictures: Path | None) -> None:
    """Takes the pictures of the admins' page: the list, the question of a reset, restarting many, the history."""
    if pictures is None:
        pytest.skip("HUBWARDEN_PICTURES is not set")
    admin = Admin(make_person)
    admin.open()
    page = admin.page
    held = Held()
    with admin.running_servers(2) as names:
        idle = f"{names[0].partition('-')[0]}-idle"
        assert admin.person.call("POST", f"users/{idle}")["status"] == 201
        assert admin.person.call("DELETE", f"users/{names[1]}/server")["status"] in {202, 204}
        expect(admin.row(names[1]).get_by_role("button", name="Reset home")).to_be_visible(timeout=60_000)
        expect(admin.row(idle)).to_contain_text("none yet")
        take(admin.page, pictures, "admin-list")
        admin.row(names[1]).get_by_role("button", name="Reset home").click()
        take(admin.page, pictures, "admin-reset-question")
        admin.dialog.get_by_label(f"Type {names[1]} to confirm").fill(names[1])
        admin.dialog.get_by_role("button", name="Delete this home volume").click()
        expect(admin.notice).to_contain_text("was deleted", timeout=60_000)
        page.get_by_role("checkbox", name=f"Select default of {names[0]}").check()
        page.route("**/restart-server", held.hold)
        page.get_by_role("button", name="Restart selected (1)").click()
        admin.dialog.get_by_role("button", name="Restart them").click()
        expect(admin.many).to_contain_text("1 left")
        take(admin.page, pictures, "admin-many", admin.many)
        held.let_go()
        expect(admin.many).to_contain_text("1 of 1 restarted", timeout=120_000)
        page.get_by_role("button", name=f"History of {names[1]}").click()
        expect(admin.history).to_have_count(1)
        take(admin.page, pictures, "admin-history")
