"""From what happens to a server elsewhere to the moment when its user's open home page shows it, in a real Chromium.

Run it with `.venv/bin/python bench/page_follows.py`, or as part of `make bench`. Six events, interleaved, each at a
random moment of the page's beat; the page says itself when its buttons changed. The Hub's own poll is off: what shows
was noticed because a page asked. The servers are tiny: what is measured is the page and the Hub, not JupyterLab.
"""

from __future__ import annotations

import datetime as dt
import random
import re
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from deployment import Deployment, Person, deployment
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as NotInTime
from support.browser.chromium import launched_chromium

ROUNDS = 12
BEAT = 1.5
READY = "#hubwarden-restart:not(.hidden):enabled"
STOPPED = "#hubwarden-reset:not(.hidden):enabled"
# The page notes for itself when the button that it showed is gone.
NOTE_GONE = """shown => {
    window.shown = new Promise((resolve) => {
        const look = () => document.querySelector(shown) === null && resolve(Date.now());
        new MutationObserver(look).observe(document.body, { attributes: true, subtree: true, childList: true });
    });
}"""
STOP = "() => { document.getElementById('stop').click(); return Date.now() / 1000; }"


@dataclass
class Watcher:
    """Somebody who looks at their home page."""

    person: Person
    page: Page

    @property
    def home(self) -> str:
        """The address of the page."""
        return f"{self.person.hub.address}hub/home"

    def log_in(self) -> None:
        """Log in, and look."""
        self.page.goto(f"{self.person.hub.address}hub/login?next=%2Fhub%2Fhome")
        self.page.get_by_label("Username").fill(self.person.name)
        self.page.get_by_label("Password", exact=False).first.fill("secret")
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/hub/home")

    def seconds_until_shown(self, button: str, event: Callable[[], float]) -> float:
        """From the event, which tells its moment, until the button that its end takes away is gone."""
        expect(self.page.locator(button)).to_be_visible(timeout=60_000)
        self.page.evaluate(NOTE_GONE, button)
        time.sleep(random.uniform(0, BEAT))  # noqa: S311 - not for secrets; the moment within the beat
        happened = event()
        shown = float(self.page.evaluate("() => window.shown")) / 1000
        return shown - happened

    def finished(self) -> float:
        """When Docker says that the container ended, in seconds since the epoch, on this machine's clock."""
        text = re.sub(r"\.(\d{6})\d*Z", r".\1+00:00", self.person.container().attrs["State"]["FinishedAt"])
        return dt.datetime.fromisoformat(text).timestamp()

    # --- what happens: each returns when ---------------------------------------------------------------------------

    def killed(self) -> float:
        """A crash."""
        self.person.container().kill()
        return self.finished()

    def stopped_on_the_engine(self) -> float:
        """What an operator does."""
        self.person.container().stop()
        return self.finished()

    def started(self) -> float:
        """Start, from elsewhere."""
        return self._asked("POST", "server")

    def restarted(self) -> float:
        """An admin's restart."""
        return self._asked("POST", "restart-server")

    def _asked(self, method: str, what: str) -> float:
        began = time.time()
        self.person.operator.request(method, f"{self.person.path}/{what}").raise_for_status()
        return began

    def another_tab(self) -> Page:
        """A second tab, up to date."""
        time.sleep(random.uniform(0, BEAT))  # noqa: S311 - as below: which of the two asks first
        tab = self.page.context.new_page()
        for _attempt in range(5):  # Chromium loses parts of a page when the machine gets a network interface
            tab.goto(self.home)
            with suppress(NotInTime):
                tab.locator(READY).wait_for(timeout=5_000)
                return tab
        raise RuntimeError(f"{self.home} does not come up")


def one_round(quick: Watcher, slow: Watcher, seconds: dict[str, list[float]]) -> None:
    """Each event once; the server is started again, which is an event too, after each end."""

    def note(what: str, watcher: Watcher, button: str, event: Callable[[], float]) -> None:
        seconds.setdefault(what, []).append(watcher.seconds_until_shown(button, event))

    note("docker kill", quick, READY, quick.killed)
    note("start elsewhere", quick, STOPPED, quick.started)
    note("docker stop", quick, READY, quick.stopped_on_the_engine)
    note("start elsewhere", quick, STOPPED, quick.started)
    expect(quick.page.locator(READY)).to_be_visible(timeout=60_000)
    tab = quick.another_tab()
    note("docker kill, in a second tab", Watcher(quick.person, tab), READY, quick.killed)
    tab.close()
    note("start elsewhere", quick, STOPPED, quick.started)
    expect(quick.page.locator(READY)).to_be_visible(timeout=60_000)
    tab = quick.another_tab()
    note("Stop in another tab", quick, READY, lambda: float(tab.evaluate(STOP)))
    tab.close()
    note("start elsewhere", quick, STOPPED, quick.started)
    note("an admin's restart", slow, READY, slow.restarted)


def measure(stack: Deployment) -> dict[str, list[float]]:
    """What was seen, by event, in seconds."""
    seconds: dict[str, list[float]] = {}
    with launched_chromium() as browser:
        # The second one's server takes some seconds to come back, as JupyterLab does.
        watchers = [Watcher(stack.person(name), browser.new_context().new_page()) for name in ("bench", "slowbench")]
        for watcher in watchers:
            watcher.log_in()
        for _round in range(ROUNDS):
            one_round(watchers[0], watchers[1], seconds)
    return seconds


def main() -> None:
    """Measure and print."""
    with deployment() as stack:
        seconds = measure(stack)
    for what, measured in seconds.items():
        median, most = statistics.median(measured), max(measured)
        print(f"{what}: median {median:.2f} s, at most {most:.2f} s, {len(measured)} times")
    print("interleaved; from the event to the change on the page")


if __name__ == "__main__":
    main()
