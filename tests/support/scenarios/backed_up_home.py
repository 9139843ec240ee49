"""A real agent that requires backups, behind a relay to a real engine, and one user's home that must never be lost."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hubwarden_agent.engine.port import HELPER_LABEL
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.names import BackupId
from support.agent.killable_agent import AgentProcess
from support.docker.private_engine import Workbench
from support.docker.relay import relay
from support.scenarios.relayed_agent import RelayedAgent

THESIS = os.urandom(200_000)
"""More than one piece of a tar, and nothing that could be made of nothing."""


@dataclass
class Backed(RelayedAgent):
    """The same, with the agent's backups."""

    store: Store

    def make(self) -> None:
        """A home that has to come back, with something in it, and a stopped container."""
        volume = self.bench.volume(self.home, labels={"kept": "yes"})
        folder = Path(volume.attrs["Mountpoint"])
        (folder / "work").mkdir()
        (folder / "work" / "thesis").write_bytes(THESIS)
        self.bench.container(self.container, "true", mounts={self.home: "/home"}).wait()

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
    intended = lambda: bool(made[0].recorded("intent"))  # noqa: E731 - the case does not exist yet
    async with relay(directory / "relay.sock", bench.socket, intended) as between:
        made.append(Backed(agent, between, bench, bench.username(), Store(backups)))
        made[0].make()
        await agent.start()
        try:
            yield made[0]
        finally:
            agent.close()
            for helper in made[0].helpers():
                bench.client.containers.get(helper).remove(force=True)
