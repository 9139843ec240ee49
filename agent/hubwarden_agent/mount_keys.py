"""Checks of `spawn.volumes` and `spawn.host_paths`, which say where something is mounted.

Invariants: pure. All mistakes of a key are raised together, each an argument of the ValueError. The lists of earlier
versions, which left the target to the Hub, are refused with what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import basename
from types import MappingProxyType
from typing import Any

from hubwarden_agent import host_paths
from hubwarden_agent.host_paths import HostPath
from hubwarden_agent.mount_targets import system_folder
from hubwarden_agent.names import placeholder_mistake

_INSTEAD = "write, with the targets of c.DockerSpawner.volumes"


def target(value: Any) -> str:
    """A path in the container."""
    if not isinstance(value, str) or not host_paths.is_clean(value):
        raise ValueError("must be an absolute path in the container, without '.', '..', '//', ':' or a '/' at its end")
    return value


def volumes(value: Any) -> Mapping[str, str]:
    """A table of volume templates and their targets."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        raise ValueError(f"must be a table, because each volume has one target: {_INSTEAD}: {_volumes_table(value)}")
    if not isinstance(value, dict):
        wanted = 'must be a table such as {"jupyterlab-{username}_home" = "/home/jovyan"}'
        raise ValueError(wanted)  # noqa: TRY004 - a mistake in a file, reported with all the others
    errors = []
    for name, path in value.items():
        if mistake := placeholder_mistake(name, ("username",)):
            errors.append(f"{name!r} {mistake}")
        try:
            target(path)
        except ValueError as error:
            errors.append(f"the target of {name!r} {error}")
    if errors:
        raise ValueError(*errors)
    return MappingProxyType(dict(value))


def paths(value: Any) -> tuple[HostPath, ...]:
    """A list of tables of source, target and mode."""
    if not isinstance(value, list):
        raise ValueError("must be a list")  # noqa: TRY004 - a mistake in a file, reported with all the others
    if value and all(isinstance(entry, str) for entry in value):
        tables = ", ".join(_path_table(entry) for entry in value)
        raise ValueError(f"must hold tables, because each path has one target: {_INSTEAD}: host_paths = [{tables}]")
    errors: list[str] = []
    found = []
    for entry in value:
        try:
            found.append(_path(entry))
        except ValueError as error:
            errors.extend(error.args)
    if errors:
        raise ValueError(*errors)
    return tuple(found)


def _path(entry: Any) -> HostPath:
    wanted = 'must hold tables such as { source = "/srv/shared", target = "/shared", mode = "ro" }'
    if not isinstance(entry, dict) or entry.keys() != {"source", "target", "mode"}:
        raise ValueError(wanted)
    source, mode = entry["source"], entry["mode"]
    if not isinstance(source, str) or not host_paths.is_clean(source) or mode not in ("ro", "rw"):
        raise ValueError(f"{wanted}, the source absolute and without '.' or '..', the mode ro or rw")
    host_paths.check_source(source, read_only=mode == "ro")
    try:
        return HostPath(source, target(entry["target"]), mode == "ro")
    except ValueError as error:
        raise ValueError(f"the target of {source} {error}") from error


def _volumes_table(names: list[str]) -> str:
    """`volumes = {...}` for an old list; a target that nothing tells is made of the end of the name."""
    found: dict[str, str] = {}
    for name in names:
        word = re.sub(r"[^a-z0-9]+", "-", name.rpartition("}")[2].lower()).strip("-") or "volume"
        path = "/home/jovyan" if word == "home" else f"/{word}"
        taken = path in found.values() or system_folder(path)
        found[name] = f"/mnt/{word}-{len(found)}" if taken else path
    return "volumes = {" + ", ".join(f'"{name}" = "{path}"' for name, path in found.items()) + "}"


def _path_table(entry: str) -> str:
    """The table for an old entry such as `/srv/shared:ro`."""
    source, _, mode = entry.rpartition(":")
    return f'{{source = "{source}", target = "/mnt/{basename(source)}", mode = "{mode}"}}'
