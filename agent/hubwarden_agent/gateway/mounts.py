"""What a container mounts: docker-py's spellings of a mount, and the decision over each.

Invariants: pure. A mount is one of the user's own volumes, a path of the host or a bounded file system in memory; the
policy says each with its one target, and a request chooses among them. It may only ask for read-only in place of
read-write. Options that could make a mount anything else have no field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from hubwarden_agent.engine.port import Mount
from hubwarden_agent.errors import Reason
from hubwarden_agent.gateway.refusals import GatewayRefusal, field_refused, not_listed
from hubwarden_agent.gateway.schema import Count, Nothing, Object, Text
from hubwarden_agent.gateway.strict_json import text_is_fit
from hubwarden_agent.names import Names, Username
from hubwarden_agent.spawn_policy import SpawnPolicy

_BIND_MODES = {"rw": False, "ro": True}
_KEYS = {
    "volume": ("volumes", "mounts a volume"),
    "bind": ("host_paths", "mounts a path of the host"),
    "tmpfs": ("allow", "mounts a file system in memory"),
}
"""Kind -> the key of `[spawn]` that would allow it, and what the mount does."""

ANONYMOUS = re.compile(r"[0-9a-f]{64}")
"""What Docker calls a volume that only the image asked for (`VOLUME`)."""

Offered = Mapping[tuple[str, str], Mount]
"""What one user's containers may mount, each with its target, by kind and source."""


@dataclass(frozen=True, slots=True)
class MountRequest:
    """One mount as it was asked for: `source` is a volume's name or a path of the host."""

    kind: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    size: int = 0
    mode: int = 0


def _bind(value: object) -> MountRequest:
    """`source:target[:mode]`; labels, propagation and nocopy are modes too, and none of them is taken."""
    parts = value.split(":") if isinstance(value, str) and text_is_fit(value) else []
    if len(parts) not in (2, 3) or (mode := (*parts, "rw")[2]) not in _BIND_MODES:
        raise ValueError("must be source:target, source:target:rw or source:target:ro")
    kind = "bind" if "/" in parts[0] else "volume"
    return MountRequest(kind, parts[0], parts[1], _BIND_MODES[mode])


Bind = Annotated[MountRequest, BeforeValidator(_bind)]
"""`HostConfig.Binds[n]`."""


class MountBindOptions(Object):
    """`HostConfig.Mounts[n].BindOptions`: what every bind gets; the others would let mounts through."""

    Propagation: Literal["", "rprivate"] = ""


class MountTmpfsOptions(Object):
    """`HostConfig.Mounts[n].TmpfsOptions`."""

    SizeBytes: Count = 0
    Mode: Count = 0


class MountObject(Object):
    """`HostConfig.Mounts[n]`."""

    Type: Literal["volume", "bind", "tmpfs"]
    Source: Text = ""
    Target: Annotated[Text, Field(min_length=1)]
    ReadOnly: bool = False
    VolumeOptions: Nothing = ""  # labels, drivers and NoCopy are in here
    BindOptions: MountBindOptions = MountBindOptions()
    TmpfsOptions: MountTmpfsOptions = MountTmpfsOptions()

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.TmpfsOptions.model_fields_set and self.Type != "tmpfs":
            raise ValueError("has TmpfsOptions, which are for the type tmpfs")
        return self

    @property
    def request(self) -> MountRequest:
        """The same as what a bind is read into."""
        bounds = self.TmpfsOptions
        return MountRequest(self.Type, self.Source, self.Target, self.ReadOnly, bounds.SizeBytes, bounds.Mode)


def offered(policy: SpawnPolicy, names: Names, username: Username) -> Offered:
    """Everything that a user's container may mount under the policy."""
    mounts = [
        *(Mount("volume", path, volume=names.volume(name, username).value) for name, path in policy.volumes.items()),
        *(Mount("bind", one.target, one.read_only, source=one.source) for one in policy.host_paths),
        *(
            Mount("tmpfs", one.Target, size=one.TmpfsOptions.SizeBytes, mode=one.TmpfsOptions.Mode)
            for one in policy.tmpfs
        ),
    ]
    return {_key(mount): mount for mount in mounts}


def allowed(
    binds: Iterable[MountRequest], mounts: Iterable[MountRequest], mount_points: Iterable[str], offer: Offered
) -> tuple[Mount, ...]:
    """Decide over what is to be mounted.

    Args:
        binds: from `HostConfig.Binds`.
        mounts: from `HostConfig.Mounts`.
        mount_points: from `Volumes`.
        offer: what the user's containers may mount.

    Raises:
        GatewayRefusal: 400, naming the field.
    """
    decided = [_allowed(mount, offer, "HostConfig.Binds") for mount in binds]
    decided += [_allowed(mount, offer, "HostConfig.Mounts") for mount in mounts]
    targets = {mount.target for mount in decided}
    if len(targets) != len(decided):
        raise field_refused("HostConfig.Binds", "and HostConfig.Mounts mount the same twice")
    if not targets.issuperset(mount_points):
        raise field_refused("Volumes", "has a path at which nothing is mounted, which would be a volume without a name")
    return tuple(decided)


def check_held(mounts: Iterable[Mount], offer: Offered) -> None:
    """Check what a container holds that was created earlier, perhaps under another policy.

    Volumes without a name are accepted: an image declares them, and no request can.

    Raises:
        GatewayRefusal: 400: it mounts something that its user's containers may not mount now.
    """
    for mount in mounts:
        found = offer.get(_key(mount))
        held = found is not None and found.target == mount.target and (mount.read_only or not found.read_only)
        if not held and not ANONYMOUS.fullmatch(mount.volume):
            message = "hubwarden: the container mounts something that the policy does not list there (spawn.volumes)"
            raise GatewayRefusal(message, Reason.NAME_MISMATCH, value=mount)


def _key(mount: Mount | MountRequest) -> tuple[str, str]:
    """What is mounted: a volume and a host path by their source; a file system in memory has only a target."""
    if mount.kind == "tmpfs":
        return mount.kind, mount.target
    return mount.kind, mount.source if isinstance(mount, MountRequest) else mount.volume or mount.source


def _allowed(mount: MountRequest, offer: Offered, field: str) -> Mount:
    key, what = _KEYS[mount.kind]
    found = offer.get(_key(mount))
    if found is None:
        raise not_listed(field, mount, key, what)
    if mount.target != found.target:
        raise not_listed(field, mount, key, f"{what} at a path")
    if mount.kind == "tmpfs" and (
        mount.source or mount.read_only or (mount.size, mount.mode) != (found.size, found.mode)
    ):
        raise not_listed(field, mount, key, f"{what} with values")
    if found.read_only and not mount.read_only:
        raise not_listed(field, mount, key, f"{what} with a mode")
    return replace(found, read_only=mount.read_only)
