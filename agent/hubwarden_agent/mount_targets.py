"""Targets: the paths in a container at which the policy mounts something.

Invariants: pure. Paths are compared as text, because the agent cannot look into an image. The operator chooses every
target, so these checks find mistakes of the operator; a Hub has no choice that they could miss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from posixpath import dirname

from hubwarden_agent.host_paths import is_below

SYSTEM_FOLDERS = (
    # The kernel's files and devices. The runtime mounts them, and opens some of them as root before the container runs.
    *("/proc", "/sys", "/dev"),
    # Docker mounts files here (hosts, resolv.conf), and the runtime reads users and groups here.
    "/etc",
    # Programs, their loader and libraries, which the container's first process may run as root.
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr"),
    # Sockets. Images link the second to the first, so a target in one of them is a target in the other.
    *("/run", "/var/run"),
)
"""No target lies in one of these or holds one: the runtime or Docker uses them before a user's process is confined."""

FOLDERS_OF_ROOT = frozenset({"/", "/home", "/media", "/mnt", "/opt", "/srv"})
"""Folders that belong to root in any usual image, so that no user can replace what lies directly in them."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target of the policy: the key that names it, what is mounted, and the path."""

    key: str
    source: str
    path: str


def system_folder(path: str) -> str | None:
    """The system folder that a clean path is in, or that it holds; None if there is none."""
    return next((folder for folder in SYSTEM_FOLDERS if _meet(path, folder)), None)


def errors(targets: Sequence[Target]) -> list[str]:
    """One sentence for each target that the policy must not have, beginning with its key."""
    found = [
        f"{target.key}: the target {target.path} is in or above the container's system folder {folder}"
        for target in targets
        if (folder := system_folder(target.path))
    ]
    for first, second in combinations(targets, 2):
        if first.path == second.path:
            found.append(f"{second.key}: {second.source} has the same target as {first.source}: {first.path}")
        elif _meet(first.path, second.path):
            inner, outer = (first, second) if is_below(first.path, [second.path]) else (second, first)
            found.append(f"{inner.key}: the target {inner.path} is inside {outer.path}, the target of {outer.source}")
    return found


def warnings(targets: Iterable[Target]) -> list[str]:
    """One sentence for each target whose parent folder may belong to a user, beginning with its key."""
    return [
        f"{target.key}: the target {target.path} is safe only if {dirname(target.path)} and all above it belong "
        "to root in each image: a user who replaces one by a link chooses where this is mounted at the next start"
        for target in targets
        if dirname(target.path) not in FOLDERS_OF_ROOT
    ]


def _meet(first: str, second: str) -> bool:
    return is_below(first, [second]) or is_below(second, [first])
