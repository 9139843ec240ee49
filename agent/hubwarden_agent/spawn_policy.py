"""`[spawn]`: what the gateway lets a Hub spawn, and its keys. docs/spawn-policy.md explains each to an operator.

Invariants: an empty list allows nothing, and values that could never be allowed are refused at the start.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from hubwarden_agent import host_paths, image_references, mount_keys, spawn_allow
from hubwarden_agent.config_checks import Key, empty_or, number, rate, several, size, text, words
from hubwarden_agent.mount_targets import Target
from hubwarden_agent.rates import Rate, parse_rate
from hubwarden_agent.spawn_allow import TMPFS, TmpfsMount


@dataclass(frozen=True, slots=True)
class SpawnPolicy:
    """What the gateway lets a Hub spawn. Empty lists allow nothing; sizes are in bytes. See docs/spawn-policy.md.

    `volumes` maps the template of a volume's name to its target in the container.
    """

    images: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    pull: tuple[str, ...] = ()
    volumes: Mapping[str, str] = field(default_factory=dict)
    max_memory: int = 4 * 1024**3
    max_cpus: float = 2.0
    max_pids: int = 1024
    max_containers: int = 200
    max_creates: Rate = field(default_factory=lambda: parse_rate("60/minute"))
    labels: Mapping[str, str] = field(default_factory=dict)
    publish: str = ""
    adopt: Literal["off", "by-name"] = "off"
    max_volumes: int = 1000
    host_paths: tuple[host_paths.HostPath, ...] = ()
    exec: tuple[tuple[str, ...], ...] = ()
    allow: tuple[spawn_allow.Allowed[Any, Any], ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every target of the policy."""
        return targets(self.volumes, self.host_paths, self.allow)

    @property
    def tmpfs(self) -> tuple[TmpfsMount, ...]:
        """The file systems in memory that a container may mount."""
        return tuple(one.value for one in self.allow if one.field == TMPFS)


def targets(
    volumes: Mapping[str, str],
    paths: tuple[host_paths.HostPath, ...],
    allow: tuple[spawn_allow.Allowed[Any, Any], ...],
) -> tuple[Target, ...]:
    """The targets of `spawn.volumes`, `spawn.host_paths` and `spawn.allow`."""
    return (
        *(Target("spawn.volumes", volume, path) for volume, path in volumes.items()),
        *(Target("spawn.host_paths", one.source, one.target) for one in paths),
        *(Target("spawn.allow", "a file system in memory", one.value.Target) for one in allow if one.field == TMPFS),
    )


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(text(r".{1,45}", "an address")(value)))
    except ValueError as error:
        raise ValueError("must be an IP address of this host") from error


def _labels(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(label, str) for label in value.values()):
        raise ValueError('must be a table of texts such as {"team" = "physics"}')
    if any(key.startswith("hubwarden.") for key in value):
        raise ValueError("must not hold hubwarden.* labels, which are the agent's own")
    return MappingProxyType(dict(value))


_any_text = text(r"[^\x00-\x1f]{1,4096}", "text")
_command = words(_any_text)
_reference = text(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}", "an exact image reference")

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")


def _image(value: Any) -> str:
    image = str(_reference(value))
    if image_references.is_ambiguous(image):
        wanted = "name an image with a tag or a whole id: Docker could take it for the beginning of any image's id"
        raise ValueError(f"{image} must {wanted}")
    return image


def _pullable(value: Any) -> str:
    """A reference whose content somebody known decides: a registry by its host, or a digest.

    Docker asks the default public registry for any other name, and the owner of the name there decides.
    """
    image = _image(value)
    host, slash, _ = image.partition("/")
    if not (slash and (host == "localhost" or "." in host or ":" in host)) and not _DIGEST.search(image):
        raise ValueError(f"{image} must begin with a registry's host, such as registry.example.org/, or have a digest")
    return image


SPAWN_KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "spawn.images": Key([], several(_image)),
        "spawn.networks": Key(
            [],
            several(text(r"(?!host$)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", "a network's name, and not the host's own")),
        ),
        "spawn.pull": Key([], several(_pullable)),
        "spawn.volumes": Key(
            {
                "jupyterlab-{username}_home": "/home/jovyan",
                "jupyterlab-{username}_workspace": "/workspace",
                "jupyterlab-{username}_cache": "/cache",
            },
            mount_keys.volumes,
        ),
        "spawn.host_paths": Key([], mount_keys.paths),
        "spawn.max_memory": Key("4g", size),
        "spawn.max_cpus": Key(2.0, number(0.01, 1024, float)),
        "spawn.max_pids": Key(1024, number(1, 4194304)),
        "spawn.max_containers": Key(200, number(1, 100000)),
        "spawn.max_volumes": Key(1000, number(1, 1000000)),
        "spawn.max_creates": Key("60/minute", rate),
        "spawn.labels": Key({}, _labels),
        "spawn.publish": Key("", empty_or(_address)),
        "spawn.exec": Key([], several(_command)),
        "spawn.allow": Key([], spawn_allow.parse),
        "spawn.adopt": Key("off", text("off|by-name", '"off" or "by-name"')),
    }
)
"""Key -> default and check, as in `config_keys`."""
