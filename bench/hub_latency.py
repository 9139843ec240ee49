"""The Hub's own latency for `GET /hub/api/` while 50 servers that ignore SIGTERM are being restarted, and without.

The container of such a server takes the whole stop timeout. Idle and busy rounds alternate within one run. Whoever asks
for the restarts is a process of its own, so that its 50 threads do not slow down the one that measures.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import httpx
from deployment import deployment

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
    with ThreadPoolExecutor(len(paths)) as pool:
        for answer in pool.map(lambda path: httpx.post(f"{base_url}{path}", headers=headers, timeout=120), paths):
            answer.raise_for_status()


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
    idle: list[float] = []
    loaded: list[float] = []
    spawning = multiprocessing.get_context("spawn")
    with deployment() as stack, ProcessPoolExecutor(1, spawning) as pool:
        paths = [f"{stack.person(f'stubborn{number}').path}/restart-server" for number in range(SERVERS)]
        client = stack.hub.client()
        headers = {"Authorization": client.headers["Authorization"]}
        pool.submit(time.monotonic).result()  # the process is there before anything is measured
        for _ in range(ROUNDS):
            idle += [ask(client) for _ in range(IDLE_REQUESTS)]
            loaded += busy(client, pool.submit(restart_all, str(client.base_url), headers, paths))
    for what, latencies in (("idle", idle), (f"{SERVERS} restarts in flight", loaded)):
        median = statistics.median(latencies) * 1000
        print(f"{what}: p99 {percentile(latencies):.1f} ms, median {median:.1f} ms of {len(latencies)} requests")
    print(f"p99 ratio {percentile(loaded) / percentile(idle):.2f}; idle and busy alternate, {ROUNDS} rounds")


if __name__ == "__main__":
    main()
