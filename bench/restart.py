"""A restart through the Hub's REST API against `docker restart` of the same container, interleaved.

Two figures: until the container has started again (before any waiting for readiness), and until the caller has its
answer, which for the Hub includes the new address, the server's first answer and its route.
"""

from __future__ import annotations

import datetime as dt
import re
import statistics
import time

from deployment import STOP_TIMEOUT, Person, deployment, wait_for

ROUNDS = 10


def started(person: Person) -> float:
    """When Docker says that the container was started, in seconds since the epoch, on this machine's clock."""
    text = re.sub(r"\.(\d{6})\d*Z", r".\1+00:00", person.container().attrs["State"]["StartedAt"])
    return dt.datetime.fromisoformat(text).timestamp()


def direct(person: Person) -> tuple[float, float]:
    """`docker restart`: seconds until started, and until it returned."""
    container = person.container()
    begin = time.time()
    container.restart(timeout=STOP_TIMEOUT)
    returned = time.time()
    measured = started(person) - begin, returned - begin
    # A process that has not set up its SIGTERM handler yet would make the next restart wait for the stop timeout.
    wait_for(lambda: person.visit().is_success, "the server's answer")
    return measured


def through_hub(person: Person) -> tuple[float, float]:
    """The REST API: seconds until started, and until the answer that the server is ready."""
    begin = time.time()
    answer = person.operator.post(f"{person.path}/restart-server")
    returned = time.time()
    answer.raise_for_status()
    return started(person) - begin, returned - begin


def main() -> None:
    """Measure and print."""
    with deployment() as stack:
        person = stack.person("bench")
        through_hub(person)
        pairs = [(direct(person), through_hub(person)) for _ in range(ROUNDS)]
    for index, what in enumerate(("until started", "until answered")):
        docker = statistics.median(pair[0][index] for pair in pairs)
        hub = statistics.median(pair[1][index] for pair in pairs)
        ratio = statistics.median(pair[1][index] / pair[0][index] for pair in pairs)
        print(f"{what}: docker restart {docker * 1000:.0f} ms, Hub {hub * 1000:.0f} ms, ratio {ratio:.3f}")
    print(f"medians of {ROUNDS} each, interleaved; the ratio is the median of the pairs' ratios")


if __name__ == "__main__":
    main()
