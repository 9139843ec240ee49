"""Paths: what a clean one is, and which of the host's may never be mounted, whatever the operator lists.

What holds here: pure. The agent cannot look at the host's files, so links are not followed: that a listed path and all
folders above it belong to root is the operator's to see to, and docs/spawn-policy.md says so.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

KERNEL_PATHS = ("/proc", "/sys", "/dev")
"""The kernel's own files: mounted into a container, or mounted over inside one, they have let containers out before."""

NEVER = (*KERNEL_PATHS, "/run", "/var/run", "/var/lib/docker", "/var/lib/containerd", "/var/spool", "/boot", "/root")
"""Whoever has these has the host: the kernel, the engine's socket and state, what runs by itself, root's own files."""

NEVER_WRITABLE = ("/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/var/lib")
"""Never whole; what is below them only to read."""


@dataclass(frozen=True, slots=True)
class HostPath:
    """A path of the host, and whether it is mounted read-only."""

    path: str
    read_only: bool


def is_clean(path: str) -> bool:
    """Whether Docker and we read a path alike: absolute, without `.`, `..`, `//` or `:`, and not the root."""
    clean = path.startswith("/") and not path.startswith("//") and posixpath.normpath(path) == path != "/"
    return clean and path.isprintable() and ":" not in path


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a clean path is one of these folders, or inside one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def parse(text: str) -> HostPath:
    """`/srv/shared:ro` or `/srv/shared:rw`.

    Raises:
        ValueError: it is neither, or a path that may never be mounted.
    """
    path, _, mode = text.rpartition(":")
    if not is_clean(path) or mode not in ("ro", "rw"):
        raise ValueError('must be absolute paths without "." or "..", each with its mode, such as "/srv/shared:ro"')
    if _reaches(path, NEVER) or any(is_below(folder, [path]) for folder in NEVER_WRITABLE):
        raise ValueError(f"must not hold {path}, which is the host itself or the engine's")
    if mode == "rw" and is_below(path, NEVER_WRITABLE):
        raise ValueError(f"must not hold {path} with mode rw, since the host runs what is there")
    return HostPath(path, mode == "ro")


def mistake(paths: tuple[HostPath, ...], own: tuple[str, ...]) -> str | None:
    """What is wrong with host paths that are each allowed.

    Args:
        paths: of the policy.
        own: the agent's and the engine's files.
    """
    for listed in paths:
        if _reaches(listed.path, own):
            return f"must not hold {listed.path}, where the agent's or the engine's own files are"
        if any(other.path != listed.path and is_below(listed.path, [other.path]) for other in paths):
            # Whoever can write the outer one could make the inner one a link to anywhere.
            return f"must not hold {listed.path}, which is inside another path of the list"
    return None


def _reaches(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is, is inside of, or holds one of these."""
    return any(is_below(path, [folder]) or is_below(folder, [path]) for folder in folders)
