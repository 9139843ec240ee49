"""One user at a browser: logs in, sees the home page, clicks.

Invariants: elements are found as people find them, by role and name; the server's container and volumes are looked
up under the names that DockerSpawner documents, written down here a second time on purpose. Waits for conditions only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from playwright.sync_api import BrowserContext, Locator, Page, Request, expect
from support.browser.stack import Stack
from support.waiting.conditions import wait_for

SERVER_STARTS_MILLISECONDS = 120_000
HOME = "/home/jovyan"
JUPYTERLAB = "lab"
"""What the names of users begin with whose server is the real JupyterLab."""
STATE_WAS_READ = """() => performance.getEntriesByType("resource")
    .some(({ name, responseStatus }) => name.endsWith("/hubwarden-state") && responseStatus > 0)"""
API_CALL = """async ([method, path, sent]) => {
    const { base_url, xsrf_token } = window.jhdata;
    const headers = { "X-XSRFToken": xsrf_token, "Content-Type": "application/json" };
    const options = sent ? { method, headers, body: JSON.stringify(sent) } : { method, headers };
    const response = await fetch(`${base_url}api/${path}`, options);
    const text = await response.text();
    return { status: response.status, body: text ? JSON.parse(text) : null };
}"""


def escaped(username: str) -> str:
    """DockerSpawner's escape."""
    safe = set(b"abcdefghijklmnopqrstuvwxyz0123456789")
    return "".join(chr(byte) if byte in safe else f"-{byte:02x}" for byte in username.encode())


