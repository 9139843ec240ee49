"""Pictures for the documentation: both dialogs and both results. Only when HUBWARDEN_PICTURES names a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser.conftest import PersonFactory
from playwright.sync_api import ViewportSize, expect

SIZE: ViewportSize = {"width": 960, "height": 540}


def test_pictures_of_both_flows(make_person: PersonFactory, pictures: Path | None) -> None:
    """Takes the four pictures that docs/ shows."""
    if pictures is None:
        pytest.skip("HUBWARDEN_PICTURES is not set")
    pictures.mkdir(parents=True, exist_ok=True)
    person = make_person("alice")
    person.page.set_viewport_size(SIZE)
    person.start_server()

    confirm = person.ask_to_restart()
    person.page.screenshot(path=pictures / "restart-dialog.png")
    confirm.click()
    person.expect_server()
    expect(person.page.locator(".jp-Launcher-body")).to_be_visible()
    expect(person.page.locator(".jp-DirListing-item").first).to_be_visible()
    person.page.screenshot(path=pictures / "restart-result.png", animations="disabled")

    person.open_home()
    person.expect_ready()
    person.stop_server()
    confirm = person.ask_to_reset()
    person.page.screenshot(path=pictures / "reset-dialog.png")
    confirm.click()
    expect(person.status).to_contain_text("was deleted", timeout=60_000)
    expect(person.reset_button).to_be_disabled()
    person.page.screenshot(path=pictures / "reset-result.png")
