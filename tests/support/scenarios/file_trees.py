"""Folders as users leave them: random trees, put on a disk, and everything about a tree that a backup has to keep.

Names and contents are bytes: whatever a kernel takes, a home can hold.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

MEGABYTE = 2**20
BLOCK = 4096


@dataclass(frozen=True)
class About:
    """What any file has beside its content. `acl` is the access list of one more user, or none."""

    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    acl: int = -1


@dataclass(frozen=True)
class File:
    """Data, each piece after a hole of so many bytes."""

    pieces: tuple[tuple[int, bytes], ...]
    about: About


@dataclass(frozen=True)
class Folder:
    """Names and what they are."""

    entries: Mapping[bytes, Any]
    about: About


@dataclass(frozen=True)
class Symlink:
    """A link, to wherever."""

    target: bytes
    about: About


@dataclass(frozen=True)
class HardLink:
    """Another name of one of the files before; the first is another name for none, and left out."""

    number: int


@dataclass(frozen=True)
class Pipe:
    """A named pipe."""

    about: About


ODD = [
    b"-rf",
    b"--checkpoint-action=exec=id",
    b"a\nb",
    b"\xff\xfe",
    b" ",
    b"*",
    b"...",
    b"\\012",
    b"x" * 255,
    b"\x1b[2J",
]
names = st.one_of(
    st.sampled_from(ODD),
    st.binary(min_size=1, max_size=12).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"0")),
).filter(lambda name: name not in (b".", b".."))
ids = st.sampled_from([0, 1, 1000, 65532, 65534, 2**21 + 1, 2**31, 2**32 - 2])
xattrs = st.dictionaries(
    st.sampled_from(["user.a", "user.with=sign", "user.100%", "user.Ü", "security.capability"]),
    st.binary(max_size=64),
    max_size=3,
)
abouts = st.builds(
    About,
    mode=st.integers(0, 0o7777),
    uid=ids,
    gid=ids,
    mtime_ns=st.integers(0, 2**32 * 10**9),
    xattrs=xattrs,
    acl=st.sampled_from([-1, 4, 6]),
)
files = st.builds(
    File,
    st.lists(st.tuples(st.sampled_from([0, 0, 1, 4096, MEGABYTE]), st.binary(max_size=300)), max_size=4).map(tuple),
    abouts,
)
leaves = st.one_of(
    files,
    st.builds(Symlink, st.one_of(names, st.just(b"/etc/passwd"), st.just(b"../../up"), st.just(b"t" * 200)), abouts),
    st.builds(HardLink, st.integers(0, 20)),
    st.builds(Pipe, abouts),
)
trees = st.builds(
    Folder,
    st.dictionaries(
        names,
        st.recursive(leaves, lambda inner: st.builds(Folder, st.dictionaries(names, inner, max_size=6), abouts)),
        max_size=12,
    ),
    abouts,
)


def build(tree: Folder, folder: bytes) -> None:
    """Put a tree into a folder that is there and empty."""
    _fill(tree, folder, [])


def socket_in(folder: bytes) -> None:
    """A socket as a server leaves it behind: the one thing that no tar holds."""
    before = os.getcwd()  # noqa: PTH109 - a socket's path has to be short
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind("left.sock")
    finally:
        os.chdir(before)


def _fill(tree: Folder, folder: bytes, linkable: list[bytes]) -> None:
    for name, node in tree.entries.items():
        path = os.path.join(folder, name)  # noqa: PTH118 - bytes
        match node:
            case File(pieces, about):
                _write(path, pieces)
                _describe(path, about)
                linkable.append(path)
            case Folder(_, _):
                os.mkdir(path)  # noqa: PTH102 - bytes
                _fill(node, path, linkable)
            case Symlink(target, about):
                os.symlink(target, path)  # noqa: PTH211 - bytes
                os.lchown(path, about.uid, about.gid)
                os.utime(path, ns=(0, about.mtime_ns), follow_symlinks=False)
            case HardLink(number):
                if linkable:
                    os.link(linkable[number % len(linkable)], path)
            case Pipe(about):
                os.mkfifo(path)
                _describe(path, about)
    _describe(folder, tree.about)


def _write(path: bytes, pieces: tuple[tuple[int, bytes], ...]) -> None:
    with open(path, "wb") as file:  # noqa: PTH123 - bytes
        for hole, data in pieces:
            file.seek(hole, os.SEEK_CUR)
            file.write(data)
        file.truncate(file.tell())


def _describe(path: bytes, about: About) -> None:
    os.chown(path, about.uid, about.gid)
    os.chmod(path, about.mode)  # noqa: PTH101 - bytes
    kind = os.lstat(path).st_mode
    if about.acl >= 0:
        os.setxattr(path, "system.posix_acl_access", _acl(about.acl))
        if stat.S_ISDIR(kind):
            os.setxattr(path, "system.posix_acl_default", _acl(about.acl))
    for name, value in about.xattrs.items():
        if name == "security.capability":
            if stat.S_ISREG(kind):
                os.setxattr(path, name, struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))  # CAP_NET_BIND_SERVICE
        elif stat.S_ISREG(kind) or stat.S_ISDIR(kind):
            os.setxattr(path, name, value)
    os.utime(path, ns=(0, about.mtime_ns))


def _acl(others: int) -> bytes:
    """The kernel's form of an access list with one named user: owner, user 1000, group, mask, others."""
    entries = [
        (0x01, 6, 2**32 - 1),
        (0x02, others, 1000),
        (0x04, 4, 2**32 - 1),
        (0x10, 7, 2**32 - 1),
        (0x20, 0, 2**32 - 1),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def snapshot(folder: bytes) -> dict[bytes, tuple[Any, ...]]:
    """All that is in a folder, and the folder itself: content and metadata, down to the nanosecond."""
    first_names: dict[tuple[int, int], bytes] = {}
    found: dict[bytes, tuple[Any, ...]] = {}
    for path in sorted(_walk(folder)):
        status = os.lstat(path)
        relative = os.path.relpath(path, folder)
        same = first_names.setdefault((status.st_dev, status.st_ino), relative)
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in _xattrs(path)}
        who = (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        found[relative] = (*who, status.st_mtime_ns, same, attributes, *_content(path, status))
    return found


def _xattrs(path: bytes) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def _content(path: bytes, status: os.stat_result) -> tuple[Any, ...]:
    if stat.S_ISLNK(status.st_mode):
        return (os.readlink(path),)  # noqa: PTH115 - bytes
    if not stat.S_ISREG(status.st_mode):
        return ()
    is_sparse = status.st_blocks * 512 <= status.st_size - MEGABYTE // 2
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - bytes
        return status.st_size, is_sparse, _digest(file.fileno(), status.st_size)


def _digest(file: int, size: int) -> str:
    """Of every block that is not all zeros, and of where it is; holes are not read."""
    digest, at = hashlib.sha256(), 0
    while at < size:
        try:
            data = os.lseek(file, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole is left
            break
        at, end = max(at, data - data % BLOCK), os.lseek(file, data, os.SEEK_HOLE)
        while at < end:
            if (block := os.pread(file, BLOCK, at)).strip(b"\0"):
                digest.update(b"%d:%d:%b" % (at, len(block), block))
            at += BLOCK
    return digest.hexdigest()


def _walk(folder: bytes) -> list[bytes]:
    paths = [folder]
    with os.scandir(folder) as entries:
        for entry in entries:
            paths += _walk(entry.path) if entry.is_dir(follow_symlinks=False) else [entry.path]
    return paths
