"""Backups and restores on a real engine: what a reset took away comes back as it was, whatever it was."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.engine.home_port import Helper
from hubwarden_agent.home_content.backup_manifest import BackupSource
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.home_content.volume_content import VolumeContent
from hubwarden_agent.names import ImageId, RequestId, Username, VolumeName
from hypothesis import HealthCheck, Phase, given, settings
from support.agent.client import PATIENCE, client, reset_request
from support.agent.process import Place, run, serving
from support.docker.private_engine import Workbench
from support.fakes.edges import FakeClock
from support.scenarios.file_trees import About, File, Folder, HardLink, Pipe, Symlink, build, snapshot, socket_in, trees
from support.scenarios.large_homes import holes, many_files

AT_LENGTH = 250.0
"""Seconds for what takes long with a very large home."""
HOME_TREE = Folder(
    {
        b"thesis": File(((2**24, b"the end"),), About(0o640, 1000, 100, 1234567890_123456789, {"user.a": b"\0"}, 6)),
        b"again": HardLink(0),
        b"-rf \xff\n": Folder({b"link": Symlink(b"/etc/passwd", About(uid=7))}, About(0o1777, 1000, 1000, 5, {}, 4)),
        b"pipe": Pipe(About(0o600, 1, 2, 3)),
    },
    About(0o750, 1000, 1000, 10**18 + 1),
)


def folder(bench: Workbench, volume: str) -> bytes:
    """Where the engine keeps a volume."""
    return os.fsencode(bench.client.volumes.get(volume).attrs["Mountpoint"])


@pytest.fixture
def _backups_required(place: Place, helper_image: ImageId) -> None:
    backups = place.directory / "backups"
    backups.mkdir(mode=0o700)
    policy = f'backup = "required"\nbackup_dir = "{backups}"\nhelper_image = "{helper_image.value}"'
    place.write(f"[reset]\n{policy}")


def tool(place: Place, *arguments: str) -> Any:
    """`hubwarden-agent` with the place's configuration."""
    return run(*arguments, "--config", str(place.configuration), patience=AT_LENGTH)


async def reset(place: Place, username: str) -> Any:
    """A home deleted, as a Hub asks for it."""
    async with client(place.socket) as stub:
        return await stub.ResetHomeVolume(reset_request(username), timeout=AT_LENGTH)


@pytest.mark.usefixtures("_backups_required")
async def test_a_reset_home_comes_back(place: Place, bench: Workbench) -> None:
    """Reset by the agent, restored by the tool: the same content and metadata, and the same labels on the volume."""
    user = bench.username()
    home = f"jupyterlab-{user}_home"
    bench.volume(home, labels={"kept": "yes"})
    build(HOME_TREE, folder(bench, home))
    before = snapshot(folder(bench, home))
    socket_in(folder(bench, home))
    os.utime(folder(bench, home), ns=(0, before[b"."][4]))
    with serving(place) as agent:
        answer = await reset(place, user)
        assert snapshot(folder(bench, home)).keys() == {b"."}
        refused = await asyncio.to_thread(tool, place, "restore", answer.backup_id, "--user", user)
        assert (refused.returncode, "stop the agent first" in refused.stderr) == (1, True)
        agent.terminate()
        assert agent.process.wait(PATIENCE) == 0

    done = await asyncio.to_thread(tool, place, "restore", answer.backup_id, "--user", user, "--operator", "me")

    assert done.returncode == 0, done.stderr
    assert snapshot(folder(bench, home)) == before
    assert bench.client.volumes.get(home).attrs["Labels"] == {"kept": "yes"}
    [intent, outcome] = [line for line in place.audit() if line["operation"] == "restore"]
    assert (intent["phase"], intent["actor"], intent["backup_id"]) == ("intent", "operator:me", answer.backup_id)
    assert (outcome["phase"], outcome["result"], outcome["username"]) == ("outcome", "ok", user)
    assert "whole from 1" in tool(place, "audit", "verify").stdout
    again = await asyncio.to_thread(tool, place, "restore", answer.backup_id, "--user", user)
    assert (again.returncode, "not empty" in again.stderr) == (1, True)
    aside = await asyncio.to_thread(tool, place, "restore", answer.backup_id, "--user", user, "--aside")
    assert aside.returncode == 0, aside.stderr
    assert snapshot(folder(bench, home)) == before
    listed = [json.loads(line) for line in tool(place, "backups", "list", "--json").stdout.splitlines()]
    assert [one["tar_bytes"] for one in listed] == [listed[0]["tar_bytes"]] * 2
    assert tool(place, "backups", "verify").returncode == 0


@pytest.mark.slow("very large homes are written, read and compared three times")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "fill",
    [
        pytest.param(partial(many_files, files=10_000), id="10,000 files"),
        pytest.param(many_files, id="200,000 files", marks=pytest.mark.full),
        pytest.param(partial(holes, size=2**30), id="1 GiB"),
        pytest.param(holes, id="10 GiB", marks=pytest.mark.full),
    ],
)
@pytest.mark.usefixtures("_backups_required")
async def test_a_very_large_home_comes_back(fill: Callable[[Path], None], place: Place, bench: Workbench) -> None:
    """When a home of very many files, or of one large sparse file, is restored, content, metadata and holes return."""
    user = bench.username()
    home = Path(bench.volume(f"jupyterlab-{user}_home").attrs["Mountpoint"])
    fill(home)
    before = snapshot(os.fsencode(home))
    with serving(place) as agent:
        answer = await reset(place, user)
        assert not home.exists()
        agent.terminate()
        assert agent.process.wait(PATIENCE) == 0

    done = await asyncio.to_thread(tool, place, "restore", answer.backup_id, "--user", user)

    assert done.returncode == 0, done.stderr
    assert snapshot(os.fsencode(home)) == before
    assert sum(path.stat().st_blocks * 512 for path in home.iterdir()) < 2**24


class TestRoundTrips:
    """Any home, through the real helper and the store."""

    @settings(
        max_examples=8,
        deadline=None,
        phases=(Phase.generate,),  # to shrink would take minutes; the same trees shrink in the unit tests
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(tree=trees)
    def test_any_tree_comes_back(
        self, tree: Folder, engine: DockerEngine, bench: Workbench, helper_image: ImageId, tmp_path: Path
    ) -> None:
        """Names, content, ownership, modes, times, links, holes, attributes and access lists, whatever they are."""
        names = [f"hw-{uuid.uuid4().hex}" for _ in range(2)]
        home, other = (VolumeName(bench.volume(name).name) for name in names)
        build(tree, folder(bench, home.value))
        (tmp_path / home.value).mkdir(mode=0o700)
        store = Store(tmp_path / home.value)
        self.through(engine, store, Helper(helper_image, "round-trips"), home, other)
        assert snapshot(folder(bench, other.value)) == snapshot(folder(bench, home.value))

    def through(self, engine: DockerEngine, store: Store, helper: Helper, home: VolumeName, other: VolumeName) -> None:
        """From one volume into the store, and from there into the other."""
        subject = BackupSource(Username("alice"), home, "local", {}, {}, RequestId(str(uuid.uuid4())))
        writer = store.begin(subject, FakeClock())
        tar_bytes = VolumeContent(engine).archive(home, helper, 2**40, writer.write)
        with store.open(writer.commit(tar_bytes).backup_id) as reader:
            reader.verify()
            VolumeContent(engine).extract(other, helper, reader.chunks())
