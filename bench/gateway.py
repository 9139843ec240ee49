"""What the spawn gateway adds to Docker's own time, beside HAProxy as a plain pass-through, all in one run.

The same docker-py asks in turns, directly, through the gateway and through HAProxy: for an inspect; for a cycle of
create, start, inspect, stop and remove, both of a JupyterLab and of a shell, of which nothing is left but what Docker
itself takes; and for fifty spawns at once. What JupyterLab takes to boot is waited for and not counted, or nothing else
would be seen. The agent is the one that is shipped. At the end: its resident memory after 10,000 requests.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from deployment import Workbench, base_image, built_user_image, start, wait_for, workbench
from docker import APIClient  # noqa: TID251 - the client that DockerSpawner uses
from docker.errors import APIError, NotFound  # noqa: TID251 - the client that DockerSpawner uses
from shipped_agent import ShippedAgent, shipped_agent
from ways import Way, haproxy, in_turns, report

DIRECT, GATEWAY, HAPROXY = "directly", "through the gateway", "through HAProxy"
WARM_UP = 50
MANY_REQUESTS = 10_000
# A shell that waits for a child ends it only after the child: it would sleep into the measurement of its stop.
HOME_FOLDER = "/home/jovyan"
SHELL_COMMAND = ("/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 60 & wait; done")
LAB_COMMAND = ("jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--IdentityProvider.token=")
MEBIBYTE = 1024**2


@dataclass(frozen=True)
class Server:
    """What a container runs, and when it is up."""

    kind: str
    image: str
    command: tuple[str, ...]
    memory: int
    is_up: Callable[[Mapping[str, Any]], bool]

    @property
    def cycle(self) -> str:
        """What its life is called among the measurements."""
        return f"cycle of a {self.kind}"


def shell(image: str) -> Server:
    """As little as there can be."""
    return Server("shell", image, SHELL_COMMAND, 64 * MEBIBYTE, lambda shown: bool(shown["State"]["Running"]))


def lab(image: str) -> Server:
    """What people have; the demo's image, but without a Hub to ask."""
    return Server("JupyterLab", image, LAB_COMMAND, 512 * MEBIBYTE, answers)


def answers(shown: Mapping[str, Any]) -> bool:
    """Whether the server in an inspected container answers."""
    (network,) = shown["NetworkSettings"]["Networks"].values()
    try:
        return httpx.get(f"http://{network['IPAddress']}:8888/api", timeout=1).is_success
    except httpx.TransportError:
        return False


def create(api: APIClient, server: Server, user: str) -> str:
    """A create as DockerSpawner asks for it, with every limit that the gateway would add; the container's id."""
    name = f"jupyterlab-{user}"
    host = api.create_host_config(
        binds={f"{name}_home": {"bind": HOME_FOLDER, "mode": "rw"}},
        mem_limit=server.memory,
        cpu_period=100_000,
        cpu_quota=100_000,
        pids_limit=100,
        network_mode="bridge",
    )
    made = api.create_container(
        server.image,
        list(server.command),
        name=name,
        environment={"JUPYTERHUB_USER": user, "JUPYTERHUB_SERVER_NAME": ""},
        volumes=[HOME_FOLDER],
        host_config=host,
    )
    return str(made["Id"])


def spawn(api: APIClient, server: Server, user: str) -> str:
    """Create, start, inspect; a gateway that is busy is asked again when it says so, as the Hub's plugin does."""
    identifier = str(patiently(create, api, server, user))
    patiently(api.start, identifier)
    api.inspect_container(identifier)
    return identifier


def patiently(call: Callable[..., Any], *arguments: Any) -> Any:
    """The call's result; a 503 with `Retry-After` is waited out."""
    while True:
        try:
            return call(*arguments)
        except APIError as error:
            if error.response is None or (after := error.response.headers.get("Retry-After")) is None:
                raise
            if error.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        time.sleep(float(after))


def cycle(api: APIClient, server: Server, bench: Workbench, user: str) -> float:
    """A server's life; seconds of it, without what it takes to boot."""
    begin = time.perf_counter()
    identifier = spawn(api, server, user)
    spawned = time.perf_counter()
    shown = bench.client.api.inspect_container(identifier)
    wait_for(lambda: server.is_up(shown), f"the {server.kind}")
    end = time.perf_counter()
    api.stop(identifier)
    api.remove_container(identifier, v=True)
    return spawned - begin + time.perf_counter() - end


def measure_inspects(ways: list[Way], bench: Workbench, server: Server, calls: int) -> None:
    """One container of the gateway's own, inspected on every way in turns."""
    user = bench.username()
    remember(bench, user)
    gateway = next(way for way in ways if way.name == GATEWAY).client()
    identifier = create(gateway, server, user)
    clients = [(way, way.client()) for way in ways]
    for number in range(calls + WARM_UP):
        for way, api in clients:
            begin = time.perf_counter()
            api.inspect_container(identifier)
            if number >= WARM_UP:
                way.took("inspect", time.perf_counter() - begin)