class Person:
    """A user of the Hub, with a browser of their own."""

    def __init__(self, stack: Stack, context: BrowserContext, typed_name: str) -> None:
        self.stack = stack
        self.typed_name = typed_name
        # JupyterHub's authenticators lower names by default; that is the name the Hub knows and shows.
        self.name = typed_name.lower()
        self.page: Page = context.new_page()
        self.operations: list[Request] = []
        self.page.on("request", self._note_operation)
        self._cut: list[Request] = []
        self.page.on("requestfailed", self._note_cut)

    # --- where they are -------------------------------------------------------------------------------------------

    def log_in(self) -> None:
        """Send what the login page's form sends, without opening a page."""
        context, address = self.page.context, f"{self.stack.url}/hub/login?next=%2Fhub%2Fhome"
        context.request.get(address)
        (token,) = (cookie["value"] for cookie in context.cookies() if cookie["name"] == "_xsrf")
        form: dict[str, str | float | bool] = {
            "username": self.typed_name,
            "password": self.stack.password,
            "_xsrf": token,
        }
        answer = context.request.post(address, form=form, max_redirects=0)
        assert answer.status == HTTPStatus.FOUND, answer.text()

    def sign_in(self) -> None:
        """Fill in the form of the login page, which leads to the home page."""
        self.page.get_by_label("Username").fill(self.typed_name)
        self.page.get_by_label("Password", exact=False).first.fill(self.stack.password)
        self._cut.clear()
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/hub/home")
        if self._cut:
            self.open("hub/home")

    def open_home(self) -> None:
        """Go to the home page, and wait until it knows how the servers stand."""
        self.open("hub/home")
        self.page.wait_for_function(STATE_WAS_READ)

    def open(self, path: str) -> None:
        """Go to a page of the Hub."""
        self._load(lambda: self.page.goto(f"{self.stack.url}/{path}"))

    def reload(self) -> None:
        """Load the page again that is shown."""
        self._load(self.page.reload)

    def _load(self, load: Callable[[], object]) -> None:
        """Load a page, again if Chromium lost a part of it.

        It cuts every request whenever this machine gets a network interface, and containers bring interfaces.
        """
        for _attempt in range(5):
            self._cut.clear()
            load()
            if not self._cut:
                break

    def start_server(self) -> None:
        """Start the server, and wait until the page knows that it is ready."""
        started = self.call("POST", f"{self.path}/server")
        assert started["status"] in {201, 202}, started
        self.open_home()
        expect(self.restart_button).to_be_enabled(timeout=SERVER_STARTS_MILLISECONDS)

    def start_server_by_hand(self) -> None:
        """Start the server as JupyterHub offers it, and look at it."""
        self.page.locator("#start").click()
        self.expect_server()

    def stop_server(self) -> None:
        """Stop the server with JupyterHub's own button; the page stays."""
        self.page.get_by_role("button", name="Stop My Server").click()
        expect(self.restart_button).to_be_hidden(timeout=SERVER_STARTS_MILLISECONDS)
        expect(self.reset_button).to_be_visible()

    def expect_server(self) -> None:
        """The browser arrives at this user's working server: JupyterLab, or the stub that says whose it is."""
        self.page.wait_for_url(self._is_own_server, timeout=SERVER_STARTS_MILLISECONDS)
        if self.name.startswith(JUPYTERLAB):
            expect(self.page.locator("#jp-main-dock-panel")).to_be_visible(timeout=SERVER_STARTS_MILLISECONDS)
        else:
            expect(self.page.locator("body")).to_contain_text(f'"user": "{self.name}"')

    def expect_ready(self) -> None:
        """The home page offers to restart."""
        expect(self.restart_button).to_be_enabled()

    # --- what they see --------------------------------------------------------------------------------------------

    @property
    def restart_button(self) -> Locator:
        """The page's Restart button."""
        return self.page.get_by_role("button", name="Restart server")

    @property
    def reset_button(self) -> Locator:
        """The page's Reset button."""
        return self.page.get_by_role("button", name="Reset home volume")

    @property
    def dialog(self) -> Locator:
        """The dialog that is open."""
        return self.page.get_by_role("dialog")

    @property
    def alert(self) -> Locator:
        """The message of a failure."""
        return self.page.get_by_role("alert")

    @property
    def status(self) -> Locator:
        """The line that tells how an operation stands or ended."""
        return self.page.locator("#hubwarden-notice")

    @property
    def hint(self) -> Locator:
        """Why a button cannot act."""
        return self.page.locator("#hubwarden-hint")

    # --- what they do ---------------------------------------------------------------------------------------------

    def ask_to_restart(self) -> Locator:
        """Open the restart dialog. Returns its confirming button."""
        self.restart_button.click()
        return self.dialog.get_by_role("button", name="Restart server")

    def ask_to_reset(self) -> Locator:
        """Open the reset dialog. Returns its confirming button."""
        self.reset_button.click()
        return self.dialog.get_by_role("button", name="Delete my home volume")

    def try_again(self) -> None:
        """Ask for the dialog again, from the message of a failure."""
        self.page.get_by_role("button", name="Try again").click()

    def wait_for_agent(self) -> None:
        """Until the Hub and its agent have found each other again."""
        wait_for(
            lambda: self.call("GET", f"{self.path}/home-volume")["status"] != HTTPStatus.SERVICE_UNAVAILABLE,
            "the Hub reaches the agent",
            SERVER_STARTS_MILLISECONDS / 1000,
        )

    def call(self, method: str, path: str, sent: dict[str, Any] | None = None) -> dict[str, Any]:
        """A request to the Hub's API from this page, with this user's cookies. Returns status and body."""
        return dict(self.page.evaluate(API_CALL, [method, path, sent]))

    @contextmanager
    def another_tab(self, path: str = "hub/home") -> Iterator[Person]:
        """The same person in a second tab, at another of the Hub's pages."""
        other = Person(self.stack, self.page.context, self.typed_name)
        other.open(path)
        yield other
        other.page.close()

    def _note_operation(self, request: Request) -> None:
        if re.search(r"/(restart-server|reset-home-volume|forget-server)$", request.url):
            self.operations.append(request)

    def _note_cut(self, request: Request) -> None:
        if request.failure == "net::ERR_NETWORK_CHANGED":
            self._cut.append(request)

    # --- what is on the engine ------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The user's place in the REST API."""
        return f"users/{quote(self.name, safe='')}"

    @property
    def container(self) -> str:
        """The name of the default server's container."""
        return f"jupyterlab-{escaped(self.name)}"

    def volume(self, kind: str) -> str:
        """The name of the home, workspace or cache volume."""
        return f"jupyterlab-{escaped(self.name)}_{kind}"

    def identity(self) -> tuple[str, str]:
        """Which container runs, and since when."""
        container = self.stack.inspect_container(self.container)
        return container["Id"], container["State"]["StartedAt"]

    def write(self, file: str) -> None:
        """Leave a file, as code in the server would."""
        self.stack.docker("exec", self.container, "sh", "-c", 'echo precious >"$1"', "sh", file)

    def files(self, folder: str) -> set[str]:
        """What is in a folder of the running server."""
        return set(self.stack.docker("exec", self.container, "ls", "-A", folder).splitlines())

    def _is_own_server(self, url: str) -> bool:
        return unquote(url).startswith(f"{self.stack.url}/user/{self.name}/")


PersonFactory = Callable[..., Person]
