"""The Hub's own latency for `GET /hub/api/`: idle, and while 50 servers that ignore SIGTERM are being restarted.

The container of such a server takes the whole stop timeout. They are restarted through the Hub, and by Docker alone,
of which the Hub knows nothing: what 50 containers that start at once do to a machine is in both. The rounds alternate
within one run. Whoever asks for the restarts is a process of its own, so that its 50 threads do not slow down the one
that measures.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import docker  # noqa: TID251 - what is compared with is the engine itself
import httpx
from deployment import STOP_TIMEOUT, deployment

SERVERS = 50
ROUNDS = 3
IDLE_REQUESTS = 400
PERCENTILE = 99


def ask(client: httpx.Client) -> float:
    """Seconds for one request."""
    begin = time.perf_counter()
    client.get("").raise_for_status()
    return time.perf_counter() - begin


def restart_all(base_url: str, headers: dict[str, str], paths: list[str]) -> None:
    """Restart all of these servers at once, and wait for every answer."""
    # One client: making one takes more processor time than the Hub's part of a restart.
    limits = httpx.Limits(max_connections=len(paths))
    client = httpx.Client(base_url=base_url, headers=headers, timeout=120, limits=limits)
    with client, ThreadPoolExecutor(len(paths)) as pool:
        for answer in pool.map(client.post, paths):
            answer.raise_for_status()


def restart_behind_the_hub(engine: str, names: list[str]) -> None:
    """Have Docker restart all of these containers at once, and wait for every one."""
    client = docker.APIClient(f"unix://{engine}", version="auto", timeout=120, max_pool_size=len(names))
    with ThreadPoolExecutor(len(names)) as pool:
        for _ in pool.map(lambda name: client.restart(name, timeout=STOP_TIMEOUT), names):
            pass
    client.close()


def busy(client: httpx.Client, restarts: Future[None]) -> list[float]:
    """Latencies for as long as any restart is under way."""
    latencies = []
    while not restarts.done():
        latencies.append(ask(client))
    restarts.result()
    return latencies


def percentile(latencies: list[float]) -> float:
    """The 99th percentile, in milliseconds."""
    return statistics.quantiles(latencies, n=100)[PERCENTILE - 1] * 1000


def main() -> None:
    """Measure and print."""
    idle, docker_alone, through_the_hub = "idle", f"{SERVERS} restarts by Docker alone", f"{SERVERS} through the Hub"
    taken: dict[str, list[float]] = {idle: [], docker_alone: [], through_the_hub: []}
    spawning = multiprocessing.get_context("spawn")
    with deployment() as stack, ProcessPoolExecutor(1, spawning) as pool:
        people = [stack.person(f"stubborn{number}") for number in range(SERVERS)]
        paths = [f"{person.path}/restart-server" for person in people]
        names = [person.container_name for person in people]
        client = stack.hub.client()
        headers = {"Authorization": client.headers["Authorization"]}
        pool.submit(time.monotonic).result()  # the process is there before anything is measured
        for _ in range(ROUNDS):
            taken[idle] += [ask(client) for _ in range(IDLE_REQUESTS)]
            taken[docker_alone] += busy(client, pool.submit(restart_behind_the_hub, stack.bench.socket, names))
            taken[through_the_hub] += busy(client, pool.submit(restart_all, str(client.base_url), headers, paths))
    for what, latencies in taken.items():
        median = statistics.median(latencies) * 1000
        print(f"{what}: p99 {percentile(latencies):.1f} ms, median {median:.1f} ms of {len(latencies)} requests")
    for other in (idle, docker_alone):
        print(f"p99 above {other}: {percentile(taken[through_the_hub]) - percentile(taken[other]):.1f} ms")


if __name__ == "__main__":
    main()
