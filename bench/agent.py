"""What the agent adds to Docker's own time, how fast it is up, how much memory it takes idle, how large its image is.

`validate_only` of a restart asks Docker for one inspect; the same inspect is asked of Docker directly, in turns, with
the same client library. Every transport in `TRANSPORTS` takes part. Run: `.venv/bin/python bench/agent.py [--calls N]`.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deployment import LiveAgent, Workbench, base_image, free_port, restart_request, running_agent, start, workbench
from docker.errors import ImageNotFound  # noqa: TID251 - measured beside the agent
from docker.types import Mount  # noqa: TID251 - measured beside the agent
from support.agent.live_agent import START_SECONDS

STARTS = 5
WARM_UP = 100
DEADLINE = 10.0
IMAGE = "hubwarden/agent:latest"

TRANSPORTS: Mapping[str, Callable[[LiveAgent], Any]] = {
    "unix": LiveAgent.stub,
    "mutual TLS": LiveAgent.tls_stub,
}
"""How the agent is reached, each giving a client of the contract."""


def seconds(action: Callable[[], object]) -> float:
    """How long it took."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def measure_calls(bench: Workbench, directory: Path, calls: int) -> None:
    """Inspects asked directly and through the agent, in turns."""
    username = bench.username()
    container = bench.container(f"jupyterlab-{username}")
    request = restart_request(username, validate_only=True)
    with running_agent(directory, bench.socket, tls_port=free_port()) as agent:
        inspect = bench.client.api.inspect_container
        actions: dict[str, Callable[[], object]] = {"Docker directly": lambda: inspect(container.id)}
        for name, connect in TRANSPORTS.items():
            stub = connect(agent)
            actions[f"agent over {name}"] = partial(stub.RestartContainer, request, timeout=DEADLINE)
        taken: dict[str, list[float]] = {name: [] for name in actions}
        for number in range(calls + WARM_UP):
            for name, action in actions.items():
                took = seconds(action)
                if number >= WARM_UP:
                    taken[name].append(took)
    direct = statistics.median(taken["Docker directly"])
    for name, values in taken.items():
        p50, p99 = statistics.median(values) * 1000, statistics.quantiles(values, n=100)[98] * 1000
        print(f"{name}: p50 {p50:.2f} ms, p99 {p99:.2f} ms; p50 over Docker's {p50 - direct * 1000:+.2f} ms; n={calls}")


def launch(agent: LiveAgent) -> None:
    """From exec to SERVING."""
    agent.launch()
    agent.wait_until_serving()


def measure_start(bench: Workbench, directory: Path, *, gateway: bool) -> None:
    """From exec to SERVING, and resident memory then, which is idle: nobody has called."""
    taken, processor, resident = [], [], []
    for number in range(STARTS):
        place = directory / f"{gateway}{number}"
        place.mkdir()
        agent = LiveAgent(place, bench.socket, gateway=gateway, metrics=gateway)
        taken.append(seconds(partial(launch, agent)))
        processor.append(agent.processor_seconds())
        resident.append(agent.status("VmRSS") / 1024)
        agent.stop()
    which = "with" if gateway else "without"
    spread = f"{min(taken):.2f} to {max(taken):.2f}, processor time {statistics.median(processor):.2f} s"
    print(f"{which} gateway and metrics: SERVING after {statistics.median(taken):.2f} s ({spread});", end=" ")
    print(f"resident {statistics.median(resident):.1f} MiB; n={STARTS}")


def measure_image(bench: Workbench, directory: Path, *, gateway: bool) -> None:
    """Resident memory of the agent in its image, idle, as compose.yml runs it."""
    run = "unix:///run/hubwarden"
    more = f'gateway = "{run}/docker.sock"\nmetrics = "{run}/metrics.sock"\n' if gateway else ""
    (directory / "agent.toml").write_text(f"[listen]\n{more}")
    container = bench.client.containers.run(
        IMAGE,
        detach=True,
        network_mode="none",
        read_only=True,
        group_add=[str(Path(bench.socket).stat().st_gid)],
        environment={"HUBWARDEN_CONFIG": "/etc/hubwarden/agent.toml"},
        volumes={
            bench.socket: {"bind": "/var/run/docker.sock"},
            str(directory / "agent.toml"): {"bind": "/etc/hubwarden/agent.toml", "mode": "ro"},
        },
        mounts=[Mount(place, None) for place in ("/run/hubwarden", "/var/lib/hubwarden")],
    )
    try:
        give_up = time.monotonic() + START_SECONDS
        while container.exec_run(["hubwarden-agent", "healthcheck"]).exit_code:
            if time.monotonic() > give_up:
                raise TimeoutError(container.logs().decode())
        container.reload()
        status = Path(f"/proc/{container.attrs['State']['Pid']}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
        print(f"in the image, {'with' if gateway else 'without'} gateway and metrics: resident {resident:.1f} MiB")
    finally:
        container.remove(force=True, v=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    calls = parser.parse_args().calls
    socket = start()
    with workbench(socket, base_image("busybox", socket)) as bench, tempfile.TemporaryDirectory() as directory:
        engine = bench.client.version()["Version"]
        names = ("grpcio", "docker", "protobuf", "prometheus-client")
        versions = ", ".join(f"{name} {version(name)}" for name in names)
        print(f"Python {platform.python_version()}, Docker {engine}, {versions}")
        (Path(directory) / "calls").mkdir()
        measure_calls(bench, Path(directory) / "calls", calls)
        for gateway in (False, True):
            measure_start(bench, Path(directory), gateway=gateway)
        with suppress(ImageNotFound):
            print(f"image {IMAGE}: {bench.client.images.get(IMAGE).attrs['Size'] / 1e6:.1f} MB")
            for gateway in (False, True):
                measure_image(bench, Path(directory), gateway=gateway)


if __name__ == "__main__":
    main()
