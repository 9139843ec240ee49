"""One stack and one browser for the whole run; a fresh user, with a browser session of their own, for every test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, StorageState, expect
from support.browser.chromium import launched_chromium
from support.browser.person import Person, PersonFactory
from support.browser.stack import Stack
from support.waiting.ports import free_port

# A machine that builds images or runs other tests beside these can be slow; what is waited for comes or does not.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Agent and Hub as compose.yml ships them. HUBWARDEN_KEEP_STACK=1 leaves them up for the next run."""
    stack = Stack(tmp_path_factory.mktemp("stack"), free_port())
    stack.up()
    yield stack
    if not os.environ.get("HUBWARDEN_KEEP_STACK"):
        stack.down()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium: Debian's."""
    with launched_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def logins() -> dict[tuple[str, str], StorageState]:
    """The saved logins of people who come more than once, by the Hub's address and their name."""
    return {}


@pytest.fixture
def make_person(stack: Stack, browser: Browser, logins: dict[tuple[str, str], StorageState]) -> Iterator[PersonFactory]:
    """Makes users who are logged in and look at their home page. A name that ends with a dash gets its own suffix."""
    people: list[Person] = []

    def make(typed_name: str = "user-") -> Person:
        typed_name += uuid.uuid4().hex[:8] if typed_name.endswith("-") else ""
        key = (stack.url, typed_name)
        person = Person(stack, browser.new_context(storage_state=logins.get(key)), typed_name)
        people.append(person)
        if key not in logins:
            person.log_in()
            logins[key] = person.page.context.storage_state()
        person.open_home()
        return person

    yield make
    for person in people:
        person.page.context.close()
        stack.remove_container(person.container)


@pytest.fixture
def person(make_person: PersonFactory) -> Person:
    """A user who has never started a server."""
    return make_person()


@pytest.fixture
def person_with_server(person: Person) -> Person:
    """A user whose server runs, at the home page."""
    person.start_server()
    return person


@pytest.fixture
def person_with_slow_server(make_person: PersonFactory) -> Person:
    """A user whose server runs, and takes some seconds to answer again after a restart."""
    person = make_person("slow-")
    person.start_server()
    return person


@pytest.fixture
def person_with_home(person: Person) -> Person:
    """A user who has a home, and no server."""
    person.stack.make_volume(person.volume("home"))
    person.open_home()
    return person


@pytest.fixture(scope="session")
def pictures() -> Path | None:
    """Where pictures for the documentation go, if they are asked for: HUBWARDEN_PICTURES=docs/images."""
    folder = os.environ.get("HUBWARDEN_PICTURES")
    return Path(folder).resolve() if folder else None
