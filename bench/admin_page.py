"""The page "Servers and homes" with 5,000 users, beside the same with 500.

Two Hubs on one agent, measured in turns: a real Chromium opens the page until the first rows can be acted on, searches,
and goes to the last page; and one request for the list is timed by itself. Users and history are written into the
databases directly; nobody's server runs, so what is measured is the list and not Docker.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from deployment import base_image, start, workbench
from hubwarden_hub import history_schema
from jupyterhub import orm
from playwright.sync_api import Page, Request, expect
from playwright.sync_api import TimeoutError as NotInTime
from support.browser.chromium import launched_chromium
from support.jupyterhub.stack import Agent, Hub, running

SIZES = (500, 5_000)
ENTRIES = 20_000
ROUNDS = 9
ROWS = 50
ASKS: dict[str, dict[str, Any]] = {
    "first page": {},
    "last page": {"sort": "-name", "offset": 450},
    "search": {"search": "77"},
    "running first": {"sort": "running"},
}


@dataclass
class Measured:
    """What was seen on one Hub, each a list of one value a round, in seconds unless it says otherwise."""

    usable: list[float] = field(default_factory=list)
    searched: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)
    homes: list[float] = field(default_factory=list)
    asked: dict[str, list[float]] = field(default_factory=lambda: {what: [] for what in ASKS})


def fill(hub: Hub, users: int) -> None:
    """Write users, each with a stopped server, and a history."""
    chance = random.Random(users)  # noqa: S311 - not for secrets
    now = datetime.now(UTC).replace(tzinfo=None)
    names = [f"student{number:05}" for number in range(users)]
    with orm.new_session_factory(f"sqlite:///{hub.directory}/jupyterhub.sqlite")() as db:
        role = orm.Role.find(db, "user")
        for name in names:
            active = now - timedelta(minutes=chance.randrange(100_000))
            user = orm.User(name=name, last_activity=active, roles=[role])
            user._orm_spawners.append(orm.Spawner(name="", last_activity=active))  # noqa: SLF001 - as JupyterHub does
            db.add(user)
        db.commit()
    engine = history_schema.opened(f"sqlite:///{hub.directory}/hubwarden_history.sqlite")
    entry = {"server_name": "", "actor": "user:root-admin", "request_id": "", "seconds": 1.0, "result": "done"}
    kinds = ("restart", "reset")
    rows = [
        entry | {"kind": chance.choice(kinds), "username": chance.choice(names), "began_at": time.time()}
        for _entry in range(ENTRIES)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(history_schema.OPERATIONS), rows)
    engine.dispose()


def logged_in(hub: Hub, page: Page) -> Page:
    """An admin's page."""
    page.goto(f"{hub.address}hub/login?next=%2Fhub%2Fhome")
    page.get_by_label("Username").fill("root-admin")
    page.get_by_label("Password", exact=False).first.fill("secret")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/hub/home")
    return page


def look(hub: Hub, page: Page, measured: Measured) -> None:
    """Open the page until it is usable, and search."""
    requests: list[Request] = []

    def note(request: Request) -> None:
        requests.append(request)

    page.on("request", note)
    rows = page.locator("#hubwarden-rows tr")
    measured.usable.append(opened(f"{hub.address}hub/servers-and-homes", page, requests))
    page.wait_for_load_state("networkidle")
    measured.requests.append(len(requests))
    measured.homes.append(sum(request.url.endswith("/home-volume") for request in requests))
    begin = time.perf_counter()
    page.get_by_label("Search for a user").fill("student00123")
    expect(rows).to_have_count(1)
    measured.searched.append(time.perf_counter() - begin)
    page.remove_listener("request", note)
    page.goto("about:blank")


def opened(address: str, page: Page, requests: list[Request]) -> float:
    """Seconds until all rows are there; again if Chromium lost a part, as when the machine gets a network interface."""
    for _attempt in range(5):
        requests.clear()
        begin = time.perf_counter()
        page.goto(address, wait_until="commit")
        with suppress(NotInTime):
            page.locator("#hubwarden-rows tr").nth(ROWS - 1).wait_for(state="attached")
            return time.perf_counter() - begin
    raise RuntimeError(f"{address} does not come up")


def ask(client: httpx.Client, measured: Measured, users: int) -> None:
    """Time the list's requests one by one."""
    for what, query in ASKS.items():
        begin = time.perf_counter()
        answer = client.get("hubwarden/users", params=query | ({"offset": users - ROWS} if "offset" in query else {}))
        measured.asked[what].append(time.perf_counter() - begin)
        answer.raise_for_status()


@contextmanager
def hubs() -> Iterator[dict[int, Hub]]:
    """A Hub for each size, on one agent."""
    engine = start()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        image = base_image("busybox", engine)
        stack.enter_context(workbench(engine, image))
        for name in ("agent", *map(str, SIZES)):
            (directory / name).mkdir()
        agent = stack.enter_context(running(Agent(directory / "agent", engine, image)))
        made = {size: Hub(directory / str(size), agent.socket, agent.gateway, image) for size in SIZES}
        for size, hub in made.items():
            stack.enter_context(running(hub))
            fill(hub, size)
        yield made


def main() -> None:
    """Measure and print."""
    measured = {size: Measured() for size in SIZES}
    with hubs() as made, launched_chromium() as browser:
        pages = {size: logged_in(hub, browser.new_context().new_page()) for size, hub in made.items()}
        clients = {size: hub.client() for size, hub in made.items()}
        for _round in range(ROUNDS):
            for size, hub in made.items():
                look(hub, pages[size], measured[size])
                ask(clients[size], measured[size], size)
    few, many = (measured[size] for size in SIZES)
    report("until the first 50 rows can be used", few.usable, many.usable)
    report("from a search's last letter to its row (250 ms of it wait for more letters)", few.searched, many.searched)
    for what in ASKS:
        report(f"one request for the list, {what}", few.asked[what], many.asked[what])
    for size, one in measured.items():
        requests, homes = statistics.median(one.requests), statistics.median(one.homes)
        print(f"{size} users: {requests:.0f} requests until nothing is asked any more, {homes:.0f} of them about homes")
    print(f"medians of {ROUNDS} each, interleaved; {ENTRIES} entries in the history")


def report(what: str, few: list[float], many: list[float]) -> None:
    """One line."""
    small, large = statistics.median(few) * 1000, statistics.median(many) * 1000
    print(f"{what}: {small:.0f} ms with {SIZES[0]} users, {large:.0f} ms with {SIZES[1]}, ratio {large / small:.2f}")


if __name__ == "__main__":
    main()
