"""What open home pages cost the Hub: requests, looks at Docker, and how long a start takes meanwhile.

Run it with `.venv/bin/python bench/open_tabs.py`, or as part of `make bench`. Each tab is one user's visible home page
with a server that runs, and asks for the state 1.5 s after the last answer, or when the Hub says. A real Hub with stock
DockerSpawner; the engine and the users' servers are a stub that answers as Docker does, because 1,000 containers do not
fit on one machine, and the servers are put into the Hub's database instead of being spawned. All tabs use one token.
Three runs, one after the other: no tabs; tabs as they were (an own look at Docker for every poll, polls as activity, a
fixed beat); tabs as they are. The tabs open during 40 s; what follows is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from deployment import wait_for
from matplotlib import pyplot as plt
from stub_docker import Server, StubDocker, put_into_database, stub_docker
from support.jupyterhub.stack import TOKEN, Hub

BEAT = 1.5
OPENING = 40.0
PAUSE = 0.2
PATIENCE = 600
IMAGE = "stub/server:1"
AS_IT_WAS = """
import asyncio
from hubwarden_hub import state_api
from hubwarden_hub.looks import Looks
async def look(self, spawner):
    if spawner.ready:
        await asyncio.wait({asyncio.create_task(spawner.poll_and_notify())}, timeout=0.5)
Looks.look = look
Looks.seconds_to_next = lambda self: None
state_api.StateHandler.is_activity = True
"""
CONFIGURATION = [
    "c.JupyterHub.activity_resolution = 30",
    "c.Spawner.poll_interval = 3600",
    "c.JupyterHub.log_level = 'ERROR'",
    f"c.Spawner.start_timeout = c.Spawner.http_timeout = {PATIENCE}",
    "c.JupyterHub.concurrent_spawn_limit = 0",
    "c.DockerSpawner.use_internal_ip = False",
]


@dataclass
class Run:
    """What one run showed.

    Attributes:
        answers: seconds of each answer to a tab.
        hub: seconds of each `GET /hub/api/` meanwhile.
        starts: seconds of each start of a server meanwhile.
        inspects: looks at Docker a second.
        requests: answers to tabs a second.
    """

    name: str
    inspects: float = 0.0
    requests: float = 0.0
    answers: list[float] = field(default_factory=list)
    hub: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.name:>24}: {self.requests:6.1f} answers/s {self.inspects:6.1f} inspects/s"]
        for what, values in (("state", self.answers), ("hub", self.hub), ("start", self.starts)):
            if values:
                most = sorted(values)[int(len(values) * 0.99)]
                parts.append(f"{what} p50 {statistics.median(values) * 1000:.0f} ms p99 {most * 1000:.0f} ms")
        return ", ".join(parts)


async def tab(port: int, name: str, opens: float, begin: float, end: float, answers: list[float]) -> None:
    """One page: asks on one connection until the end, and again a beat after each answer, or when the Hub says."""
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(opens - clock())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = f"/hub/api/users/{name}/hubwarden-state"
    while clock() < end:
        asked = clock()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: token {TOKEN}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not head.startswith("http/1.1 200 "):
            raise RuntimeError(head)
        await reader.readexactly(int(header(head, "content-length")))
        if clock() > begin:
            answers.append(clock() - asked)
        await asyncio.sleep(max(BEAT, float(header(head, "retry-after"))))
    writer.close()


def header(head: str, name: str) -> str:
    """A header's value, or 0."""
    found = re.search(rf"{name}: (\d+)", head)
    return found[1] if found else "0"


async def tabs_open(port: int, names: Sequence[str], seconds: float, answers: list[float]) -> None:
    """All tabs: they are opened one after the other during `OPENING` seconds, and what follows counts."""
    now = asyncio.get_running_loop().time()
    begin, opens = now + OPENING, [now + OPENING * number / len(names) for number in range(len(names))]
    pages = (tab(port, *page, begin, begin + seconds, answers) for page in zip(names, opens, strict=True))
    await asyncio.gather(*pages)


@contextmanager
def started(hub: Hub) -> Iterator[httpx.Client]:
    """The Hub, once it answers, and its operator. It looks at all servers first, which takes a while."""
    with hub.client() as operator:
        operator.timeout = PATIENCE
        hub.launch()
        try:
            wait_for(lambda: hub.process.alive() and answers(operator), "the Hub", PATIENCE)
            yield operator
        finally:
            hub.stop()


