"""Paths: which spelling is accepted, and which paths of the host may never be mounted, whatever the operator lists.

Invariants: pure. The agent cannot look at the host's files and follows no links: the operator makes sure that a listed
path and all folders above it belong to root (docs/spawn-policy.md).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

KERNEL_PATHS = ("/proc", "/sys", "/dev")
"""The kernel's own files."""

NEVER = (*KERNEL_PATHS, "/run", "/var/run", "/var/lib/docker", "/var/lib/containerd", "/var/spool", "/boot", "/root")
"""Each gives access to the host: the kernel, the engine's socket and state, scheduled jobs, root's own files."""

NEVER_WRITABLE = ("/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/var/lib")
"""Never as a whole; what lies below them only read-only."""


@dataclass(frozen=True, slots=True)
class HostPath:
    """A path of the host, where it is mounted, and whether read-only."""

    source: str
    target: str
    read_only: bool


def is_clean(path: str) -> bool:
    """Whether Docker and the agent read a path alike: absolute, without `.`, `..`, `//` or `:`, and not the root."""
    clean = path.startswith("/") and not path.startswith("//") and posixpath.normpath(path) == path != "/"
    return clean and path.isprintable() and ":" not in path


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a clean path is one of these folders, or inside one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def check_source(source: str, *, read_only: bool) -> None:
    """Check a clean path of the host.

    Raises:
        ValueError: it may never be mounted, or not with this mode.
    """
    if _reaches(source, NEVER) or any(is_below(folder, [source]) for folder in NEVER_WRITABLE):
        raise ValueError(f"must not hold {source}, which is the host itself or the engine's")
    if not read_only and is_below(source, NEVER_WRITABLE):
        raise ValueError(f"must not hold {source} with mode rw, because the host runs what is there")


def errors(paths: tuple[HostPath, ...], own: tuple[str, ...]) -> list[str]:
    """What is wrong with host paths that are each allowed by themselves.

    Args:
        paths: the policy's.
        own: the agent's and the engine's files.
    """
    found = [
        f"must not hold {listed.source}, where the agent's or the engine's own files are"
        for listed in paths
        if _reaches(listed.source, own)
    ]
    sources = [listed.source for listed in paths]
    found += [f"lists {source} twice" for source in sorted(set(sources)) if sources.count(source) > 1]
    # A user who can write the outer one could make the inner one a link to anywhere.
    found += [
        f"must not hold {inner}, which is inside another path of the list"
        for inner, outer in permutations(sources, 2)
        if inner != outer and is_below(inner, [outer])
    ]
    return found


def _reaches(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is, is inside of, or holds one of these."""
    return any(is_below(path, [folder]) or is_below(folder, [path]) for folder in folders)
