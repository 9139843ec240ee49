"""The Hub's own latency for `GET /hub/api/` while 50 servers that ignore SIGTERM are being restarted, and without.

The container of such a server takes the whole stop timeout. Idle and busy rounds alternate within one run.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor, wait

import httpx
from deployment import Person, deployment

SERVERS = 50
ROUNDS = 3
IDLE_REQUESTS = 400
PERCENTILE = 99


def ask(client: httpx.Client) -> float:
    """Seconds for one request."""
    begin = time.perf_counter()
    client.get("").raise_for_status()
    return time.perf_counter() - begin


def busy(client: httpx.Client, people: list[Person], pool: ThreadPoolExecutor) -> list[float]:
    """Latencies for as long as any restart is under way."""
    restarts = [pool.submit(person.operator.post, f"{person.path}/restart-server") for person in people]
    latencies = []
    while not all(restart.done() for restart in restarts):
        latencies.append(ask(client))
    wait(restarts)
    for restart in restarts:
        restart.result().raise_for_status()
    return latencies


def percentile(latencies: list[float]) -> float:
    """The 99th percentile, in milliseconds."""
    return statistics.quantiles(latencies, n=100)[PERCENTILE - 1] * 1000


def main() -> None:
    """Measure and print."""
    idle: list[float] = []
    loaded: list[float] = []
    with deployment() as stack, ThreadPoolExecutor(SERVERS) as pool:
        people = [stack.person(f"stubborn{number}") for number in range(SERVERS)]
        client = stack.hub.client()
        for _ in range(ROUNDS):
            idle += [ask(client) for _ in range(IDLE_REQUESTS)]
            loaded += busy(client, people, pool)
    for what, latencies in (("idle", idle), (f"{SERVERS} restarts in flight", loaded)):
        median = statistics.median(latencies) * 1000
        print(f"{what}: p99 {percentile(latencies):.1f} ms, median {median:.1f} ms of {len(latencies)} requests")
    print(f"p99 ratio {percentile(loaded) / percentile(idle):.2f}; idle and busy alternate, {ROUNDS} rounds")


if __name__ == "__main__":
    main()