def answers(client: httpx.Client) -> bool:
    """Whether the Hub answers."""
    try:
        return client.get("").is_success
    except httpx.TransportError:
        return False


def measure(name: str, lines: list[str], tabs: int, seconds: float) -> Run:
    """A Hub of its own with so many tabs."""
    names = [f"tab{number}" for number in range(tabs)]
    with tempfile.TemporaryDirectory(prefix="open-tabs-") as folder, ThreadingHTTPServer(("", 0), Server) as servers:
        threading.Thread(target=servers.serve_forever, daemon=True).start()
        with stub_docker(Path(folder, "docker.sock"), servers.server_port) as docker:
            hub = Hub(Path(folder), Path(folder, "agent.sock"), docker.path, IMAGE)
            hub.options |= {"lines_before": CONFIGURATION, "lines_after": lines, "use_internal_ip": False}
            put_into_database(hub, docker, names)
            with started(hub) as operator:
                operator.post("users/starter").raise_for_status()
                run = measured(Run(name), hub, docker, operator, names, seconds)
        servers.shutdown()
    return run


def measured(
    run: Run, hub: Hub, docker: StubDocker, operator: httpx.Client, names: Sequence[str], seconds: float
) -> Run:
    """Open the tabs, and meanwhile start a server again and again, and ask for something that needs no Docker."""
    address = f"http://127.0.0.1:{hub.options['hub_port']}/hub/api/"
    with httpx.Client(base_url=address, timeout=PATIENCE) as client, ThreadPoolExecutor(3) as pool:
        if names:
            tabs = pool.submit(asyncio.run, tabs_open(hub.options["hub_port"], names, seconds, run.answers))
            time.sleep(OPENING)
        begin, before = time.perf_counter(), docker.inspects

        def done() -> bool:
            return time.perf_counter() - begin > seconds

        starting = pool.submit(repeated, done, lambda: start_and_stop(operator))
        asking = pool.submit(repeated, done, lambda: timed(lambda: client.get("").raise_for_status()))
        if names:
            tabs.result()
        run.starts, run.hub = starting.result(), asking.result()
        taken = time.perf_counter() - begin
    run.inspects, run.requests = (docker.inspects - before) / taken, len(run.answers) / taken
    return run


def timed(act: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def start_and_stop(operator: httpx.Client) -> float:
    """Seconds from the request to start a server until it is ready; then it is stopped."""

    def server() -> Any:
        return operator.get("users/starter").json()["servers"].get("")

    def start() -> None:
        operator.post("users/starter/server").raise_for_status()
        wait_for(lambda: (server() or {}).get("ready"), "the server", PATIENCE)

    taken = timed(start)
    operator.delete("users/starter/server").raise_for_status()
    wait_for(lambda: server() is None, "the server's stop", PATIENCE)
    return taken


def repeated(until: Callable[[], bool], act: Callable[[], float]) -> list[float]:
    """What it returned each time, one after the other."""
    results = [act()]
    while not until():
        time.sleep(PAUSE)
        results.append(act())
    return results


def draw(runs: list[Run], tabs: int, file: Path) -> None:
    """Distributions of the Hub's answers and of starts, one line a run."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, title, what in (
        (axes[0], "GET /hub/api/", "hub"),
        (axes[1], "start of a server", "starts"),
    ):
        for run in runs:
            seconds = sorted(getattr(run, what))
            axis.step(seconds, [(number + 1) / len(seconds) for number in range(len(seconds))], label=run.name)
        axis.set(title=f"{title}, {tabs} open tabs", xlabel="seconds", ylabel="share of requests", xscale="log")
        axis.legend()
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tabs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--plot", type=Path, default=Path("test-results/open-tabs.png"))
    arguments = parser.parse_args()
    runs = []
    for name, lines, tabs in (
        ("no tabs", [], 0),
        ("tabs as they were", [AS_IT_WAS], arguments.tabs),
        ("tabs as they are", [], arguments.tabs),
    ):
        runs.append(measure(name, lines, tabs, arguments.seconds))
        print(runs[-1], flush=True)
    draw(runs, arguments.tabs, arguments.plot)


if __name__ == "__main__":
    main()
