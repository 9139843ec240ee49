"""The shipped agent's resident memory while clients attack it, and for half a minute after the last of them left.

Each attack has an agent of its own, in its image and under compose.yml's memory limit, on a private engine. The clients
are other processes. VmRSS is read ten times a second. Printed are MiB before, at the peak and at the end, and what the
clients had open; the plot has one line an attack.

Invariants: an agent that the kernel ended makes the run fail. Must not: assert a figure.
Run: `.venv/bin/python bench/memory.py [--seconds N] [--plot FILE] [ATTACK...]`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
from deployment import Workbench, base_image, reset_request, restart_request, start, workbench
from google.protobuf import duration_pb2
from hubwarden.v1 import agent_pb2_grpc
from hubwarden_agent import ownership
from hubwarden_agent.names import Names, ServerName, Templates, Username
from matplotlib import pyplot as plt
from shipped_agent import BOUNDS, ShippedAgent, shipped_agent
from support.scenarios.attacks.floods import FLOODS, HALF_HEADERS, HELLO, flood, held, wait_until_accepted

INTERVAL, BEFORE_SECONDS, AFTER_SECONDS = 0.1, 2.0, 30.0
LIMIT = int(re.fullmatch(r"(\d+)m", BOUNDS["mem_limit"])[1])  # type: ignore[index] # compose.yml's unit
GRPC_CONNECTIONS = 8
PROCESSES = 2
"""One process cannot open as many descriptors as the attacks have connections."""
CONNECTIONS = {"half a HEADERS frame": (HALF_HEADERS, 15_000), "idle": (HELLO, 20_000)}
"""What each of so many connections sends, and nothing else."""
HOLDERS, VALIDATIONS, USER, STUBBORN = 48, 16, "holder", "stubborn"
ENVIRONMENT = {"A": "x" * 125_000, "B": "x" * 125_000}

Attack = Callable[[Path, float], str]
"""Attacks a socket for so many seconds; returns what is to be known of it beside the memory."""


@dataclass
class Record:
    """Seconds and MiB of one agent; `begin` and `end` are the attack's."""

    times: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    begin: float = 0.0
    end: float = 0.0

    def sample(self, agent: ShippedAgent, until: Callable[[], bool]) -> None:
        """Read the agent's memory until the condition holds."""
        while not until():
            self.times.append(time.monotonic())
            self.resident.append(agent.resident())
            time.sleep(INTERVAL)


def send(name: str, connections: int, path: Path, seconds: float) -> str:
    """Flood the socket on so many connections."""
    flood(path, FLOODS[name], seconds, connections)
    return ""


