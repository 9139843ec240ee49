"""A real agent that requires backups, behind a relay to a real engine, and one user's home that must never be lost."""

from __future__ import annotations

import io
import os
import tarfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hubwarden_agent.engine.port import HELPER_LABEL
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.names import BackupId
from support.agent.client import PATIENCE, refused, reset_request
from support.agent.killable_agent import AgentProcess
from support.docker.private_engine import Workbench
from support.docker.relay import Point, Relay, relay

THESIS = os.urandom(200_000)
"""More than one piece of a tar, and nothing that could be made of nothing."""


@dataclass
class Backed:
    """The agent, its backups, and the user."""

    agent: AgentProcess
    relay: Relay
    bench: Workbench
    store: Store
    username: str
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def container(self) -> str:
        """The user's container."""
        return f"jupyterlab-{self.username}"

    @property
    def home(self) -> str:
        """The home volume's name."""
        return f"jupyterlab-{self.username}_home"

    def make(self) -> None:
        """A home that has to come back, with something in it, and a stopped container."""
        volume = self.bench.volume(self.home, labels={"kept": "yes"})
        folder = Path(volume.attrs["Mountpoint"])
        (folder / "work").mkdir()
        (folder / "work" / "thesis").write_bytes(THESIS)
        self.bench.container(self.container, "true", mounts={self.home: "/home"}).wait()

    async def reset(self, identifier: str = "") -> tuple[str, Any]:
        """`("ok", answer)`, or a reason and the refusal; `("UNREACHABLE", ...)` when the agent dies."""
        request = reset_request(self.username, request_id=identifier or self.identifier)
        async with self.agent.client() as stub:
            try:
                return "ok", await stub.ResetHomeVolume(request, timeout=PATIENCE)
            except grpc.aio.AioRpcError as error:
                refusal = refused(error)
                return refusal.reason or "UNREACHABLE", refusal

    async def crash(self, point: Point | None) -> str:
        """Reset, with the agent killed at the point, or once it has answered. Returns what the client got."""
        if point is not None:
            self.relay.stop_at(point, self.agent.kill)
        result, answer = await self.reset()
        if point is None:
            self.agent.kill()
        else:
            assert result == "UNREACHABLE", answer
            await self.relay.stopped.wait()
        return result

    def in_volume(self) -> bytes | None:
        """The thesis in the home; None without one."""
        try:
            folder = Path(self.bench.client.volumes.get(self.home).attrs["Mountpoint"])
        except NotFound:
            return None
        thesis = folder / "work" / "thesis"
        return thesis.read_bytes() if thesis.exists() else None

    def in_backup(self, backup_id: BackupId) -> bytes | None:
        """The thesis in a backup, all of which is verified first; None if it is of an empty home."""
        self.store.verify(backup_id)
        with self.store.open(backup_id) as reader:
            tar = io.BytesIO(b"".join(reader.chunks()))
        with tarfile.open(fileobj=tar) as archive:
            if "./work/thesis" not in archive.getnames():
                return None
            thesis = archive.extractfile("./work/thesis")
            assert thesis is not None
            return thesis.read()

    def helpers(self) -> list[str]:
        """Every helper on the engine that has the home."""
        filters: dict[str, str | list[str] | bool] = {"label": HELPER_LABEL, "volume": self.home}
        return [str(one.name) for one in self.bench.client.containers.list(all=True, filters=filters)]

    def outcomes(self) -> list[dict[str, Any]]:
        """How this request ended, by the audit."""
        lines = self.agent.lines()
        return [line for line in lines if (line["request_id"], line["phase"]) == (self.identifier, "outcome")]

    def intended(self) -> bool:
        """Whether the audit says what was about to be done."""
        lines = self.agent.lines()
        return any((line["request_id"], line["phase"]) == (self.identifier, "intent") for line in lines)


@asynccontextmanager
async def backed(
    directory: Path, bench: Workbench, helper_image: str, backups: Path | None = None
) -> AsyncIterator[Backed]:
    """Such an agent, serving, with a home."""
    backups = backups or directory / "backups"
    backups.mkdir(mode=0o700, exist_ok=True)
    backups.chmod(0o700)
    policy = f'[reset]\nbackup = "required"\nbackup_dir = "{backups}"\nhelper_image = "{helper_image}"\n'
    agent = AgentProcess(directory, directory / "relay.sock", extra=policy)
    made = list[Backed]()
    intended = lambda: made[0].intended()  # noqa: E731, PLW0108 - the case does not exist yet
    async with relay(directory / "relay.sock", bench.socket, intended) as between:
        made.append(Backed(agent, between, bench, Store(backups), bench.username()))
        made[0].make()
        await agent.start()
        try:
            yield made[0]
        finally:
            agent.close()
            for helper in made[0].helpers():
                bench.client.containers.get(helper).remove(force=True)
