"""A gateway on a unix socket for tests, and a client that sends exactly the bytes that a test wants sent."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hubwarden_agent.app import DENIALS_LOGGED
from hubwarden_agent.budgets import SlidingWindow
from hubwarden_agent.denials import DenialLimiter
from hubwarden_agent.engine.port import Engine
from hubwarden_agent.errors import RequestRefused
from hubwarden_agent.gateway.app import build_listener
from hubwarden_agent.gateway.gateway import Gateway
from hubwarden_agent.gateway.transports import UnixTransport
from hubwarden_agent.locks import UserLocks
from hubwarden_agent.metrics import Metrics
from hubwarden_agent.names import Names, Templates
from hubwarden_agent.rates import parse_rate
from hubwarden_agent.spawn_allow import Allow, Allowed
from hubwarden_agent.spawn_policy import SpawnPolicy
from pydantic import TypeAdapter
from support.fakes.edges import FakeClock, MemoryAudit

Value = TypeVar("Value")

IMAGE = "example.org/lab:1"
HOME, WORKSPACE = "jupyterlab-{username}_home", "jupyterlab-{username}_workspace"
POLICY = SpawnPolicy(
    images=(IMAGE,),
    networks=("bridge",),
    volumes={HOME: "/home/jovyan", WORKSPACE: "/workspace"},
    max_memory=1024**3,
    max_cpus=2.0,
    max_pids=512,
    max_containers=5,
    max_creates=parse_rate("10/minute"),
    labels={"team": "physics"},
)


def allow(*entries: tuple[str, Any]) -> tuple[Allowed[Any, Any], ...]:
    """`[[spawn.allow]]` with these fields and values."""
    document = json.dumps([{"field": name, "value": value} for name, value in entries])
    return TypeAdapter[tuple[Allowed[Any, Any], ...]](tuple[Allow, ...]).validate_json(document)


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)

    @property
    def message(self) -> str:
        """What Docker's errors hold."""
        return str(self.json["message"])


@dataclass
class GatewayStage:
    """A gateway that serves, and everything behind it."""

    engine: Any
    path: Path
    spawn: SpawnPolicy = POLICY
    names: Names = field(default_factory=lambda: Names(Templates()))
    locks: UserLocks = field(default_factory=UserLocks)
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    clock: FakeClock = field(default_factory=FakeClock)
    metrics: Metrics = field(default_factory=lambda: Metrics(FakeClock()))

    def __post_init__(self) -> None:
        self.logged = DenialLimiter(SlidingWindow(parse_rate(DENIALS_LOGGED), self.clock))

    def gateway(self) -> Gateway:
        """What answers calls, over this stage's parts."""
        return Gateway(
            engine=self.engine,
            names=self.names,
            spawn=self.spawn,
            locks=self.locks,
            audit=self.audit,
            clock=self.clock,
            logged=self.logged,
        )

    @property
    def url(self) -> str:
        """What goes into DOCKER_HOST."""
        return f"unix://{self.path}"

    async def raw(self, data: bytes) -> Reply:
        """Send these bytes, read one response."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            writer.write(data)
            await writer.drain()
            return await _read(reader, headers_only=data.startswith(b"HEAD "))
        finally:
            writer.close()
            await writer.wait_closed()

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request, its target as it is."""
        given = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        return await self.raw("\r\n".join([*lines, "", ""]).encode() + body)

    async def create(self, document: object, name: str = "jupyterlab-alice") -> Reply:
        """Ask for a container."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return await self.request(
            "POST", f"/v1.44/containers/create?name={name}", body, {"Content-Type": "application/json"}
        )


async def _read(reader: asyncio.StreamReader, *, headers_only: bool) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status_line, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if status_line.split()[1] == "100":
        return await _read(reader, headers_only=headers_only)
    length = 0 if headers_only else int(headers.get("content-length", "0"))
    return Reply(int(status_line.split()[1]), headers, (await reader.readexactly(length)).decode())


@contextmanager
def serving_gateway(engine: Engine, directory: Path, **parts: Any) -> Iterator[GatewayStage]:
    """Serve a gateway for the body; it has threads of its own, so no event loop has to run."""
    stage = GatewayStage(engine, directory / "docker.sock", **parts)
    listener = build_listener(stage.gateway(), stage.clock, stage.metrics, stage.logged, UnixTransport())
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(stage.path))
    listener.start(bound)
    try:
        yield stage
    finally:
        listener.stop(5)


@asynccontextmanager
async def gateway(engine: Engine, directory: Path, **parts: Any) -> AsyncIterator[GatewayStage]:
    """The same where the test's event loop has clients that must not be blocked while the gateway stops."""
    with ExitStack() as stack:
        stage = stack.enter_context(serving_gateway(engine, directory, **parts))
        try:
            yield stage
        finally:
            await asyncio.to_thread(stack.close)


def result_or_refusal(function: Callable[[], Value]) -> Value | RequestRefused:
    """What a function returns, or the refusal that it raises."""
    try:
        return function()
    except RequestRefused as refusal:
        return refusal


def spawner_body(username: str = "alice", server_name: str = "", **changes: Any) -> dict[str, Any]:
    """What docker-py sends for a DockerSpawner with default options and a home volume; `host` changes `HostConfig`."""
    host = {
        "Memory": 512 * 1024**2,
        "NetworkMode": "bridge",
        "Binds": [f"jupyterlab-{username}_home:/home/jovyan:rw"],
        "Links": [],
        "Mounts": [],
    }
    body = {
        "ExposedPorts": {"8888/tcp": None},
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "Env": [f"JUPYTERHUB_USER={username}", f"JUPYTERHUB_SERVER_NAME={server_name}", "JUPYTERHUB_API_TOKEN=secret"],
        "Cmd": ["jupyterhub-singleuser"],
        "Image": IMAGE,
        "Volumes": {"/home/jovyan": {}},
        "NetworkDisabled": False,
        "HostConfig": host | changes.pop("host", {}),
    }
    return body | changes
