"""What goes through the helper's commands and the store comes out as it was. The same, on an engine: tests/engine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
from hubwarden_agent.engine.home_port import HOME
from hubwarden_agent.home_content.backup_manifest import BackupSource
from hubwarden_agent.home_content.backup_store import Store
from hubwarden_agent.home_content.volume_content import ARCHIVED, EXTRACT, archive_command, verify_totals
from hubwarden_agent.names import RequestId, Username, VolumeName
from hypothesis import HealthCheck, given, settings
from support.fakes.edges import FakeClock
from support.scenarios.file_trees import About, File, Folder, Pipe, Symlink, build, snapshot, socket_in, trees

VOLUME = VolumeName("jupyterlab-alice_home")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")


def command(folder: Path, *, writes: bool) -> list[str]:
    """The helper's own command, on a folder of this machine and with this machine's Python."""
    fixed = EXTRACT if writes else archive_command(2**40)
    moved = [part.replace(HOME, str(folder)) for part in fixed]
    assert moved != list(fixed)
    return moved if writes else [sys.executable, *moved[1:]]


def through_the_store(tree: Folder, directory: Path) -> tuple[object, object]:
    """What was in the folder, and what is in the one that was restored."""
    home, other, backups = (directory / name for name in ("home", "other", "backups"))
    for made in (home, other, backups):
        made.mkdir(mode=0o700)
    build(tree, os.fsencode(home))
    store = Store(backups)
    subject = BackupSource(Username("alice"), VOLUME, "local", {}, {}, RequestId(str(uuid.uuid4())))
    writer = store.begin(subject, FakeClock())
    tar = subprocess.run(command(home, writes=False), capture_output=True, check=True)
    writer.write(tar.stdout)
    manifest = writer.commit(verify_totals(0, tar.stderr, len(tar.stdout), ARCHIVED))
    with store.open(manifest.backup_id) as reader:
        reader.verify()
        subprocess.run(command(other, writes=True), input=b"".join(reader.chunks()), check=True)
    return snapshot(os.fsencode(home)), snapshot(os.fsencode(other))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(trees)
def test_any_tree_comes_back(tree: Folder) -> None:
    """Names, content, ownership, modes, times, links, holes, attributes and access lists, whatever they are."""
    with tempfile.TemporaryDirectory() as directory:
        before, after = through_the_store(tree, Path(directory))
    assert after == before


def test_one_of_everything(tmp_path: Path) -> None:
    """What the random trees consist of is really there to be lost: a tree by hand, and what is seen of it."""
    about = About(0o4751, 1000, 65534, 1234567890_123456789, {"user.a": b"\0=\n", "security.capability": b""}, 6)
    tree = Folder(
        {
            b"holes": File(((2**24, b"end"),), about),
            b"\xff\n": Symlink(b"/etc/passwd", About(uid=7, gid=8, mtime_ns=5)),
            b"pipe": Pipe(About(0o600, 1, 2, 3)),
            b"empty": Folder({}, About(0o1777, 2**32 - 2, 0, 10**18 + 1, {"user.with=sign": b"x"}, 4)),
        },
        About(0o751, 1000, 1000, 42),
    )
    before, after = through_the_store(tree, tmp_path)
    assert isinstance(before, dict)
    assert after == before
    assert before[b"holes"][:5] == (0o100000, 0o4670, 1000, 65534, 1234567890_123456789)
    assert set(before[b"holes"][6]) == {"user.a", "security.capability", "system.posix_acl_access"}
    assert before[b"holes"][7:9] == (2**24 + 3, True)
    assert before[b"."][1:5] == (0o751, 1000, 1000, 42)
    assert "system.posix_acl_default" in before[b"empty"][6]


def test_a_socket_is_left_out(tmp_path: Path) -> None:
    """The one thing that is: it means nothing without the process that made it."""
    (tmp_path / "with").mkdir()
    socket_in(os.fsencode(tmp_path / "with"))
    tar = subprocess.run(command(tmp_path / "with", writes=False), capture_output=True, check=True)
    assert b"left.sock" not in tar.stdout
    assert b"socket ignored" in tar.stderr
