"""From confirming the dialog to the server answering in the browser, against Docker and against Stop then Start.

Three ways to a fresh server, interleaved, on the compose stack with a real JupyterLab and a real Chromium: the plugin's
dialog; the floor, `docker restart` until the server itself answers HTTP; and JupyterHub's own buttons Stop and Start.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from browser.conftest import launched_chromium
from browser.person import SERVER_STARTS_MILLISECONDS, Person
from browser.stack import Stack, free_port
from playwright.sync_api import Response, expect

ROUNDS = 6
"""As many restarts as the demo's budget allows one user in ten minutes."""
STOP_TIMEOUT = 10


def is_server(person: Person) -> Callable[[Response], bool]:
    """Whether a response is the user's server's own page."""
    return lambda response: f"/user/{person.name}/lab" in response.url and response.ok


def click(person: Person) -> float:
    """Confirm the dialog; seconds until the server's page is there."""
    person.open_home()
    person.expect_ready()
    confirm = person.ask_to_restart()
    with person.page.expect_response(is_server(person), timeout=SERVER_STARTS_MILLISECONDS):
        begin = time.monotonic()
        confirm.click()
    return settled(person, time.monotonic() - begin)


def stop_and_start(person: Person) -> float:
    """JupyterHub's own Stop, then its own Start; seconds until the server's page is there."""
    person.open_home()
    person.expect_ready()
    start = person.page.locator("#start")
    with person.page.expect_response(is_server(person), timeout=SERVER_STARTS_MILLISECONDS):
        begin = time.monotonic()
        person.page.locator("#stop").click()
        expect(start).to_have_text("Start My Server", timeout=SERVER_STARTS_MILLISECONDS)
        start.click()
    return settled(person, time.monotonic() - begin)


def floor(person: Person) -> float:
    """`docker restart`, and ask the server itself until it answers; in seconds."""
    person.page.goto("about:blank")
    begin = time.monotonic()
    person.stack.docker("restart", "--time", str(STOP_TIMEOUT), person.container)
    networks = person.stack.inspect_container(person.container)["NetworkSettings"]["Networks"]
    (address,) = (network["IPAddress"] for network in networks.values())
    while not answers(f"http://{address}:8888/user/{person.name}/api"):
        time.sleep(0.02)
    return time.monotonic() - begin


def answers(url: str) -> bool:
    """Whether a server answers there."""
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.TransportError:
        return False


def settled(person: Person, seconds: float) -> float:
    """What was measured, once the page has finished loading: it must not slow the next measurement."""
    person.expect_server()
    person.page.goto("about:blank")
    return seconds


def main() -> None:
    """Measure and print."""
    ways = {"docker restart, until it answers": floor, "Restart server": click, "Stop, then Start": stop_and_start}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as directory, launched_chromium() as browser:
        stack = Stack(Path(directory), free_port())
        stack.up()
        person = Person(stack, browser.new_context(), f"bench-{time.time_ns()}")
        person.log_in()
        person.start_server()
        for _round in range(ROUNDS):
            for way, measure in ways.items():
                seconds[way].append(measure(person))
        stack.remove_container(person.container)
        stack.down()
    base = statistics.median(seconds["docker restart, until it answers"])
    for way, measured in seconds.items():
        median = statistics.median(measured)
        spread = f"{min(measured):.2f} to {max(measured):.2f}"
        print(f"{way}: median {median:.2f} s ({spread}), {median / base:.3f} of the floor")
    print(f"medians of {ROUNDS} each, interleaved")


if __name__ == "__main__":
    main()
