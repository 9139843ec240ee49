"""Stock DockerSpawner on a gateway in front of the private engine, and a record of what it sends."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from docker import APIClient  # noqa: TID251 - what DockerSpawner sends goes through here
from dockerspawner import DockerSpawner
from hubwarden_agent.engine.docker_engine import DockerEngine
from jupyterhub import orm
from jupyterhub.objects import Hub
from jupyterhub.user import User
from support.agent.gateway import POLICY, GatewayStage, gateway
from support.docker.private_engine import Workbench
from support.scenarios.attacks.options import named

SCRIPT = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
DIGEST = f"registry.invalid/lab@sha256:{'0' * 64}"


@dataclass
class Sent:
    """What was sent, ids and names replaced, and the bodies of creates."""

    lines: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def take(self) -> list[str]:
        """The lines since the last time."""
        lines, self.lines = self.lines, []
        return lines


@pytest.fixture(name="sent")
def record_sent(monkeypatch: pytest.MonkeyPatch, bench: Workbench) -> Sent:
    """Records what docker-py sends to the gateway."""
    sent = Sent()
    original = APIClient.send

    def send(client: APIClient, request: Any, **options: Any) -> Any:
        if not threading.current_thread().name.startswith("ThreadPoolExecutor"):  # the Spawner's own
            return original(client, request, **options)
        path = re.sub(r"^/v1\.\d\d", "", request.path_url)
        path = re.sub(r"[0-9a-f]{64}", "ID", path.replace(bench.image, "IMAGE"))
        sent.lines.append(f"{request.method} {re.sub(r'jupyterlab-[a-z0-9-]+', 'NAME', path)}")
        if "/containers/create" in path:
            sent.bodies.append(json.loads(request.body))
        return original(client, request, **options)

    monkeypatch.setattr(APIClient, "send", send)
    return sent


@pytest.fixture(name="spawn_stage")
async def serve_gateway(bench: Workbench, engine: DockerEngine, tmp_path: Path) -> AsyncIterator[GatewayStage]:
    """A gateway in front of the private engine."""
    policy = replace(
        POLICY, images=(bench.image, DIGEST), pull=(DIGEST,), publish="127.0.0.1", networks=("bridge", "hubwarden-test")
    )
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("shared\n")
    async with gateway(engine, tmp_path, spawn=named(policy, str(tmp_path / "shared"))) as stage:
        yield stage


Spawn = Callable[..., DockerSpawner]


@pytest.fixture(name="spawn")
def make_spawners(bench: Workbench, spawn_stage: GatewayStage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spawn]:
    """Makes Spawners whose Docker is the gateway; a Hub has one client for all of them."""
    monkeypatch.setenv("DOCKER_HOST", spawn_stage.url)
    monkeypatch.setattr(DockerSpawner, "_client", None)
    session = orm.new_session_factory("sqlite:///:memory:")()

    def make(username: str = "", server_name: str = "", **options: Any) -> DockerSpawner:
        row = orm.User(name=username or bench.username())
        session.add(row)
        if server_name:
            session.add(orm.Spawner(name=server_name, user=row))
        session.commit()
        spawner = User(row)._new_spawner(  # noqa: SLF001 - JupyterHub and DockerSpawner offer no public way
            server_name,
            spawner_class=DockerSpawner,
            hub=Hub(),
            **{
                "image": bench.image,
                "prefix": "jupyterlab",
                "cmd": SCRIPT,
                "volumes": {"jupyterlab-{username}_home": "/home/jovyan"},
                **options,
            },
        )
        spawner.api_token = "token-of-the-server"
        bench.forget_volume(f"jupyterlab-{spawner.escaped_name}_home")
        bench.forget_container(spawner.container_name)
        return spawner

    yield make
    if DockerSpawner._client is not None:  # noqa: SLF001 - JupyterHub and DockerSpawner offer no public way
        DockerSpawner._client.close()  # noqa: SLF001 - JupyterHub and DockerSpawner offer no public way
    session.close()
    session.get_bind().dispose()
