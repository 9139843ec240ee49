"""What the spawn gateway adds to Docker's own time, beside HAProxy as a plain pass-through, all in one run.

The same docker-py asks in turns, directly, through the gateway and through HAProxy: for an inspect; for a cycle of
create, start, inspect, stop and remove; and for fifty spawns at once. At the end: the agent's resident memory after
10,000 requests. Run: `.venv/bin/python bench/gateway.py [--calls N] [--cycles N] [--spawns N]`.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deployment import LiveAgent, Workbench, base_image, running_agent, start, workbench
from docker import APIClient  # noqa: TID251 - the client that DockerSpawner uses
from docker.errors import APIError  # noqa: TID251 - as above

WARM_UP = 50
MANY_REQUESTS = 10_000
NEED = Path(__file__).resolve().parent.parent / "deploy" / "need.sh"
COMMAND = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]
DIRECT, GATEWAY, HAPROXY = "directly", "through the gateway", "through HAProxy"


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


def create(api: APIClient, image: str, user: str) -> str:
    """A create as DockerSpawner asks for it, with every limit that the gateway would add; the container's id."""
    name = f"jupyterlab-{user}"
    host = api.create_host_config(
        binds={f"{name}_home": {"bind": "/data", "mode": "rw"}},
        mem_limit=64 * 1024**2,
        cpu_period=100_000,
        cpu_quota=100_000,
        pids_limit=100,
        network_mode="bridge",
    )
    made = api.create_container(
        image,
        COMMAND,
        name=name,
        environment={"JUPYTERHUB_USER": user, "JUPYTERHUB_SERVER_NAME": ""},
        volumes=["/data"],
        host_config=host,
    )
    return str(made["Id"])


def spawn(api: APIClient, image: str, user: str) -> str:
    """Create, start, inspect."""
    identifier = create(api, image, user)
    api.start(identifier)
    api.inspect_container(identifier)
    return identifier


def cycle(api: APIClient, image: str, user: str) -> None:
    """A server's life."""
    identifier = spawn(api, image, user)
    api.stop(identifier)
    api.remove_container(identifier, v=True)


def measure_inspects(ways: list[Way], bench: Workbench, calls: int) -> None:
    """One container of the gateway's own, inspected on every way in turns."""
    user = bench.username()
    remember(bench, user)
    gateway = next(way for way in ways if way.name == GATEWAY).client()
    identifier = create(gateway, bench.image, user)
    clients = [(way, way.client()) for way in ways]
    for number in range(calls + WARM_UP):
        for way, api in clients:
            begin = time.perf_counter()
            api.inspect_container(identifier)
            if number >= WARM_UP:
                way.took("inspect", time.perf_counter() - begin)


def measure_cycles(ways: list[Way], bench: Workbench, cycles: int) -> None:
    """Whole lives of servers, one after the other, the ways in turns."""
    clients = [(way, way.client()) for way in ways]
    for number in range(cycles + 1):
        for way, api in clients[number % len(clients) :] + clients[: number % len(clients)]:
            user = bench.username()
            remember(bench, user)
            begin = time.perf_counter()
            cycle(api, bench.image, user)
            if number:
                way.took("cycle", time.perf_counter() - begin)


def measure_spawns(ways: list[Way], bench: Workbench, spawns: int, rounds: int) -> None:
    """So many at once, each over a connection of its own; from the first request to the last answer."""
    for number in range(rounds):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            users = [bench.username() for _ in range(spawns)]
            clients = [way.client() for _ in users]
            with ThreadPoolExecutor(spawns) as pool:
                begin = time.perf_counter()
                made = list(pool.map(attempt, clients, [bench.image] * spawns, users))
                way.took("spawns", time.perf_counter() - begin)
                way.took("errors", sum(not one for one in made))
                list(pool.map(lambda user: end(bench, user), users))


def attempt(api: APIClient, image: str, user: str) -> str:
    """A spawn; nothing if it failed."""
    try:
        return spawn(api, image, user)
    except APIError as error:
        print(f"a spawn failed: {error}")
        return ""


def end(bench: Workbench, user: str) -> None:
    """Take away what a spawn left, at the engine itself."""
    bench.client.containers.get(f"jupyterlab-{user}").remove(force=True, v=True)
    bench.client.volumes.get(f"jupyterlab-{user}_home").remove()


def remember(bench: Workbench, user: str) -> None:
    """Have it taken away at the end."""
    bench.forget_volume(f"jupyterlab-{user}_home")
    bench.forget_container(f"jupyterlab-{user}")


def measure_memory(agent: LiveAgent, way: Way, bench: Workbench) -> None:
    """Resident before and after many requests, a third of them each: a version, an inspect, and a refusal."""
    api = way.client()
    user = bench.username()
    remember(bench, user)
    identifier = create(api, bench.image, user)
    before = agent.status("VmRSS") / 1024
    for number in range(MANY_REQUESTS):
        if number % 3 == 0:
            api.version(api_version=False)
        elif number % 3 == 1:
            api.inspect_container(identifier)
        else:
            with suppress(APIError):
                api.containers()
    after = agent.status("VmRSS") / 1024
    print(f"resident: {before:.1f} MiB, after {MANY_REQUESTS} more requests {after:.1f} MiB")


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


def policy(image: str) -> str:
    """What the gateway allows: enough for this run."""
    return (
        f'[spawn]\nimages = ["{image}"]\nnetworks = ["bridge"]\nvolumes = ["jupyterlab-{{username}}_home"]\n'
        'max_memory = "1g"\nmax_cpus = 1.0\nmax_pids = 512\nmax_containers = 1000\nmax_creates = "100000/minute"\n'
    )


def report(ways: list[Way], what: str, unit: str, scale: float) -> None:
    """Medians, and each over the direct one from the same run."""
    direct = statistics.median(ways[0].times[what])
    for way in ways:
        values = way.times[what]
        median = statistics.median(values)
        spread = f"{min(values) * scale:.2f} to {max(values) * scale:.2f}"
        added = f"{(median - direct) * scale:+.2f} {unit}, ratio {median / direct:.3f}"
        print(f"{what} {way.name}: median {median * scale:.2f} {unit} ({spread}); {added}; n={len(values)}")


def options() -> Mapping[str, Any]:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--spawns", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    return vars(parser.parse_args())


def main() -> None:
    """Measure and print."""
    given = options()
    socket = start()
    with workbench(socket, base_image("busybox", socket)) as bench, tempfile.TemporaryDirectory() as directory:
        names = ", ".join(f"{name} {version(name)}" for name in ("docker", "aiohttp"))
        print(f"Python {platform.python_version()}, Docker {bench.client.version()['Version']}, {names}")
        extra = policy(bench.image)
        with running_agent(Path(directory), bench.socket, gateway=True, extra=extra) as agent:  # noqa: SIM117 - one line
            with haproxy(Path(directory), socket) as passing:
                ways = [
                    Way(DIRECT, f"unix://{socket}"),
                    Way(GATEWAY, f"unix://{directory}/gateway.sock"),
                    Way(HAPROXY, passing),
                ]
                measure_inspects(ways, bench, given["calls"])
                report(ways, "inspect", "ms", 1000)
                measure_cycles(ways, bench, given["cycles"])
                report(ways, "cycle", "ms", 1000)
                measure_spawns(ways, bench, given["spawns"], given["rounds"])
                report(ways, "spawns", "s", 1)
                for way in ways:
                    print(f"errors {way.name}: {sum(way.times['errors']):.0f}")
                measure_memory(agent, ways[1], bench)


if __name__ == "__main__":
    main()
