"""Named servers: a Restart button in each row that runs, and a home that waits for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser.person import Person
from browser.stack import Stack
from playwright.sync_api import expect


@pytest.fixture
def person_with_named_server(stack: Stack, person: Person) -> Iterator[Person]:
    """A user whose server "lab" runs, and whose default server does not."""
    answer = person.call("POST", f"{person.path}/servers/lab")
    assert answer["status"] in {201, 202}, answer
    person.open_home()
    yield person
    stack.remove_container(f"{person.container}--lab")


def test_a_named_server_is_restarted_from_its_row(stack: Stack, person_with_named_server: Person) -> None:
    """Its own button, its own dialog, its own container; the browser ends at that server."""
    person = person_with_named_server
    button = person.page.get_by_role("button", name="Restart server lab")
    expect(button).to_be_enabled(timeout=120_000)
    before = stack.inspect_container(f"{person.container}--lab")
    button.click()
    expect(person.dialog.get_by_role("definition").last).to_have_text("lab")
    person.dialog.get_by_role("button", name="Restart server").click()
    person.page.wait_for_url(f"**/user/{person.name}/lab/lab**", timeout=120_000)
    after = stack.inspect_container(f"{person.container}--lab")
    assert after["Id"] == before["Id"]
    assert after["State"]["StartedAt"] > before["State"]["StartedAt"]


def test_the_home_waits_for_named_servers_and_says_which(person_with_named_server: Person) -> None:
    """While a named server runs, Reset is disabled and the page names it; once it is stopped, Reset can act."""
    person = person_with_named_server
    expect(person.page.get_by_role("button", name="Restart server lab")).to_be_enabled(timeout=120_000)
    expect(person.hint).to_contain_text("Stop these servers first, because they use your home: lab")
    expect(person.reset_button).to_be_disabled()
    person.page.locator("#stop-lab").click()
    expect(person.reset_button).to_be_enabled(timeout=60_000)
    expect(person.page.get_by_role("button", name="Restart server lab")).to_be_hidden()
