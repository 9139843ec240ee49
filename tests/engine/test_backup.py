"""Backups by the real agent on the real engine: what they hold, what the helper may do, and what ends one."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hubwarden_agent.engine.docker_engine import DockerEngine
from hubwarden_agent.engine.home_port import Helper
from hubwarden_agent.engine.port import EngineError
from hubwarden_agent.home_content.volume_content import VolumeContent
from hubwarden_agent.names import BackupId, ImageId, VolumeName
from support.docker.private_engine import Workbench
from support.scenarios.backed_up_home import THESIS, Backed, backed
from support.waiting.conditions import until

SCHEME = "test-{username}"
DAC_READ_SEARCH = 1 << 2
RESERVE_AND_A_LITTLE = "size=272m"
PIECE, PIECES = 2**24, 64
"""So far apart that the compressor sees no piece twice."""


@pytest.fixture
async def case(tmp_path: Path, bench: Workbench, helper_image: ImageId) -> AsyncIterator[Backed]:
    """A home, and an agent that requires backups."""
    async with backed(tmp_path, bench, helper_image.value) as case:
        yield case


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own, with room for the reserve and not much more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", RESERVE_AND_A_LITTLE, "hubwarden-test", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture
def mounted(case: Backed) -> Iterator[Path]:
    """A filesystem of its own within the home, where the thesis was."""
    work = folder_of(case.bench, case.home) / "work"
    (work / "thesis").unlink()
    subprocess.run(["mount", "-t", "tmpfs", "hubwarden-test", work], check=True)
    yield work
    subprocess.run(["umount", work], check=True)


def folder_of(bench: Workbench, volume: str) -> Path:
    """Where a volume lies."""
    return Path(bench.client.volumes.get(volume).attrs["Mountpoint"])


def furnish(home: Path) -> None:
    """One of everything that Docker's own archive loses or that is easily got wrong."""
    (home / "shared").mkdir(mode=0o755)
    file = home / "shared" / "a\nb \xff\udcff"
    file.write_bytes(os.urandom(70_000))
    os.link(file, home / "hard link")
    (home / "soft link").symlink_to("/etc/passwd")
    (home / "dangling").symlink_to("../../nowhere")
    os.mkfifo(home / "pipe")
    os.setxattr(file, "user.comment", b"\x00\xff")
    # u::rw-, u:1000:rw-, g::r--, m::rw-, o::---
    acl = "0200000001000600ffffffff02000600e803000004000400ffffffff10000600ffffffff20000000ffffffff"
    os.setxattr(file, "system.posix_acl_access", bytes.fromhex(acl))
    with (home / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
        sparse.seek(1 << 29)
        sparse.write(b"in the middle")
    for path, mode in ((home / "shared", 0o3770), (home / "sparse", 0o4711), (home, 0o2750)):
        os.chown(path, 1000, 100)
        path.chmod(mode)
    os.chown(home / "soft link", 1001, 1001, follow_symlinks=False)
    for path in (file, home / "shared", home):
        os.utime(path, ns=(1_111_111_111_222_333_444, 1_222_222_222_333_444_555))


def seen(home: Path) -> dict[str, Any]:
    """Everything about everything in a folder; a sparse file by its extents, and hard links by who shares one."""
    paths = [home, *sorted(home.rglob("*"))]
    first: dict[int, str] = {}
    return {str(path.relative_to(home)): _described(path, first) for path in paths}


def _described(path: Path, first: dict[int, str]) -> tuple[Any, ...]:
    status = path.lstat()
    same = first.setdefault(status.st_ino, path.name)
    kind = stat.S_IFMT(status.st_mode)
    about = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, same if kind == stat.S_IFREG else "")
    if kind == stat.S_IFLNK:
        return (*about, path.readlink())
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)} if kind != stat.S_IFIFO else {}
    return (*about, attributes, _content(path, status.st_size) if kind == stat.S_IFREG else b"")


def _content(path: Path, size: int) -> tuple[int, list[tuple[int, bytes]]]:
    found, at = [], 0
    with path.open("rb") as file:
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, os.pread(file.fileno(), at - start, start)))
    return size, found


async def test_everything_comes_back_as_it_was(case: Backed, engine: DockerEngine, helper_image: ImageId) -> None:
    """Reset, then the backup into another volume: owners, modes, times, links, holes, attributes, lists, odd names."""
    home = folder_of(case.bench, case.home)
    furnish(home)
    before = seen(home)
    result, answer = await case.reset()
    assert (result, answer.size_bytes) == ("ok", case.store.manifest(BackupId(answer.backup_id)).tar_bytes)
    assert answer.size_bytes < 1 << 20, "the hole was written out"
    assert list(folder_of(case.bench, case.home).iterdir()) == []
    assert case.recorded("outcome")[0]["answer"]["backup_id"] == answer.backup_id

    again = case.bench.volume(f"{case.home}_again")
    with case.store.open(BackupId(answer.backup_id)) as reader:
        helper = Helper(helper_image, SCHEME)
        VolumeContent(engine).extract(VolumeName(again.name), helper, reader.chunks())
    assert seen(folder_of(case.bench, again.name)) == before
    assert case.helpers() == []


