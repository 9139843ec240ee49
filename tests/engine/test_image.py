"""The agent's image: small, without anything to go on with for whoever gets in, and whole."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from support.docker.images import Image

MAX_BYTES = 90_000_000
SHELLS = {"sh", "bash", "dash", "ash", "zsh", "busybox"}
INSTALLERS = {
    "pip",
    "pip3",
    "ensurepip",
    "apt",
    "apt-get",
    "dpkg",
    "curl",
    "wget",
    "perl",
    "gcc",
    "cc",
    "ld",
    "su",
    "mount",
}


@pytest.fixture(scope="module")
def files(agent_image: Image) -> Iterator[dict[str, tarfile.TarInfo]]:
    """Every file of the image, by its path."""
    container: Any = agent_image.client.containers.create(agent_image.tag)
    try:
        with tarfile.open(fileobj=io.BytesIO(b"".join(container.export()))) as content:
            yield {member.name: member for member in content}
    finally:
        container.remove()


def test_it_is_small(agent_image: Image) -> None:
    """At most 90 MB, its base included."""
    assert agent_image.client.images.get(agent_image.tag).attrs["Size"] <= MAX_BYTES


def test_there_is_nothing_to_go_on_with(files: dict[str, tarfile.TarInfo]) -> None:
    """No shell, nothing that installs, compiles or downloads, and no file that gives another's rights."""
    assert "usr/bin/tar" in files
    names = {PurePosixPath(path).name for path, file in files.items() if not file.isdir()}
    assert names & (SHELLS | INSTALLERS) == set()
    assert [path for path, file in files.items() if file.isfile() and file.mode & 0o6000] == []
    assert [path for path in files if PurePosixPath(path).name in {"hubwarden_hub", "cryptography"}] == []


def test_nobody_but_root_can_change_it(files: dict[str, tarfile.TarInfo]) -> None:
    """Writable for its user are the directories that volumes are mounted on, and /tmp."""
    made_by_docker = {"etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", ".dockerenv"}
    writable = {
        path
        for path, file in files.items()
        if not file.issym() and (file.uid != 0 or file.mode & 0o002) and path not in made_by_docker
    }
    assert writable == {"tmp", "run/hubwarden", "var/lib/hubwarden", "var/lib/hubwarden-backups"}


def test_every_module_is_compiled_and_can_be_imported(agent_image: Image) -> None:
    """What the image leaves out is nothing that the agent imports, tools, gateway and metrics included."""
    script = (
        "import importlib, pkgutil, hubwarden_agent as agent\n"
        "names = [one.name for one in pkgutil.walk_packages(agent.__path__, 'hubwarden_agent.')]\n"
        "loaded = [importlib.import_module(name) for name in names if not name.endswith('certs')]\n"
        "assert all(importlib.util.find_spec(one.__name__).cached for one in loaded)\n"
        "import os; assert all(os.path.exists(one.__cached__) for one in loaded)\n"
        "print(len(loaded))"
    )
    assert int(agent_image.run("-c", script, entrypoint="/opt/hubwarden/bin/python")) > 30


def test_tar_keeps_what_a_home_has(agent_image: Image) -> None:
    """With extended attributes, access lists and holes, as a backup asks for them; by either of its paths."""
    for program in ("/bin/tar", "/usr/bin/tar"):
        options = ("--xattrs", "--acls", "--sparse", "--create", "--file=-", "/etc/passwd")
        archive = agent_image.run(*options, entrypoint=program)
        with tarfile.open(fileobj=io.BytesIO(archive)) as content:
            assert content.getnames() == ["etc/passwd"]


def test_scanners_see_whose_libraries_it_holds(files: dict[str, tarfile.TarInfo]) -> None:
    """There is no package manager to ask: the packages are noted where scanners look, each with its licence."""
    noted = {path.rpartition("/")[2] for path in files if path.startswith("var/lib/dpkg/status.d/")}
    assert {"libc6", "tar", "zlib1g"} <= noted
    assert any(name.startswith("libssl3") for name in noted)
    assert {"usr/share/doc/libc6/copyright", "usr/share/doc/tar/copyright"} <= files.keys()
