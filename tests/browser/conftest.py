"""One stack and one browser for the whole run; a fresh user, with a browser session of their own, for every test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from support.browser.chromium import launched_chromium
from support.browser.person import HOME, Person, PersonFactory
from support.browser.stack import Stack
from support.waiting.ports import free_port

# A machine that builds images or runs other tests beside these can be slow; what is waited for comes or does not.
expect.set_options(timeout=30_000)

FILES = {"home": f"{HOME}/mine.txt", "workspace": "/workspace/project.txt", "cache": "/cache/download.txt"}


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


@pytest.fixture
def make_person(stack: Stack, browser: Browser) -> Iterator[PersonFactory]:
    """Makes users who are logged in and look at their home page."""
    people: list[Person] = []

    def make(typed_name: str | None = None) -> Person:
        person = Person(stack, browser.new_context(), typed_name or f"user-{uuid.uuid4().hex[:8]}")
        people.append(person)
        person.log_in()
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
def person_with_home(person_with_server: Person) -> Person:
    """A user with a file in each volume, whose server is stopped."""
    for file in FILES.values():
        person_with_server.write(file)
    person_with_server.stop_server()
    return person_with_server


@pytest.fixture(scope="session")
def pictures() -> Path | None:
    """Where pictures for the documentation go, if they are asked for: HUBWARDEN_PICTURES=docs/images."""
    folder = os.environ.get("HUBWARDEN_PICTURES")
    return Path(folder).resolve() if folder else None