async def test_another_device_in_the_home(case: Backed, mounted: Path) -> None:
    """Removing a volume erases what is on one, too (if not the mount point), so the backup has it."""
    (mounted / "thesis").write_bytes(THESIS)
    await case.reset()
    assert list(mounted.iterdir()) == []
    [manifest] = case.store.all()
    assert case.in_backup(manifest.backup_id) == THESIS


async def test_the_helper_can_read_one_volume_and_nothing_else(
    case: Backed, engine: DockerEngine, helper_image: ImageId
) -> None:
    """What Docker says of it, and what the kernel says of its process, while it reads."""
    shown: list[dict[str, Any]] = []
    status: list[str] = []

    def take(_: bytes) -> None:
        if not shown:
            [name] = case.helpers()
            container = case.bench.client.containers.get(name)
            container.pause()
            shown.append(container.attrs)
            status.append(Path(f"/proc/{container.attrs['State']['Pid']}/status").read_text(encoding="ascii"))
            container.unpause()

    # More than Docker and the socket hold between tar and us, so that it runs while we look.
    (folder_of(case.bench, case.home) / "large").write_bytes(os.urandom(16 << 20))
    VolumeContent(engine).archive(VolumeName(case.home), Helper(helper_image, SCHEME), 2**40, take)
    host = shown[0]["HostConfig"]
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["Privileged"]) == ("none", True, False)
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["DAC_READ_SEARCH"])
    assert (host["SecurityOpt"], host["LogConfig"]["Type"]) == (["no-new-privileges"], "none")
    [mount] = shown[0]["Mounts"]
    assert (mount["Type"], mount["Name"], mount["RW"]) == ("volume", case.home, False)
    lines = dict(line.split(":\t", 1) for line in status[0].splitlines() if ":\t" in line)
    assert {int(lines[f"Cap{which}"], 16) for which in ("Prm", "Eff", "Bnd")} == {DAC_READ_SEARCH}
    assert lines["NoNewPrivs"] == "1"
    assert shown[0]["Image"] == helper_image.value


async def test_a_file_that_cannot_be_read_whole(case: Backed, engine: DockerEngine, helper_image: ImageId) -> None:
    """One that shrinks while it is read: tar says so, and that is no backup."""
    large = folder_of(case.bench, case.home) / "large"
    large.write_bytes(os.urandom(32 << 20))
    with pytest.raises(EngineError, match="tar ended with 1"):
        VolumeContent(engine).archive(
            VolumeName(case.home), Helper(helper_image, SCHEME), 2**40, lambda _: large.write_bytes(b"short")
        )


async def test_a_backup_disk_that_is_full(
    tmp_path: Path, bench: Workbench, helper_image: ImageId, small_disk: Path
) -> None:
    """BACKUP_FAILED, the home and its container as they were, and the disk as free as before; with room, it works."""
    async with backed(tmp_path, bench, helper_image.value, small_disk) as case:
        home = folder_of(bench, case.home)
        (home / "large").write_bytes(os.urandom(64 << 20))
        result, refusal = await case.reset()
        assert (result, refusal.message) == ("BACKUP_FAILED", "The backup failed. Nothing was removed.")
        assert case.in_volume() == THESIS
        assert bench.client.containers.get(case.container).status == "exited"
        assert not [*small_disk.iterdir(), *case.helpers()]
        (home / "large").unlink()
        case.identifier = "11111111-1111-4111-8111-111111111111"
        result, answer = await case.reset()
        assert (result, case.in_backup(BackupId(answer.backup_id))) == ("ok", THESIS)


async def test_sigterm_ends_a_backup(case: Backed) -> None:
    """BACKUP_FAILED for who asked, exit 0, nothing removed, no helper and no part of a backup left."""
    case.relay.flowing.clear()
    resetting = asyncio.ensure_future(case.reset())
    await case.relay.streaming.wait()
    status = await asyncio.to_thread(case.agent.terminate)
    assert status == 0
    assert (await resetting)[0] == "BACKUP_FAILED"
    assert case.recorded("outcome")[0]["reason"] == "BACKUP_FAILED"
    assert case.in_volume() == THESIS
    assert not [*case.store.directory.iterdir(), *case.helpers()]
    case.relay.flowing.set()


async def test_sigterm_ends_the_backup_of_a_large_home(case: Backed) -> None:
    """The same in the middle of 1 GiB that nobody holds up: what was already written of the backup is gone."""
    large, noise = folder_of(case.bench, case.home) / "large", os.urandom(PIECE)
    with large.open("wb") as file:
        for _ in range(PIECES):
            file.write(noise)
    resetting = asyncio.ensure_future(case.reset())
    await until(lambda: _bytes_in(case.store.directory) > PIECE, "a part of a backup")
    assert await asyncio.to_thread(case.agent.terminate) == 0
    assert (await resetting)[0] == "BACKUP_FAILED"
    assert [outcome["reason"] for outcome in case.recorded("outcome")] == ["BACKUP_FAILED"]
    assert case.in_volume() == THESIS
    with large.open("rb") as file:
        assert all(piece == noise for piece in iter(lambda: file.read(PIECE), b""))
    assert large.stat().st_size == PIECES * PIECE
    assert not [*case.store.directory.iterdir(), *case.helpers()]


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
