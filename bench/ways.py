"""Ways to the engine's API, and what was measured on each: directly, through the gateway, through HAProxy.

Invariants: HAProxy is Debian's package as a plain pass-through, the yardstick for what any proxy costs. A ratio is
one of medians from the same run.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import TypeVar

from docker import APIClient  # noqa: TID251 - the client that DockerSpawner uses

NEED = Path(__file__).resolve().parent.parent / "deploy" / "need.sh"

Turn = TypeVar("Turn")


@dataclass
class Way:
    """A way to the engine, and what was measured on it, in seconds."""

    name: str
    url: str
    times: dict[str, list[float]] = field(default_factory=dict)

    def client(self) -> APIClient:
        """A connection of its own."""
        return APIClient(self.url, version="1.44", timeout=120)

    def took(self, what: str, seconds: float) -> None:
        """Note a measurement."""
        self.times.setdefault(what, []).append(seconds)


def in_turns(ways: Sequence[Turn], number: int) -> Sequence[Turn]:
    """An order for this round: in as many rounds as there are orders, each way comes after each other one as often.

    What a way leaves behind for the engine to do falls on the one after it.
    """
    orders = list(permutations(ways))
    return orders[number % len(orders)]


@contextmanager
def haproxy(directory: Path, socket: str) -> Iterator[str]:
    """A plain pass-through to the engine over a unix socket; its address."""
    subprocess.run([NEED, "haproxy=haproxy"], check=True)
    configuration = directory / "haproxy.cfg"
    path = directory / "haproxy.sock"
    configuration.write_text(
        "defaults\n mode http\n timeout connect 5s\n timeout client 300s\n timeout server 300s\n"
        f"frontend in\n bind unix@{path}\n default_backend engine\nbackend engine\n server engine unix@{socket}\n"
    )
    process = subprocess.Popen(["haproxy", "-db", "-f", configuration])
    try:
        while not path.exists() and process.poll() is None:
            time.sleep(0.01)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait()


def report(ways: list[Way], what: str, unit: str, scale: float) -> None:
    """Medians, and each over the first way's from the same run."""
    direct = statistics.median(ways[0].times[what])
    for way in ways:
        values = way.times[what]
        median = statistics.median(values)
        spread = f"{min(values) * scale:.2f} to {max(values) * scale:.2f}"
        added = f"{(median - direct) * scale:+.2f} {unit}, ratio {median / direct:.3f}"
        print(f"{what} {way.name}: median {median * scale:.2f} {unit} ({spread}); {added}; n={len(values)}")
