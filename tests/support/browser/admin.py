"""An admin at the page "Servers and homes", and the users whom they look after.

Invariants: elements are found as people find them; users are made and looked up through JupyterHub's own API and
the docker client. Waits for conditions only.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from playwright.sync_api import Locator, Route, expect
from support.browser.person import SERVER_STARTS_MILLISECONDS, PersonFactory, escaped

OURS = ["#hubwarden-others"]


class Admin:
    """The demo's admin, looking at the page."""

    def __init__(self, make_person: PersonFactory) -> None:
        self.person = make_person("admin")
        self.page = self.person.page
        self.stack = self.person.stack

    def open(self) -> None:
        """Go to the page where its link leads."""
        address = self.page.get_by_role("link", name="Servers and homes").get_attribute("href")
        assert address == "/hub/servers-and-homes"
        self.person.open("hub/servers-and-homes")
        expect(self.count).to_contain_text("Users 1 to")

    def search(self, text: str, *, found: int) -> None:
        """Search, and wait until as many rows are there."""
        self.page.get_by_label("Search for a user").fill(text)
        expect(self.rows).to_have_count(found)

    def find(self, username: str) -> Locator:
        """A user's row, found by searching for the whole name."""
        self.search(username, found=1)
        return self.row(username)

    @property
    def count(self) -> Locator:
        """How many users are listed, in words."""
        return self.page.locator("#hubwarden-count")

    @property
    def rows(self) -> Locator:
        """The rows of users."""
        return self.page.locator("#hubwarden-rows").get_by_role("row")

    def row(self, username: str) -> Locator:
        """One user's row."""
        return self.rows.filter(has=self.page.get_by_role("rowheader", name=username, exact=True))

    @property
    def dialog(self) -> Locator:
        """The dialog that is open."""
        return self.page.get_by_role("dialog")

    @property
    def notice(self) -> Locator:
        """Where the end of an operation is told."""
        return self.page.locator("#hubwarden-notice")

    @property
    def many(self) -> Locator:
        """The panel of restarting many."""
        return self.page.get_by_role("region", name="Restarting servers")

    @property
    def history(self) -> Locator:
        """The history's table."""
        return self.page.locator("#hubwarden-history-rows").get_by_role("row")

    def make_users(self, count: int) -> list[str]:
        """Users who never logged in, with a prefix of their own."""
        prefix = f"class{uuid.uuid4().hex[:6]}"
        names = [f"{prefix}-{number:02}" for number in range(count)]
        made = self.page.evaluate(
            """async (usernames) => {
                const { base_url, xsrf_token } = window.jhdata;
                const headers = { "X-XSRFToken": xsrf_token, "Content-Type": "application/json" };
                const body = JSON.stringify({ usernames });
                return (await fetch(`${base_url}api/users`, { method: "POST", headers, body })).status;
            }""",
            names,
        )
        assert made == 201, made
        return names

    @contextmanager
    def running_servers(self, count: int) -> Iterator[list[str]]:
        """Users with a running server each, for as long as the test needs them."""
        names = self.make_users(count)
        for name in names:
            started = self.person.call("POST", f"users/{quote(name)}/server")
            assert started["status"] in {201, 202}, started
        self.search(names[0].partition("-")[0], found=count)
        for name in names:
            expect(self.row(name)).to_contain_text("running", timeout=SERVER_STARTS_MILLISECONDS)
        yield names
        for name in names:
            self.stack.remove_container(self.container(name))

    def container(self, username: str) -> str:
        """The name of a user's container."""
        return f"jupyterlab-{escaped(username)}"

    def started_at(self, username: str) -> str:
        """Since when a user's container runs."""
        return str(self.stack.inspect_container(self.container(username))["State"]["StartedAt"])


class Held:
    """Requests that do not reach the Hub before they are let go."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def hold(self, route: Route) -> None:
        """Keep one."""
        self.routes.append(route)

    def let_go(self) -> None:
        """Let all of them reach the Hub."""
        while self.routes:
            self.routes.pop().continue_()
