"""Users of the Hub under test, as the tests see them: through the REST API, the proxy and the private engine.

Invariants: a user's container and volumes are found under the names that DockerSpawner documents, and taken away
at the end. Nothing here goes through the plugin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
from support.docker.private_engine import Workbench
from support.jupyterhub.stack import Hub
from support.waiting.conditions import wait_for


def escaped(username: str) -> str:
    """DockerSpawner's escape, written down a second time."""
    safe = set(b"abcdefghijklmnopqrstuvwxyz0123456789")
    return "".join(chr(byte) if byte in safe else f"-{byte:02x}" for byte in username.encode())


@dataclass
class Person:
    """One user of one Hub."""

    hub: Hub
    bench: Workbench
    name: str
    operator: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.operator = self.hub.client()
        created = self.operator.post("users", json={"usernames": [self.name]})
        assert created.status_code in {httpx.codes.CREATED, httpx.codes.CONFLICT}, created.text
        for kind in ("home", "workspace", "cache"):
            self.bench.forget_volume(self.volume(kind))
        self.bench.forget_container(self.container_name)

    @property
    def path(self) -> str:
        """The user's place in the REST API."""
        return f"users/{quote(self.name, safe='')}"

    @property
    def container_name(self) -> str:
        """What DockerSpawner calls the container of the default server."""
        return f"jupyterlab-{escaped(self.name)}"

    def volume(self, kind: str) -> str:
        """What DockerSpawner calls a volume."""
        return f"jupyterlab-{escaped(self.name)}_{kind}"

    def token(self, *scopes: str) -> str:
        """A token of the user's own, with all the user's scopes or the given ones."""
        body = {"scopes": list(scopes)} if scopes else {}
        answer = self.operator.post(f"{self.path}/tokens", json=body)
        answer.raise_for_status()
        return str(answer.json()["token"])

    def client(self, *scopes: str) -> httpx.Client:
        """The user, with a token."""
        return self.hub.client(self.token(*scopes))

    def server(self, name: str = "") -> dict[str, Any] | None:
        """The server as the Hub's REST API shows it; None when the Hub has none on record."""
        answer = self.operator.get(self.path)
        answer.raise_for_status()
        server: dict[str, Any] | None = answer.json()["servers"].get(name)
        return server

    def is_ready(self) -> bool:
        """Whether the Hub shows the server as ready."""
        server = self.server()
        return server is not None and bool(server["ready"])

    def start(self) -> None:
        """Start the server, and wait until the Hub shows it ready."""
        answer = self.operator.post(f"{self.path}/server")
        assert answer.is_success, answer.text
        wait_for(self.is_ready, f"{self.name}'s server")

    def stop(self) -> None:
        """Stop the server, and wait until the Hub shows it stopped."""
        answer = self.operator.delete(f"{self.path}/server")
        assert answer.is_success, answer.text
        wait_for(lambda: self.server() is None, f"{self.name}'s stop")

    def container(self) -> Any:
        """The container, as Docker has it now."""
        return self.bench.client.containers.get(self.container_name)

    def started_at(self) -> str:
        """Docker's State.StartedAt."""
        return str(self.container().attrs["State"]["StartedAt"])

    def run(self, command: str) -> str:
        """Run something in the container's shell; its output."""
        status, output = self.container().exec_run(["/bin/sh", "-c", command])
        assert status == 0, output
        return str(output.decode())

    def visit(self) -> httpx.Response:
        """Ask the user's server who it is, through the proxy."""
        return httpx.get(f"{self.hub.address}user/{quote(self.name, safe='@')}/who")

    def restart(self, client: httpx.Client | None = None, **options: Any) -> httpx.Response:
        """Restart through the REST API; as the operator, unless somebody else is given."""
        return (client or self.operator).post(f"{self.path}/restart-server", **options)

    def home(self, client: httpx.Client | None = None) -> httpx.Response:
        """Look at the home through the REST API."""
        return (client or self.operator).get(f"{self.path}/home-volume")

    def reset(self, client: httpx.Client | None = None, **options: Any) -> httpx.Response:
        """Reset the home through the REST API."""
        return (client or self.operator).delete(f"{self.path}/reset-home-volume", **options)
