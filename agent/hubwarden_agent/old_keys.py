"""Keys of earlier versions: each is refused, with the operator's own value in the form that replaces it.

Invariants: pure. What cannot be converted is named without a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from posixpath import basename
from types import MappingProxyType
from typing import Any

from hubwarden_agent.mount_targets import system_folder

_INSTEAD = "write, with the targets of c.DockerSpawner.volumes"
Convert = Callable[[Any], Any]


def _renamed(**names: str) -> Convert:
    """A table in docker-py's words, in Docker's own."""
    return lambda value: {names[key]: item for key, item in value.items()}


def _size(value: str) -> int:
    number, unit = re.fullmatch(r"([0-9]+)([mg])", value).groups()  # type: ignore[union-attr] # its absence is caught
    return int(number) * {"m": 1024**2, "g": 1024**3}[unit]


def _tmpfs(value: Mapping[str, Any]) -> dict[str, Any]:
    options = {"SizeBytes": _size(value["size"])} | ({"Mode": value["mode"]} if "mode" in value else {})
    return {"Type": "tmpfs", "Target": value["target"], "TmpfsOptions": options}


_SPAWN: Mapping[str, tuple[str, Convert]] = MappingProxyType(
    {
        "users": ("User", str),
        "hostnames": ("Hostname", str),
        "working_dirs": ("WorkingDir", str),
        "entrypoints": ("Entrypoint", list),
        "healthchecks": (
            "Healthcheck",
            _renamed(
                test="Test", interval="Interval", timeout="Timeout", retries="Retries", start_period="StartPeriod"
            ),
        ),
        "shm_sizes": ("HostConfig.ShmSize", _size),
        "ulimits": ("HostConfig.Ulimits", _renamed(name="Name", soft="Soft", hard="Hard")),
        "restart_policies": (
            "HostConfig.RestartPolicy",
            _renamed(name="Name", maximum_retry_count="MaximumRetryCount"),
        ),
        "log_configs": ("HostConfig.LogConfig", _renamed(type="Type", config="Config")),
        "device_requests": (
            "HostConfig.DeviceRequests",
            _renamed(driver="Driver", count="Count", device_ids="DeviceIDs", capabilities="Capabilities"),
        ),
        "tmpfs": ("HostConfig.Mounts", _tmpfs),
    }
)
"""Key of `[spawn]` -> the field of `[[spawn.allow]]`, and how one entry becomes its value."""


_GONE = (("limits", "max_concurrent"), ("audit", "file"))


def take(document: dict[str, Any]) -> list[str]:
    """Remove the keys of earlier versions from a document; one sentence for each, beginning with its key."""
    found = [
        f"{table}.{key}: no longer exists; remove it"
        for table, key in _GONE
        if isinstance(keys := document.get(table), dict) and keys.pop(key, None) is not None
    ]
    spawn = document.get("spawn")
    if not isinstance(spawn, dict):
        return found
    found += [
        f"spawn.{key}: {_replacement(field, convert, spawn.pop(key))}"
        for key, (field, convert) in _SPAWN.items()
        if key in spawn
    ]
    for key, table in (("volumes", _volumes_table), ("host_paths", _path_tables)):
        values = spawn.get(key)
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
            found.append(f"spawn.{key}: each has one target now: {_INSTEAD}: {table(spawn.pop(key))}")
    return found


def _replacement(field: str, convert: Convert, values: Any) -> str:
    if values == []:
        return "has been replaced by [[spawn.allow]]; an empty list needs no entry"
    try:
        entries = [_entry(field, convert(value)) for value in values]
    except (AttributeError, KeyError, TypeError, ValueError):
        entries = [f'[[spawn.allow]]\nfield = "{field}"\nvalue = ...']
    return "\n".join(["has been replaced; write instead:", *entries])


def _entry(field: str, value: Any) -> str:
    return f'[[spawn.allow]]\nfield = "{field}"\nvalue = {_toml(value)}'


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if not isinstance(value, str | int):
        raise TypeError("nothing that an entry holds")
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _volumes_table(names: list[str]) -> str:
    """`volumes = {...}` for an old list; a target that nothing tells is made of the end of the name."""
    found: dict[str, str] = {}
    for name in names:
        word = re.sub(r"[^a-z0-9]+", "-", name.rpartition("}")[2].lower()).strip("-") or "volume"
        path = "/home/jovyan" if word == "home" else f"/{word}"
        taken = path in found.values() or system_folder(path)
        found[name] = f"/mnt/{word}-{len(found)}" if taken else path
    return "volumes = {" + ", ".join(f'"{name}" = "{path}"' for name, path in found.items()) + "}"


def _path_tables(entries: list[str]) -> str:
    """`host_paths = [...]` for old entries such as `/srv/shared:ro`."""
    parts = [entry.rpartition(":") for entry in entries]
    tables = [
        f'{{source = "{source}", target = "/mnt/{basename(source)}", mode = "{mode}"}}' for source, _, mode in parts
    ]
    return f"host_paths = [{', '.join(tables)}]"
