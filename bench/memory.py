"""The agent's resident memory while clients flood it, hold connections, and after they left.

Each attack has an agent of its own. Printed are MiB before, at the peak, and ten seconds after the attack, beside the
limit that compose.yml gives the agent. Run: `.venv/bin/python bench/memory.py [--connections N] [--seconds N]`.
"""

from __future__ import annotations

import argparse
import re
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from deployment import TESTS, running_agent, start
from support.scenarios.attacks.floods import FLOODS, HALF_HEADERS, flood, held, wait_until_accepted

AFTER_SECONDS = 10.0
GRPC_CONNECTIONS = 8


def hold(path: Path, start: bytes, connections: int, seconds: float) -> None:
    """Hold connections that send a start and nothing else."""
    with held(path, connections, start):
        wait_until_accepted(path)
        time.sleep(seconds)


def measure(name: str, attack: Callable[[Path], None], socket: str) -> None:
    """One attack on an agent of its own."""
    with tempfile.TemporaryDirectory() as directory, running_agent(Path(directory), socket, gateway=True) as agent:
        before = agent.status("VmRSS")
        attack(Path(directory) / "agent.sock")
        peak = agent.status("VmHWM")
        time.sleep(AFTER_SECONDS)
        values = (value / 1024 for value in (before, peak, agent.status("VmRSS")))
        print(f"{name}: " + " -> ".join(f"{value:.0f}" for value in values), flush=True)


def attacks(connections: int, seconds: float) -> Mapping[str, Callable[[Path], None]]:
    """What the agent is exposed to, by name."""
    return {
        **{name: partial(flood, frames=frames, seconds=seconds) for name, frames in FLOODS.items()},
        f"headers without end on {GRPC_CONNECTIONS}": partial(
            flood, frames=FLOODS["headers without end"], seconds=seconds, connections=GRPC_CONNECTIONS
        ),
        f"{connections} times half a HEADERS frame": partial(
            hold, start=HALF_HEADERS, connections=connections, seconds=seconds
        ),
        f"{connections} idle connections": partial(hold, start=b"", connections=connections, seconds=seconds),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit = re.search(r"mem_limit: (\w+)", (TESTS.parent / "compose.yml").read_text())
    print(f"resident MiB before -> peak -> after; compose.yml allows {limit[1] if limit else 'any'}")
    socket = start()
    for name, attack in attacks(options.connections, options.seconds).items():
        measure(name, attack, socket)


if __name__ == "__main__":
    main()
