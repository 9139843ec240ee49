"""A restore that is killed at any step costs nothing: neither the backup, nor what was in the home before.

The tool is a real process in front of a real engine; the relay between the two kills it (SIGKILL) before, during or
after a request to Docker.
"""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound  # noqa: TID251 - tests look at the engine behind the agent's back
from hubwarden_agent.clock import SystemClock
from hubwarden_agent.engine.port import HELPER_LABEL
from hubwarden_agent.home_content import pending_restores
from hubwarden_agent.home_content.backup_manifest import BackupSource, Manifest
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.names import BackupId, ImageId, RequestId, Username, VolumeName
from hubwarden_agent.tools.audit import verify
from support.agent.client import PATIENCE, client, refusal_of, reset_request
from support.agent.launcher import COMMAND
from support.agent.process import Place, serving
from support.docker.private_engine import Workbench
from support.docker.relay import Point, Relay, relay
from support.scenarios.zstd_tar import compressed

THESIS, OTHER = os.urandom(2_000_000), os.urandom(200_000)
"""What the backup holds, and what is in the home when it is restored; many pieces of a tar each."""

ATTACH, REMOVE = "/attach", "DELETE /.*/containers/"
DELETE, CREATE = "DELETE /.*/volumes/", "/volumes/create"
LOOKING, SETTING_ASIDE, FILLING = 1, 2, 3
"""The helpers of one restore, in order."""
POINTS = [
    Point("during", ATTACH, SETTING_ASIDE),
    Point("before", REMOVE, 3),  # the user's own stopped container, after two helpers
    Point("after", DELETE),
    Point("after", CREATE),
    Point("during", ATTACH, FILLING),
    Point("after", ATTACH, FILLING),
    Point("before", REMOVE, 4),  # the last helper's
]


@dataclass
class Case:
    """One user with a backup, and a home with something else in it."""

    place: Place
    relay: Relay
    bench: Workbench
    store: Store
    username: str
    backup: Manifest
    policy: str

    def write(self, docker: str) -> None:
        """The configuration, with this engine."""
        self.place.docker = docker
        self.place.write(self.policy)

    @property
    def home(self) -> str:
        """The home volume's name."""
        return f"jupyterlab-{self.username}_home"

    def put_in(self, content: bytes) -> None:
        """A home with another thesis, and the stopped server that wrote it."""
        volume = self.bench.volume(self.home)
        Path(volume.attrs["Mountpoint"], "thesis").write_bytes(content)
        self.bench.container(f"jupyterlab-{self.username}", "true", mounts={self.home: "/home"}).wait()

    async def restore(self, point: Point | None = None) -> tuple[int | None, str]:
        """Run the tool, and kill it there. Returns its exit status and what it said."""
        identifier = self.backup.backup_id.value
        command = ["restore", identifier, "--user", self.username, "--aside", "--config", str(self.place.configuration)]
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        if point is not None:
            self.relay.stop_at(point, process.kill)
        said, _ = await process.communicate()
        if point is not None:
            await asyncio.wait_for(self.relay.stopped.wait(), PATIENCE)
        return process.returncode, said.decode()

    def kept(self) -> bytes | None:
        """The thesis in the home, None without one."""
        try:
            return Path(self.bench.client.volumes.get(self.home).attrs["Mountpoint"], "thesis").read_bytes()
        except (NotFound, FileNotFoundError):
            return None

    def in_backups(self) -> list[bytes]:
        """The thesis in every backup, all of which are verified first."""
        return [self.in_backup(backup_id) for backup_id in self.store.ids()]

    def in_backup(self, backup_id: BackupId) -> bytes:
        """The thesis in one."""
        with self.store.open(backup_id) as reader:
            reader.verify()
            tar = io.BytesIO(b"".join(reader.chunks()))
        with tarfile.open(fileobj=tar) as archive:
            thesis = archive.extractfile("./thesis")
            assert thesis is not None
            return thesis.read()

    def is_noted(self) -> bool:
        """Whether it is on disk that the home may be half filled."""
        return pending_restores.of(self.place.state, VolumeName(self.home)) is not None

    def helpers(self) -> list[str]:
        """Every helper on the engine that has the home."""
        filters: dict[str, Any] = {"label": HELPER_LABEL, "volume": self.home}
        return [str(one.name) for one in self.bench.client.containers.list(all=True, filters=filters)]


