"""Pictures for the documentation: each phase, in both themes, on a desktop and on a phone.

Only when HUBWARDEN_PICTURES names a folder.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from browser.admin import Admin, Held
from browser.conftest import PersonFactory
from browser.person import Person
from playwright.sync_api import Locator, ViewportSize, expect

SIZES = {"desktop": ViewportSize(width=960, height=540), "phone": ViewportSize(width=320, height=640)}
THEMES = ("light", "dark")


def take(person: Person, folder: Path, phase: str, shown: Locator | None = None) -> None:
    """One phase, in all four ways, with what is to be shown in sight."""
    page = person.page
    for size, viewport in SIZES.items():
        page.set_viewport_size(viewport)
        if shown is not None:
            shown.evaluate("element => element.scrollIntoView()")
        for theme in THEMES:
            page.evaluate("theme => document.documentElement.setAttribute('data-bs-theme', theme)", theme)
            page.screenshot(path=folder / f"{phase}-{size}-{theme}.png", animations="disabled")


def test_pictures_of_every_phase(make_person: PersonFactory, pictures: Path | None) -> None:
    """Takes the pictures that docs/ shows."""
    if pictures is None:
        pytest.skip("HUBWARDEN_PICTURES is not set")
    pictures.mkdir(parents=True, exist_ok=True)
    person = make_person("alice")
    person.start_server()
    take(person, pictures, "restart-button")
    confirm = person.ask_to_restart()
    take(person, pictures, "restart-question")
    confirm.click()
    # JupyterLab needs seconds to boot: long enough for four pictures of the phase in which it is waited for.
    expect(person.dialog).to_contain_text("Waiting for it to answer", timeout=60_000)
    take(person, pictures, "restart-progress")
    person.expect_server()
    person.open_home()
    person.expect_ready()
    person.stop_server()
    expect(person.reset_button).to_be_enabled()
    take(person, pictures, "reset-button")
    confirm = person.ask_to_reset()
    take(person, pictures, "reset-question")
    confirm.click()
    expect(person.status).to_contain_text("was deleted", timeout=60_000)
    expect(person.reset_button).to_be_disabled()
    take(person, pictures, "reset-done")


def test_pictures_of_the_rest(make_person: PersonFactory, pictures: Path | None) -> None:
    """Takes the pictures of a failure, of a reset under way, and of the question to an admin."""
    if pictures is None:
        pytest.skip("HUBWARDEN_PICTURES is not set")
    person = make_person("admin")
    person.start_server()
    person.stop_server()
    expect(person.reset_button).to_be_enabled()
    person.ask_to_reset()
    take(person, pictures, "reset-question-admin")
    confirm = person.dialog.get_by_role("button", name="Delete my home volume")
    sentence = "The service that does this is not available. Try again in a minute. Nothing was changed."
    refusal = {"status": 503, "message": sentence, "reason": "AGENT_UNREACHABLE"}
    person.page.route("**/reset-home-volume", lambda route: route.fulfill(status=503, json=refusal), times=1)
    person.dialog.get_by_label("Type admin to confirm").fill("admin")
    confirm.click()
    expect(person.alert).to_be_visible()
    take(person, pictures, "failure")
    person.page.route("**/reset-home-volume", lambda _route: None)
    person.try_again()
    person.dialog.get_by_label("Type admin to confirm").fill("admin")
    confirm.click()
    expect(person.dialog).to_contain_text("Resetting your home volume")
    take(person, pictures, "reset-progress")


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
        expect(admin.row(names[1]).get_by_role("button", name="Reset the home")).to_be_visible(timeout=60_000)
        expect(admin.row(idle)).to_contain_text("none yet")
        take(admin.person, pictures, "admin-list")
        admin.row(names[1]).get_by_role("button", name="Reset the home").click()
        take(admin.person, pictures, "admin-reset-question")
        admin.dialog.get_by_label(f"Type {names[1]} to confirm").fill(names[1])
        admin.dialog.get_by_role("button", name="Delete this home volume").click()
        expect(admin.notice).to_contain_text("was deleted", timeout=60_000)
        page.get_by_role("checkbox", name=f"Select default of {names[0]}").check()
        page.route("**/restart-server", held.hold)
        page.get_by_role("button", name="Restart selected (1)").click()
        admin.dialog.get_by_role("button", name="Restart them").click()
        expect(admin.many).to_contain_text("1 left")
        take(admin.person, pictures, "admin-many", admin.many)
        held.let_go()
        expect(admin.many).to_contain_text("1 of 1 restarted", timeout=120_000)
        page.get_by_role("button", name=f"History of {names[1]}").click()
        expect(admin.history).to_have_count(1)
        take(admin.person, pictures, "admin-history")
