"""Real processes for the Hub tests: the agent with its gateway, and a Hub with its proxy and stock DockerSpawner.

Invariants: everything waits for a condition and never for a time; ports, sockets and state are each stack's own;
what a test makes on the private engine is taken away. Nothing here knows what is being tested.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from support.agent.launcher import COMMAND, launch, wait_until_listening
from support.docker.private_engine import ROOT, Workbench, base_image, workbench
from support.waiting.conditions import wait_for
from support.waiting.ports import free_port

Found = TypeVar("Found")
TOKEN = "operator-token"
IMAGE = "hubwarden-test/user-server:1"
PROXY = ROOT / ".node" / "node_modules" / ".bin" / "configurable-http-proxy"


@dataclass
class Process:
    """A process in a group of its own, with its log in a file."""

    name: str
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.directory / f"{self.name}.log"

    def launch(self, command: list[str], **environment: str) -> None:
        """Start it, with the given additions to the environment."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                cwd=self.directory,
                start_new_session=True,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal, and wait until it is gone."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def alive(self) -> bool:
        """Whether it runs. Raises with the end of its log if it does not."""
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended:\n" + "\n".join(self.log.read_text().splitlines()[-30:]))
        return True


AGENT_TOML = """
[listen]
grpc = ["unix://{directory}/agent.sock"]
gateway = "unix://{directory}/docker.sock"
[docker]
host = "unix://{engine}"
timeout = {docker_timeout}
[limits]
restarts_per_user = "10000/minute"
resets_per_user = "10000/minute"
resets_total = "10000/minute"
[state]
directory = "{directory}/state"
[spawn]
images = ["{image}"]
networks = ["bridge"]
publish = "127.0.0.1"
max_creates = "10000/minute"
"""


@dataclass
class Agent:
    """`hubwarden-agent serve` on the private engine.

    Attributes:
        spawn: TOML that is put at the end of its `[spawn]`.
        docker_timeout: its `docker.timeout`, in seconds.
        program: what to run; `hubwarden-agent`, unless another.
    """

    directory: Path
    engine: str
    image: str
    spawn: str = ""
    docker_timeout: int = 120
    program: tuple[str, ...] = COMMAND
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        self.process = Process("agent", self.directory)
        (self.directory / "state").mkdir()
        text = AGENT_TOML.format(
            directory=self.directory, engine=self.engine, image=self.image, docker_timeout=self.docker_timeout
        )
        (self.directory / "agent.toml").write_text(text + self.spawn)

    @property
    def socket(self) -> Path:
        """Where it listens for gRPC."""
        return self.directory / "agent.sock"

    @property
    def gateway(self) -> Path:
        """Where it listens for DockerSpawner."""
        return self.directory / "docker.sock"

    def start(self) -> None:
        """Start it, and wait until both sockets answer."""
        self.process.process = launch(self.directory / "agent.toml", self.process.log, self.program)
        wait_until_listening(self.process.process, self.process.log, self.socket, self.gateway)

    def stop(self) -> None:
        """End it, as an operator would."""
        self.process.end()


@dataclass
class Hub:
    """A Hub of its own, whose Spawner speaks to the gateway.

    Attributes:
        options: entries of `HUBWARDEN_TEST`, see jupyterhub_config.py.
        python: of the environment whose JupyterHub it is.
    """

    directory: Path
    agent_socket: Path
    docker_socket: Path
    image: str
    options: dict[str, Any] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    python: str = sys.executable
    process: Process = field(init=False)
    _clients: list[httpx.Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = Process("hub", self.directory)
        self.options = {
            "port": free_port(),
            "hub_port": free_port(),
            "proxy_api_port": free_port(),
            "base_url": "/",
            "directory": str(self.directory),
            "proxy_command": [str(PROXY)],
            "token": TOKEN,
            "image": self.image,
            "remove": False,
            "use_internal_ip": True,
            "agent_socket": str(self.agent_socket),
            "lines_before": [],
            "lines_after": [],
        } | self.options

    @property
    def address(self) -> str:
        """Where people reach it, the base URL included."""
        return f"http://127.0.0.1:{self.options['port']}{self.options['base_url']}"

    @property
    def command_line(self) -> list[str]:
        """The arguments of `jupyterhub`."""
        return ["-f", str(Path(__file__).with_name("jupyterhub_config.py")), *self.arguments]

    @property
    def environment(self) -> dict[str, str]:
        """What it needs in its environment."""
        return {"HUBWARDEN_TEST": json.dumps(self.options), "DOCKER_HOST": f"unix://{self.docker_socket}"}

    def launch(self) -> None:
        """Start it, and do not wait."""
        self.process.launch([self.python, "-m", "jupyterhub", *self.command_line], **self.environment)

    def start(self) -> None:
        """Start it, and wait until it answers through its proxy."""
        self.launch()
        wait_for(self._answers, "Hub")

    def _answers(self) -> bool:
        try:
            return self.process.alive() and httpx.get(f"{self.address}hub/api/").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End it and its proxy, and let go of its clients."""
        self.process.end()
        for client in self._clients:
            client.close()

    def kill(self) -> None:
        """Kill it; its proxy runs on."""
        self.process.end(signal.SIGKILL)

    def _kept(self, client: httpx.Client) -> httpx.Client:
        self._clients.append(client)
        return client

    def client(self, token: str = TOKEN) -> httpx.Client:
        """Somebody with a token."""
        headers = {"Authorization": f"token {token}"}
        return self._kept(httpx.Client(base_url=f"{self.address}hub/api/", headers=headers, timeout=90))

    def routes(self) -> dict[str, Any]:
        """The proxy's table: route -> target and data, asked of the proxy itself."""
        address = f"http://127.0.0.1:{self.options['proxy_api_port']}/api/routes"
        answer = httpx.get(address, headers={"Authorization": "token proxy-secret"})
        return dict(answer.json())

    def browser(self, username: str) -> httpx.Client:
        """Somebody's browser, logged in."""
        browser = self._kept(httpx.Client(base_url=self.address, follow_redirects=True, timeout=90))
        xsrf = browser.get("hub/login").cookies.get("_xsrf") or browser.cookies.get("_xsrf")
        form = {"username": username, "password": "secret", "_xsrf": xsrf}
        # Without a next page, logging in would start the user's server.
        home = f"{self.options['base_url']}hub/home"
        browser.post("hub/login", params={"next": home}, data=form).raise_for_status()
        return browser


@contextmanager
def running(service: Any) -> Iterator[Any]:
    """A service from its start to its end."""
    service.start()
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def server_workbench(engine: str) -> Iterator[Workbench]:
    """A workbench, with the image of the users' servers built."""
    with workbench(engine, IMAGE) as bench:
        bench.client.images.build(
            path=str(Path(__file__).with_name("user_server")),
            buildargs={"BASE": base_image("python", engine)},
            tag=IMAGE,
        )
        yield bench