def backed_up(store: Store, username: str) -> Manifest:
    """A backup as a reset leaves it."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        folder = tarfile.TarInfo(".")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        file = tarfile.TarInfo("./thesis")
        file.size = len(THESIS)
        archive.addfile(file, io.BytesIO(THESIS))
    home, request_id = VolumeName(f"jupyterlab-{username}_home"), RequestId(str(uuid.uuid4()))
    content = tar.getvalue() + bytes(-len(tar.getvalue()) % 65536)  # as the helper blocks it
    writer = store.begin(
        BackupSource(Username(username), home, "local", {}, {"kept": "yes"}, request_id), SystemClock()
    )
    writer.write(compressed(content))
    return writer.commit(len(content))


@pytest.fixture
async def case(tmp_path: Path, bench: Workbench, engine_socket: str, helper_image: ImageId) -> AsyncIterator[Case]:
    """A stopped agent's place, behind a relay."""
    (tmp_path / "backups").mkdir(mode=0o700)
    store, username = Store(tmp_path / "backups"), bench.username()
    place = Place(tmp_path, "")
    policy = f'[reset]\nbackup_dir = "{store.directory}"\nhelper_image = "{helper_image.value}"'
    bench.forget_volume(f"jupyterlab-{username}_home")
    intended = lambda: (place.state / "audit.jsonl").exists() and bool(place.audit())  # noqa: E731 - for the relay
    async with relay(tmp_path / "relay.sock", engine_socket, intended) as between:
        case = Case(place, between, bench, store, username, backed_up(store, username), policy)
        case.write(str(tmp_path / "relay.sock"))
        yield case


@pytest.mark.parametrize("point", POINTS, ids=str)
async def test_a_restore_that_is_killed(case: Case, point: Point) -> None:
    """The backup is whole; the home is as before, or noted as unfinished with what it held in a backup, or complete."""
    case.put_in(OTHER)
    status, _ = await case.restore(point)
    assert status == -9
    assert [request for request in case.relay.unrecorded if "/volumes" in request] == []
    backups = case.in_backups()
    assert THESIS in backups
    assert case.kept() == OTHER or (OTHER in backups and (case.is_noted() or case.kept() == THESIS))

    status, said = await case.restore()

    assert status == 0, said
    assert ("was interrupted: beginning anew" in said) == (point.request != ATTACH or point.nth == FILLING)
    assert case.kept() == THESIS
    assert case.bench.client.volumes.get(case.home).attrs["Labels"] == {"kept": "yes"}
    assert not case.is_noted()
    assert case.helpers() == []
    assert {THESIS, OTHER} == set(case.in_backups())
    assert all(path.suffix in {".zst", ".json"} for path in case.store.directory.iterdir())
    assert list(verify(case.place.state / "audit.jsonl", []))[-1].startswith("whole from 1 ")


async def test_nobody_works_in_half_a_home(case: Case, engine_socket: str) -> None:
    """The agent, started on what a killed restore left, does nothing for that user, and lets everybody else."""
    status, _ = await case.restore(Point("during", ATTACH, 1))
    assert status == -9
    assert case.kept() != THESIS
    case.write(engine_socket)
    with serving(case.place) as agent:
        async with client(case.place.socket) as stub:
            theirs = await refusal_of(stub.ResetHomeVolume(reset_request(case.username), timeout=PATIENCE))
            others = await refusal_of(stub.ResetHomeVolume(reset_request("somebody"), timeout=PATIENCE))
        assert (theirs.reason, others.reason) == ("OPERATION_IN_PROGRESS", "VOLUME_NOT_FOUND")
        assert agent.logged("a restore was interrupted")
        agent.terminate()
        await asyncio.to_thread(agent.process.wait, PATIENCE)
    status, said = await case.restore()
    assert status == 0, said
    assert case.kept() == THESIS
    lines = [(line["phase"], line["reason"]) for line in case.place.audit() if line["operation"] == "restore"]
    assert lines == [("intent", ""), ("outcome", "INTERRUPTED"), ("intent", ""), ("outcome", "")]
