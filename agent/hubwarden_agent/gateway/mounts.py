"""What a create mounts: the spellings that docker-py has for it, and what the policy makes of them.

What holds here: pure. A mount is a volume of the user's own, a path of the host that the policy lists with this very
mode, or a bounded file system in memory that it lists; each at a clean path that leads through no other mount. Options
that could make it anything else have no field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hubwarden_agent import host_paths
from hubwarden_agent.engine.options import Tmpfs
from hubwarden_agent.engine.port import Mount
from hubwarden_agent.gateway.decoders import Field, count, empty, fields_of, flag, items, keys, text
from hubwarden_agent.gateway.refusals import field_refused, not_listed
from hubwarden_agent.host_paths import HostPath
from hubwarden_agent.spawn_policy import SpawnPolicy

MAX_MOUNTS = 16
_ANY_KEY = re.compile(r".+", re.DOTALL)
_BIND_MODES = {"rw": False, "ro": True}
_KINDS = frozenset({"volume", "bind", "tmpfs"})


@dataclass(frozen=True, slots=True)
class MountRequest:
    """One mount as it was asked for: `source` is a volume's name or a path of the host."""

    kind: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    size: int = 0
    mode: int = 0


def inner_path(value: object, name: str) -> str:
    """A path in the container that Docker and we read alike: absolute, clean, and not the root."""
    path = text(value, name)
    if not host_paths.is_clean(path):
        raise field_refused(name, "must be an absolute path without '.', '..', '//', ':' or a '/' at its end")
    return path


def _bind(value: object, name: str) -> MountRequest:
    """`source:target[:mode]`; labels, propagation and nocopy are modes too, and none of them is taken."""
    parts = text(value, name).split(":")
    if len(parts) not in (2, 3) or (mode := (*parts, "rw")[2]) not in _BIND_MODES:
        raise field_refused(name, "must be source:target, source:target:rw or source:target:ro")
    kind = "bind" if "/" in parts[0] else "volume"
    return MountRequest(kind, parts[0], inner_path(parts[1], name), _BIND_MODES[mode])


def _mount(value: object, name: str) -> MountRequest:
    fields = fields_of(MOUNT, value, name)
    bounds: dict[str, Any] = fields.pop("bounds", {})
    mount = MountRequest(**fields, **bounds)
    if not mount.target or not mount.kind:
        raise field_refused(name, "must have a Type and a Target")
    if bounds and mount.kind != "tmpfs":
        raise field_refused(f"{name}.TmpfsOptions", "are for the type tmpfs")
    return mount


def _kind(value: object, name: str) -> str:
    if text(value, name) not in _KINDS:
        raise field_refused(name, 'must be "volume", "bind" or "tmpfs"')
    return str(value)


def _private(value: object, name: str) -> None:
    """What every bind gets; the others would let mounts through, one way or the other."""
    if value not in ("", "rprivate"):
        raise field_refused(name, 'must be "rprivate"')


BIND_OPTIONS: Mapping[str, Field] = MappingProxyType({"Propagation": Field(_private)})
"""`HostConfig.Mounts[n].BindOptions`."""

TMPFS_OPTIONS: Mapping[str, Field] = MappingProxyType({"SizeBytes": Field(count, "size"), "Mode": Field(count, "mode")})
"""`HostConfig.Mounts[n].TmpfsOptions`."""

MOUNT: Mapping[str, Field] = MappingProxyType(
    {
        "Type": Field(_kind, "kind"),
        "Source": Field(text, "source"),
        "Target": Field(inner_path, "target"),
        "ReadOnly": Field(flag, "read_only"),
        "VolumeOptions": Field(empty),  # labels, drivers and NoCopy are in here
        "BindOptions": Field(lambda value, name: fields_of(BIND_OPTIONS, value, name)),
        "TmpfsOptions": Field(lambda value, name: fields_of(TMPFS_OPTIONS, value, name), "bounds"),
    }
)
"""`HostConfig.Mounts[n]`."""

decode_binds = items(_bind, MAX_MOUNTS)
"""`HostConfig.Binds`."""

decode_mounts = items(_mount, MAX_MOUNTS)
"""`HostConfig.Mounts`."""


def decode_mount_points(value: object, name: str) -> tuple[str, ...]:
    """`Volumes`: the paths that a create declares as volumes."""
    return tuple(inner_path(path, name) for path in keys(_ANY_KEY, "a path", MAX_MOUNTS)(value, name))


def allowed(
    binds: tuple[MountRequest, ...],
    mounts: tuple[MountRequest, ...],
    mount_points: tuple[str, ...],
    own: set[str],
    policy: SpawnPolicy,
) -> tuple[Mount, ...]:
    """Decide over what is to be mounted.

    Args:
        binds: from `HostConfig.Binds`.
        mounts: from `HostConfig.Mounts`.
        mount_points: from `Volumes`.
        own: the names of the user's own volumes.
        policy: the operator's.

    Raises:
        GatewayRefusal: 400, naming the field.
    """
    decided = [_allowed(mount, own, policy, "HostConfig.Binds") for mount in binds]
    decided += [_allowed(mount, own, policy, "HostConfig.Mounts") for mount in mounts]
    targets = [mount.target for mount in decided]
    if len(set(targets)) != len(targets):
        raise field_refused("HostConfig.Binds", "and HostConfig.Mounts mount twice at the same path")
    if any(inner != outer and host_paths.is_below(inner, [outer]) for outer in targets for inner in targets):
        # What the outer one holds is the user's: a link in it would lead the inner one to any path.
        raise field_refused("HostConfig.Binds", "and HostConfig.Mounts mount one volume inside another")
    if not set(mount_points) <= set(targets):
        raise field_refused("Volumes", "has a path at which nothing is mounted, which would be a volume without a name")
    return tuple(decided)


def _allowed(mount: MountRequest, own: set[str], policy: SpawnPolicy, field: str) -> Mount:
    if host_paths.is_below(mount.target, host_paths.KERNEL_PATHS):
        raise field_refused(field, f"mounts over one of {', '.join(host_paths.KERNEL_PATHS)}")
    if mount.kind == "tmpfs":
        if mount.source or mount.read_only or Tmpfs(mount.target, mount.size, mount.mode) not in policy.tmpfs:
            raise not_listed(field, mount, "tmpfs", "mounts a file system in memory")
        return Mount("tmpfs", mount.target, size=mount.size, mode=mount.mode)
    if mount.kind == "bind":
        if HostPath(mount.source, mount.read_only) not in policy.host_paths:
            raise not_listed(field, mount, "host_paths", "mounts a path of the host with a mode")
        return Mount("bind", mount.target, mount.read_only, source=mount.source)
    if mount.source not in own:
        raise not_listed(field, mount, "volumes", "mounts something other than the user's own volumes")
    return Mount("volume", mount.target, mount.read_only, volume=mount.source)