def measure_cycles(ways: list[Way], bench: Workbench, server: Server, cycles: int) -> None:
    """Whole lives of servers, one after the other, the ways in turns; the first is not counted."""
    clients = [(way, way.client()) for way in ways]
    for number in range(cycles + 1):
        for way, api in in_turns(clients, number):
            user = bench.username()
            remember(bench, user)
            seconds = cycle(api, server, bench, user)
            if number:
                way.took(server.cycle, seconds)


def measure_spawns(ways: list[Way], bench: Workbench, server: Server, spawns: int, rounds: int) -> None:
    """So many at once, each over a connection of its own; from the first request to the last answer."""
    for number in range(rounds):
        for way in in_turns(ways, number):
            users = [bench.username() for _ in range(spawns)]
            clients = [way.client() for _ in users]
            with ThreadPoolExecutor(spawns) as pool:
                begin = time.perf_counter()
                made = list(pool.map(attempt, clients, [server] * spawns, users))
                way.took("spawns", time.perf_counter() - begin)
                way.took("errors", sum(not one for one in made))
                list(pool.map(lambda user: end(bench, user), users))


def attempt(api: APIClient, server: Server, user: str) -> str:
    """A spawn; nothing if it failed."""
    try:
        return spawn(api, server, user)
    except APIError as error:
        print(f"a spawn failed: {error}")
        return ""


def end(bench: Workbench, user: str) -> None:
    """Take away what a spawn left, at the engine itself."""
    with suppress(NotFound):  # its spawn failed
        bench.client.containers.get(f"jupyterlab-{user}").remove(force=True, v=True)
        bench.client.volumes.get(f"jupyterlab-{user}_home").remove()


def remember(bench: Workbench, user: str) -> None:
    """Have it taken away at the end."""
    bench.forget_volume(f"jupyterlab-{user}_home")
    bench.forget_container(f"jupyterlab-{user}")


def measure_memory(agent: ShippedAgent, way: Way, bench: Workbench, server: Server) -> None:
    """Resident before and after many requests, a third of them each: a version, an inspect, and a refusal."""
    api = way.client()
    user = bench.username()
    remember(bench, user)
    identifier = create(api, server, user)
    before = agent.resident()
    for number in range(MANY_REQUESTS):
        if number % 3 == 0:
            api.version(api_version=False)
        elif number % 3 == 1:
            api.inspect_container(identifier)
        else:
            with suppress(APIError):
                api.containers()
    after = agent.resident()
    print(f"resident: {before:.1f} MiB, after {MANY_REQUESTS} more requests {after:.1f} MiB")


def policy(*images: str) -> str:
    """What the gateway allows: enough for this run."""
    listed = ", ".join(f'"{image}"' for image in images)
    return (
        f'[spawn]\nimages = [{listed}]\nnetworks = ["bridge"]\n'
        f'volumes = {{"jupyterlab-{{username}}_home" = "{HOME_FOLDER}"}}\n'
        'max_memory = "1g"\nmax_cpus = 1.0\nmax_pids = 512\nmax_containers = 1000\nmax_creates = "100000/minute"\n'
    )


def options() -> Mapping[str, Any]:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--cycles", type=int, default=48)
    parser.add_argument("--spawns", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=12)
    return vars(parser.parse_args())


def main() -> None:
    """Measure and print."""
    given = options()
    socket = start()
    with (
        built_user_image(socket) as users,
        workbench(socket, base_image("busybox", socket)) as bench,
        tempfile.TemporaryDirectory() as directory,
    ):
        engine = bench.client.version()["Version"]
        print(f"Python {platform.python_version()}, Docker {engine}, docker-py {version('docker')}")
        extra = policy(bench.image, users.tag)
        bare = shell(bench.image)
        with (
            shipped_agent(bench, Path(directory), extra) as agent,
            haproxy(Path(directory), socket) as passing,
        ):
            gateway = Way(GATEWAY, agent.gateway)
            ways = [Way(DIRECT, f"unix://{socket}"), gateway, Way(HAPROXY, passing)]
            measure_inspects(ways, bench, bare, given["calls"])
            report(ways, "inspect", "ms", 1000)
            for server in (lab(users.tag), bare):
                measure_cycles(ways, bench, server, given["cycles"])
                report(ways, server.cycle, "ms", 1000)
            measure_spawns(ways, bench, bare, given["spawns"], given["rounds"])
            report(ways, "spawns", "s", 1)
            for way in ways:
                print(f"errors {way.name}: {sum(way.times['errors']):.0f}")
            measure_memory(agent, gateway, bench, bare)


if __name__ == "__main__":
    main()
