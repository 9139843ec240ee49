"""A stand-in for Docker and for users' servers, for measurements with more servers than fit on one machine.

Invariants: stock DockerSpawner makes, starts, looks at and stops its containers on it, as on Docker's socket.
Must not: refuse anything, or be used where Docker's own time matters.
"""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import deployment  # noqa: F401 - makes `support` importable
from jupyterhub import orm
from support.jupyterhub.stack import Hub


class Server(BaseHTTPRequestHandler):
    """Every user's server."""

    def do_GET(self) -> None:
        """Answer as a server that is up."""
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@dataclass
class StubDocker:
    """Docker's end of a unix socket: containers are made, started and looked at, and none is one.

    Attributes:
        port: where each container's port is published.
        inspects: looks at a container so far.
    """

    path: Path
    port: int
    inspects: int = 0
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body."""
        path = re.sub(r"^/v1\.\d+", "", path)
        if path == "/version":
            return 200, {"ApiVersion": "1.45", "Version": "26.1"}
        if path.startswith("/images/"):
            return 200, {"Id": "image", "Config": {"Cmd": ["jupyterhub-singleuser"]}}
        if path.startswith("/containers/create"):
            name = path.partition("name=")[2]
            self.make(name, body["Env"])
            return 201, {"Id": name, "Warnings": []}
        name = path.split("/")[2].partition("?")[0]
        if name not in self.containers:
            return 404, {"message": "No such container"}
        if method == "GET":
            self.inspects += 1
            return 200, self.containers[name]
        if method == "DELETE":
            del self.containers[name]
        elif path.endswith("/start"):
            self.start(name)
        else:
            self.containers[name]["State"] = self._state(runs=False)
        return 204, None

    def make(self, name: str, environment: list[str]) -> None:
        """Make a container."""
        self.containers[name] = {"Id": name, "Config": {"Env": environment}, "State": self._state(runs=False)}

    def start(self, name: str) -> None:
        """Start it, its port published."""
        ports = {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(self.port)}]}
        self.containers[name] |= {"State": self._state(runs=True), "NetworkSettings": {"Ports": ports, "Networks": {}}}

    @staticmethod
    def _state(*, runs: bool) -> dict[str, Any]:
        return {"Running": runs, "ExitCode": 0, "Error": "", "FinishedAt": "", "StartedAt": "2026-01-01T00:00:00Z"}


@contextmanager
def stub_docker(path: Path, port: int) -> Iterator[StubDocker]:
    """A stub that listens, each connection in a thread."""
    docker = StubDocker(path, port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: Any) -> None:
            pass

        def do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            status, answer = docker.answer(self.command, self.path, body)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do  # noqa: N815 - the names that http.server calls

    class Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        request_queue_size = 128

    with Listener(str(path), Handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield docker
        listener.shutdown()


def put_into_database(hub: Hub, docker: StubDocker, names: Sequence[str]) -> None:
    """Users with a running server each, as an earlier Hub left them."""
    session = orm.new_session_factory(f"sqlite:///{hub.directory}/jupyterhub.sqlite")()
    for name in names:
        container = f"jupyterlab-{name}"
        docker.make(container, [])
        docker.start(container)
        server = orm.Server(proto="http", ip="127.0.0.1", port=docker.port, base_url=f"/user/{name}/")
        state = {"object_id": container, "object_name": container}
        session.add(orm.Spawner(name="", user=orm.User(name=name), server=server, state=state))
    session.commit()
    session.close()
