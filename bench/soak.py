"""Mixed operations on small real containers, for as long as told, and what is left of them in the agent.

Restarts, resets, validations, refusals and repeated request ids, several at a time, through one agent with gateway and
metrics on. What should be flat is printed as it was after the warm-up and at the end: resident memory, descriptors,
threads; and resident memory after each thousand, because what levels off does not leak.
Run: `.venv/bin/python bench/soak.py [--operations N]`.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from deployment import (
    LiveAgent,
    Workbench,
    base_image,
    reset_request,
    restart_request,
    running_agent,
    start,
    workbench,
)

USERS = 12
AT_ONCE = 6
WARM_UP = THOUSAND = 1000
DEADLINE = 60.0


class Soak:
    """Users with a server each, whose home another volume stands in for, and operations on them."""

    def __init__(self, bench: Workbench, agent: LiveAgent) -> None:
        self._bench = bench
        self._stub = agent.stub()
        self._random = random.Random(7)  # noqa: S311 - the same operations each time
        self._last: dict[str, Any] = {}
        self.answers: Counter[str] = Counter()
        self._users = [bench.username() for _ in range(USERS)]
        for username in self._users:
            bench.container(f"jupyterlab-{username}")
            bench.forget_volume(f"jupyterlab-{username}_home")

    def run(self, count: int) -> None:
        """So many operations, some at a time."""
        chosen = [(self._random.random(), self._random.choice(self._users)) for _ in range(count)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda one: self._operate(*one), chosen))

    def _operate(self, dice: float, username: str) -> None:
        call: Callable[[], object]
        kind, call = (
            "validate",
            lambda: self._stub.RestartContainer(restart_request(username, validate_only=True), timeout=DEADLINE),
        )
        if dice < 0.15:
            request = self._last[username] = restart_request(username)
            kind, call = "restart", lambda: self._stub.RestartContainer(request, timeout=DEADLINE)
        elif dice < 0.3:
            self._bench.client.volumes.create(f"jupyterlab-{username}_home")
            kind, call = "reset", lambda: self._stub.ResetHomeVolume(reset_request(username), timeout=DEADLINE)
        elif dice < 0.4 and username in self._last:
            request = self._last[username]
            kind, call = "repeat", lambda: self._stub.RestartContainer(request, timeout=DEADLINE)
        elif dice < 0.5:
            kind, call = "missing", lambda: self._stub.ResetHomeVolume(reset_request("nobody"), timeout=DEADLINE)
        try:
            call()
            self.answers[f"{kind} ok"] += 1
        except grpc.RpcError as error:
            self.answers[f"{kind} {error.code().name}"] += 1


def figures(agent: LiveAgent) -> dict[str, float]:
    """What should be flat."""
    return {
        "resident MiB": agent.status("VmRSS") / 1024,
        "descriptors": agent.descriptors(),
        "threads": agent.status("Threads"),
    }


def main() -> None:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=10_000)
    operations = parser.parse_args().operations
    socket = start()
    with (
        workbench(socket, base_image("busybox", socket)) as bench,
        tempfile.TemporaryDirectory() as directory,
        running_agent(Path(directory), socket, gateway=True, metrics=True) as agent,
    ):
        soak = Soak(bench, agent)
        begin = time.monotonic()
        soak.run(WARM_UP)
        before = figures(agent)
        resident = [before["resident MiB"]]
        for done in range(WARM_UP, operations, THOUSAND):
            soak.run(min(THOUSAND, operations - done))
            resident.append(figures(agent)["resident MiB"])
        after = figures(agent)
    print(f"{operations} operations in {time.monotonic() - begin:.0f} s; after the first {WARM_UP} and at the end:")
    for name, value in before.items():
        print(f"  {name}: {value:.1f} -> {after[name]:.1f} ({after[name] / value - 1:+.1%})")
    print("  resident after each thousand: " + ", ".join(f"{value:.1f}" for value in resident))
    print("  " + ", ".join(f"{answer}: {count}" for answer, count in sorted(soak.answers.items())))


if __name__ == "__main__":
    main()