def hold(name: str, path: Path, seconds: float) -> str:
    """Hold one process's share of the connections."""
    data, total = CONNECTIONS[name]
    begin = time.monotonic()
    with held(path, total // PROCESSES, data) as clients:
        wait_until_accepted(path)
        took, at_once = time.monotonic() - begin, sum(map(is_open, clients))
        time.sleep(seconds)
        at_end = sum(map(is_open, clients))
    return f"{total // PROCESSES} connected in {took:.1f} s, {at_once} open then, {at_end} open {seconds:.0f} s later"


def is_open(client: socket.socket) -> bool:
    """Whether the agent still has its end of a connection."""
    client.settimeout(0)
    try:
        while client.recv(1 << 16):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def validate(path: Path, seconds: float) -> str:
    """Have a reset with many holders validated, again and again, in many threads."""
    give_up = time.monotonic() + seconds
    with grpc.insecure_channel(f"unix://{path}") as channel, ThreadPoolExecutor(VALIDATIONS) as threads:
        stub = agent_pb2_grpc.DockerAgentServiceStub(channel)

        def repeat(_: int) -> Counter[str]:
            codes = Counter[str]()
            while time.monotonic() < give_up:
                try:
                    stub.ResetHomeVolume(reset_request(USER, validate_only=True), timeout=seconds)
                except grpc.RpcError as error:
                    codes[error.code().name] += 1
            return codes

        answers = sum(threads.map(repeat, range(VALIDATIONS)), Counter[str]())
    return "answers: " + ", ".join(f"{count} {code}" for code, count in answers.items())


def repeat(path: Path, seconds: float) -> str:
    """Repeat the request id of a restart that takes a minute, again and again, with short deadlines."""
    give_up = time.monotonic() + seconds
    request = restart_request(STUBBORN, stop_timeout=duration_pb2.Duration(seconds=60))
    with grpc.insecure_channel(f"unix://{path}") as channel, ThreadPoolExecutor(VALIDATIONS) as threads:
        stub = agent_pb2_grpc.DockerAgentServiceStub(channel)

        def ask(_: int) -> Counter[str]:
            codes = Counter[str]()
            while time.monotonic() < give_up:
                try:
                    stub.RestartContainer(request, timeout=0.3)
                except grpc.RpcError as error:
                    codes[error.code().name] += 1
            return codes

        answers = sum(threads.map(ask, range(VALIDATIONS)), Counter[str]())
    return "answers: " + ", ".join(f"{count} {code}" for code, count in answers.items())


def attacks() -> Mapping[str, Sequence[Attack]]:
    """What the agent is exposed to, by name; each function runs in a process of its own."""
    share = GRPC_CONNECTIONS // PROCESSES
    return {
        f"{VALIDATIONS} validations, {HOLDERS} holders": [validate],
        "one request id, short deadlines": [repeat],
        **{name: [partial(send, name, 1)] for name in FLOODS},
        f"headers without end on {GRPC_CONNECTIONS}": [partial(send, "headers without end", share)] * PROCESSES,
        **{f"{total:,} {name}": [partial(hold, name)] * PROCESSES for name, (_, total) in CONNECTIONS.items()},
    }


def make_containers(bench: Workbench) -> None:
    """Containers with a large environment each, all with one user's home, and one that ignores SIGTERM."""
    labels = ownership.labels(Username(STUBBORN), ServerName(""), Names(Templates()))
    bench.container(f"jupyterlab-{STUBBORN}", "trap '' TERM; while :; do sleep 1; done", labels=labels)
    labels = ownership.labels(Username(USER), ServerName(""), Names(Templates()))
    mounts = {f"jupyterlab-{USER}_home": "/home/jovyan"}
    bench.volume(*mounts)
    for number in range(HOLDERS):
        name = f"jupyterlab-{USER}{number or ''}"
        bench.container(name, start=False, mounts=mounts, environment=ENVIRONMENT, labels=labels)


def measure(name: str, processes: Sequence[Attack], seconds: float, bench: Workbench) -> Record:
    """One attack on an agent of its own."""
    record, fork = Record(), multiprocessing.get_context("fork")
    with (
        tempfile.TemporaryDirectory() as directory,
        shipped_agent(bench, Path(directory), "") as agent,
        ProcessPoolExecutor(len(processes), mp_context=fork) as pool,
    ):
        path = Path(agent.gateway.removeprefix("unix://")).with_name("agent.sock")
        give_up = time.monotonic() + BEFORE_SECONDS
        record.sample(agent, lambda: time.monotonic() > give_up)
        record.begin = time.monotonic()
        running = [pool.submit(attack, path, seconds) for attack in processes]
        record.sample(agent, lambda: all(attack.done() for attack in running))
        record.end = time.monotonic()
        record.sample(agent, lambda: time.monotonic() > record.end + AFTER_SECONDS)
        agent.container.reload()
        state, healthy = agent.container.attrs["State"], agent.container.exec_run(["hubwarden-agent", "healthcheck"])
    values = (record.resident[0], max(record.resident), record.resident[-1])
    print(
        f"{name}: " + " -> ".join(f"{value:.0f}" for value in values),
        f"({record.end - record.begin:.0f} s)",
        flush=True,
    )
    for attack in running:
        if attack.result():
            print(f"    {attack.result()}", flush=True)
    if state["OOMKilled"] or healthy.exit_code:
        raise RuntimeError(f"the agent did not outlive it: {state}")
    return record


def plot(records: Mapping[str, Record], file: Path) -> None:
    """One line an attack; 0 is the moment in which its last client left."""
    figure, axes = plt.subplots(figsize=(10, 6), layout="constrained")
    for number, (name, record) in enumerate(records.items()):
        times = [moment - record.end for moment in record.times]
        axes.plot(times, record.resident, label=name, color=f"C{number % 10}", linestyle="-" if number < 10 else "--")
    axes.axhline(LIMIT, color="black", linestyle=":", label=f"memory limit in compose.yml ({LIMIT} MiB)")
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set(
        xlabel="seconds since the attack ended", ylabel="resident memory of the agent, MiB", ylim=(0, LIMIT * 1.05)
    )
    figure.legend(loc="outside right upper", fontsize="small")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", choices=[[], *attacks()], metavar="ATTACK", help="by default all")
    parser.add_argument("--seconds", type=float, default=10, help="of each attack (default: %(default)s)")
    parser.add_argument("--plot", type=Path, default=Path("test-results/memory.png"))
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    engine = start()
    records = dict[str, Record]()
    with workbench(engine, base_image("busybox", engine)) as bench:
        make_containers(bench)
        print(f"resident MiB before -> peak -> {AFTER_SECONDS:.0f} s after; the limit is {LIMIT}", flush=True)
        for name, processes in attacks().items():
            if name in options.attacks or not options.attacks:
                records[name] = measure(name, processes, options.seconds, bench)
    plot(records, options.plot)


if __name__ == "__main__":
    main()
