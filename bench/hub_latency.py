"""The Hub's own latency for `GET /hub/api/`: idle, and while 50 JupyterLabs are being restarted.

On the compose stack as it is shipped. Fifty JupyterLabs that boot at once on a few processors make the Hub wait for its
turn; for how long, its weight decides (`cpu_shares` in compose.yml). So the same is measured with Docker's own weight,
in turns, within one run. The client is a process of its own, so that its 50 threads do not slow
down the one that measures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import httpx
from deployment import Stack, free_port, wait_for

SERVERS = 50
NAMES = [f"student{number}" for number in range(SERVERS)]
IDLE_REQUESTS = 400
PERCENTILE = 99
DOCKERS_OWN_WEIGHT = 1024
ALL_READY_SECONDS = 600
"""Also a Hub that gets next to nothing of the processors is to end its restarts in this time."""


def ask(client: httpx.Client) -> float:
    """Seconds for one request."""
    begin = time.perf_counter()
    client.get("").raise_for_status()
    return time.perf_counter() - begin


def restart_all(base_url: str, token: str) -> list[str]:
    """Restart all servers at once, wait for every answer, and return what was not taken on."""
    # One client: making one takes more processor time than the Hub's part of a restart.
    limits = httpx.Limits(max_connections=SERVERS)
    client = httpx.Client(base_url=base_url, headers=authorization(token), timeout=ALL_READY_SECONDS, limits=limits)
    with client, ThreadPoolExecutor(SERVERS) as pool:
        answers = pool.map(lambda name: client.post(f"users/{name}/restart-server"), NAMES)
        return [answer.text for answer in answers if not answer.is_success]


def busy(client: httpx.Client, restarts: Future[list[str]], *, still: Callable[[], bool]) -> list[float]:
    """Latencies for as long as any restart is under way."""
    latencies = []
    while not restarts.done():
        latencies.append(ask(client))
    if refused := restarts.result():
        raise RuntimeError(f"{len(refused)} were refused: {refused[0]}")
    # An answer of 202 says that a restart goes on without its request.
    while still():
        latencies.extend(ask(client) for _ in range(IDLE_REQUESTS))
    return latencies


def authorization(token: str) -> dict[str, str]:
    """Headers with this token."""
    return {"Authorization": f"token {token}"}


def token_of_admin(address: str, password: str) -> str:
    """A token of the demo's administrator, as the pages would ask for it."""
    with httpx.Client(base_url=address, follow_redirects=True) as browser:
        browser.get("hub/login")
        form = {"username": "admin", "password": password, "_xsrf": browser.cookies["_xsrf"]}
        browser.post("hub/login", params={"next": "/hub/home"}, data=form).raise_for_status()
        xsrf = {"_xsrf": browser.cookies.get("_xsrf", path="/hub/") or ""}
        answer = browser.post("hub/api/users/admin/tokens", params=xsrf, json={})
        answer.raise_for_status()
        return str(answer.json()["token"])


def all_ready(client: httpx.Client) -> bool:
    """Whether the Hub shows every server as ready."""
    users = {user["name"]: user["servers"].get("") for user in client.get("users", params={"limit": 200}).json()}
    return all(server and server["ready"] for server in (users.get(name) for name in NAMES))


def start_servers(client: httpx.Client) -> None:
    """Make the users, and start their servers one after the other."""
    client.post("users", json={"usernames": NAMES}).raise_for_status()
    for name in NAMES:
        client.post(f"users/{name}/server").raise_for_status()
    wait_for(lambda: all_ready(client), "all servers", ALL_READY_SECONDS)


def percentile(latencies: list[float]) -> float:
    """The 99th percentile, in milliseconds."""
    return statistics.quantiles(latencies, n=100)[PERCENTILE - 1] * 1000


def measure(stack: Stack, rounds: int) -> dict[str, list[float]]:
    """Seconds of every request, by what was the case."""
    hub = stack.container_of("hub")
    shipped = stack.inspect_container(hub)["HostConfig"]["CpuShares"]
    weights = {f"{SERVERS} restarts, as shipped ({shipped} shares)": shipped}
    weights |= {f"{SERVERS} restarts, with Docker's own {DOCKERS_OWN_WEIGHT} shares": DOCKERS_OWN_WEIGHT}
    taken: dict[str, list[float]] = {"idle": [], **{what: [] for what in weights}}
    (network,) = stack.inspect_container(hub)["NetworkSettings"]["Networks"].values()
    address = f"http://{network['IPAddress']}:8000/"
    token, api = token_of_admin(address, stack.password), f"{address}hub/api/"
    spawning = multiprocessing.get_context("spawn")
    with (
        httpx.Client(base_url=api, headers=authorization(token), timeout=ALL_READY_SECONDS) as client,
        ProcessPoolExecutor(1, spawning) as pool,
    ):
        start_servers(client)
        pool.submit(time.monotonic).result()  # the process is there before anything is measured
        for _ in range(rounds):
            for what, shares in weights.items():
                stack.docker("update", "--cpu-shares", str(shipped), hub)
                taken["idle"] += [ask(client) for _ in range(IDLE_REQUESTS)]
                stack.docker("update", "--cpu-shares", str(shares), hub)
                restarts = pool.submit(restart_all, api, token)
                taken[what] += busy(client, restarts, still=lambda: not all_ready(client))
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="two restarts each; the demo allows six in ten minutes")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        stack = Stack(Path(directory), free_port())
        stack.up()
        try:
            taken = measure(stack, rounds)
        finally:
            stack.down()
    for what, latencies in taken.items():
        median = statistics.median(latencies) * 1000
        print(f"{what}: p99 {percentile(latencies):.1f} ms, median {median:.1f} ms of {len(latencies)} requests")
        print(f"  p99 above idle: {percentile(latencies) - percentile(taken['idle']):.1f} ms")


if __name__ == "__main__":
    main()
