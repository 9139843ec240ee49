"""From confirming the dialog to the server answering in the browser, against Docker and against Stop then Start.

Three ways to a fresh server, interleaved, on the compose stack with a real JupyterLab and a real Chromium: the plugin's
dialog; the floor, a restart by the engine's own API until the server itself answers HTTP; and JupyterHub's own buttons
Stop and Start. In the browser two moments are told: the server's first answer, and its page, which comes after the
login that JupyterHub makes every new server ask for.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import docker  # noqa: TID251 - the floor is the engine itself
import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from playwright.sync_api import Response, expect
from support.browser.chromium import launched_chromium
from support.browser.person import JUPYTERLAB, SERVER_STARTS_MILLISECONDS, Person
from support.browser.stack import Stack
from support.waiting.ports import free_port

ROUNDS = 6
"""As many restarts as the demo's budget allows one user in ten minutes."""
STOP_TIMEOUT = 10
FLOOR = "Docker's restart, until it answers"
# The moment of the click is the page's to tell: a driver is slow to click. What is left there outlives the page.
NOTE_CLICK = """() => addEventListener("click", () => sessionStorage.setItem("clicked", Date.now()),
    { capture: true, once: true })"""


@dataclass(frozen=True)
class Arrivals:
    """Seconds from the click to what the browser gets."""

    answer: float
    page: float


def watched(person: Person, act: Callable[[], None]) -> Arrivals:
    """When the server's first answer and its page reach the browser, after the first click in `act`."""
    person.page.evaluate(NOTE_CLICK)
    answers: list[float] = []

    def note(response: Response) -> None:
        # JupyterHub has a server below this path too, which sends people away from a server that is not there.
        if f"/user/{person.name}/" in response.url and not response.headers.get("location", "").startswith(
            "/hub/user/"
        ):
            answers.append(time.time())

    def is_page(response: Response) -> bool:
        return f"/user/{person.name}/lab" in response.url and response.ok

    person.page.on("response", note)
    with person.page.expect_response(is_page, timeout=SERVER_STARTS_MILLISECONDS):
        act()
    page = time.time()
    person.page.remove_listener("response", note)
    person.expect_server()
    clicked = int(person.page.evaluate("() => sessionStorage.getItem('clicked')")) / 1000
    person.page.goto("about:blank")  # a page that still loads must not slow the next measurement
    return Arrivals(answers[0] - clicked, page - clicked)


def restart(person: Person) -> Arrivals:
    """Confirm the dialog."""
    person.open_home()
    person.expect_ready()
    return watched(person, person.ask_to_restart().click)


def stop_and_start(person: Person) -> Arrivals:
    """JupyterHub's own Stop, then its own Start."""
    person.open_home()
    person.expect_ready()
    start = person.page.locator("#start")

    def act() -> None:
        person.page.locator("#stop").click()
        expect(start).to_have_text("Start My Server", timeout=SERVER_STARTS_MILLISECONDS)
        start.click()

    return watched(person, act)


def floor(person: Person, engine: docker.DockerClient) -> float:
    """The engine's restart, and ask the server itself until it answers; in seconds."""
    container = engine.containers.get(person.container)
    begin = time.time()
    container.restart(timeout=STOP_TIMEOUT)
    container.reload()
    (address,) = (network["IPAddress"] for network in container.attrs["NetworkSettings"]["Networks"].values())
    with httpx.Client(base_url=f"http://{address}:8888/user/{person.name}/", timeout=1) as server:
        while not answers(server):
            time.sleep(0.01)
    return time.time() - begin


def answers(server: httpx.Client) -> bool:
    """Whether a server answers."""
    try:
        return server.get("api").is_success
    except httpx.TransportError:
        return False


def told(way: str, seconds: list[float], base: float) -> None:
    """One line of the result."""
    median = statistics.median(seconds)
    print(f"{way}: median {median:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), {median / base:.3f} of the floor")


def main() -> None:
    """Measure and print."""
    floors: list[float] = []
    ways = {"Restart server": restart, "Stop, then Start": stop_and_start}
    arrivals: dict[str, list[Arrivals]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as directory, launched_chromium() as browser:
        stack = Stack(Path(directory), free_port())
        stack.up()
        engine = docker.DockerClient(
            base_url=stack.docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
        )
        person = Person(stack, browser.new_context(), f"{JUPYTERLAB}-bench-{time.time_ns()}")
        person.log_in()
        person.open_home()
        person.start_server()
        for _round in range(ROUNDS):
            floors.append(floor(person, engine))
            for way, measure in ways.items():
                arrivals[way].append(measure(person))
        stack.remove_container(person.container)
        stack.down()
    base = statistics.median(floors)
    told(FLOOR, floors, base)
    for way, measured in arrivals.items():
        told(f"{way}, first answer", [arrival.answer for arrival in measured], base)
        told(f"{way}, page", [arrival.page for arrival in measured], base)
    print(f"medians of {ROUNDS} each, interleaved")


if __name__ == "__main__":
    main()
