"""Paths: which spelling is accepted, and which paths of the host may never be mounted, whatever the operator lists.

Invariants: pure. The agent cannot look at the host's files and follows no links: the operator makes sure that a listed
path and all folders above it belong to root (docs/spawn-policy.md).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
from typing import Annotated, Literal

from pydantic import AfterValidator

from hubwarden_agent.config_types import Table

KERNEL_PATHS = ("/proc", "/sys", "/dev")
"""The kernel's own files."""

NEVER = (*KERNEL_PATHS, "/run", "/var/run", "/var/lib/docker", "/var/lib/containerd", "/var/spool", "/boot", "/root")
"""Each gives access to the host: the kernel, the engine's socket and state, scheduled jobs, root's own files."""

NEVER_WRITABLE = ("/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/var/lib")
"""Never as a whole; what lies below them only read-only."""


def is_clean(path: str) -> bool:
    """Whether Docker and the agent read a path alike: absolute, without `.`, `..`, `//` or `:`, and not the root."""
    clean = path.startswith("/") and not path.startswith("//") and posixpath.normpath(path) == path != "/"
    return clean and path.isprintable() and ":" not in path


def clean(path: str) -> str:
    """The same path.

    Raises:
        ValueError: it is not clean.
    """
    if not is_clean(path):
        raise ValueError("must be an absolute path without '.', '..', '//', ':' or a '/' at its end")
    return path


CleanPath = Annotated[str, AfterValidator(clean)]


@dataclass(frozen=True, slots=True)
class HostPath(Table):
    """A path of the host, where it is mounted, and how."""

    source: CleanPath
    target: CleanPath
    mode: Literal["ro", "rw"]

    @property
    def read_only(self) -> bool:
        """Whether a container can only read there."""
        return self.mode == "ro"


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a clean path is one of these folders, or inside one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _mountable(path: HostPath) -> HostPath:
    if _reaches(path.source, NEVER) or any(is_below(folder, [path.source]) for folder in NEVER_WRITABLE):
        raise ValueError(f"must not hold {path.source}, which is the host itself or the engine's")
    if not path.read_only and is_below(path.source, NEVER_WRITABLE):
        raise ValueError(f"must not hold {path.source} with mode rw, because the host runs what is there")
    return path


MountablePath = Annotated[HostPath, AfterValidator(_mountable)]
"""A path of the host that may be mounted as far as it can be told by itself."""


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
