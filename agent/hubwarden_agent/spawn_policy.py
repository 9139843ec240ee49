"""`[spawn]`: what the gateway lets a Hub spawn. docs/spawn-policy.md explains each key to an operator.

Invariants: an empty list allows nothing, and values that could never be allowed are refused at the start.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hubwarden_agent import image_references
from hubwarden_agent.config_types import Distinct, RateText, Size, Table, Words, matching
from hubwarden_agent.host_paths import CleanPath, MountablePath
from hubwarden_agent.mount_targets import Target
from hubwarden_agent.names import placeholder_mistake
from hubwarden_agent.rates import Rate
from hubwarden_agent.spawn_allow import Allow, TmpfsMount

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")


def _image(image: str) -> str:
    if image_references.is_ambiguous(image):
        raise ValueError("must be a name with a tag or a whole id: Docker could take it for the beginning of any id")
    return image


def _pullable(image: str) -> str:
    """A reference whose content somebody known decides: a registry by its host, or a digest.

    Docker asks the default public registry for any other name, and the owner of the name there decides.
    """
    host, slash, _ = image.partition("/")
    if not (slash and (host == "localhost" or "." in host or ":" in host)) and not _DIGEST.search(image):
        raise ValueError("must begin with a registry's host, such as registry.example.org/, or have a digest")
    return image


def _template(name: str) -> str:
    if mistake := placeholder_mistake(name, ("username",)):
        raise ValueError(mistake)
    return name


def _label(key: str) -> str:
    if key.startswith("hubwarden."):
        raise ValueError("hubwarden.* labels are the agent's own")
    return key


def _address(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address)) if address else ""
    except ValueError as error:
        raise ValueError("must be an IP address of this host") from error


Reference = Annotated[
    str, matching(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,254}", "an exact image reference"), AfterValidator(_image)
]
# Where no network has such a name, Docker takes hexadecimal digits for the beginning of another network's id.
Network = Annotated[
    str, matching(r"(?!(host|[0-9a-f]{1,63})$)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", "a network's name, not host or hex")
]
VOLUMES = {
    "jupyterlab-{username}_home": "/home/jovyan",
    "jupyterlab-{username}_workspace": "/workspace",
    "jupyterlab-{username}_cache": "/cache",
}


@dataclass(frozen=True, slots=True)
class SpawnPolicy(Table):
    """What the gateway lets a Hub spawn. Empty lists allow nothing; sizes are in bytes. See docs/spawn-policy.md.

    `volumes` maps the template of a volume's name to its target in the container.
    """

    images: Distinct[Reference] = ()
    networks: Distinct[Network] = ()
    pull: Distinct[Annotated[Reference, AfterValidator(_pullable)]] = ()
    volumes: Mapping[Annotated[str, AfterValidator(_template)], CleanPath] = field(default_factory=VOLUMES.copy)
    host_paths: tuple[MountablePath, ...] = ()
    max_memory: Size = 4 * 1024**3
    max_cpus: Annotated[float, Field(ge=0.01, le=1024, allow_inf_nan=False)] = 2.0
    max_pids: Annotated[int, Field(ge=1, le=4194304)] = 1024
    max_containers: Annotated[int, Field(ge=1, le=100000)] = 200
    max_volumes: Annotated[int, Field(ge=1, le=1000000)] = 1000
    max_creates: RateText = Rate(60, 60)
    labels: Mapping[Annotated[str, AfterValidator(_label)], str] = field(default_factory=dict)
    publish: Annotated[str, AfterValidator(_address)] = ""
    adopt: Literal["off", "by-name"] = "off"
    exec: Distinct[Words] = ()
    allow: Distinct[Allow] = ()

    @property
    def tmpfs(self) -> tuple[TmpfsMount, ...]:
        """The file systems in memory that a container may mount."""
        return tuple(one.value for one in self.allow if isinstance(one.value, TmpfsMount))

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every target of the policy."""
        return (
            *(Target("spawn.volumes", volume, path) for volume, path in self.volumes.items()),
            *(Target("spawn.host_paths", one.source, one.target) for one in self.host_paths),
            *(Target("spawn.allow", "a file system in memory", one.Target) for one in self.tmpfs),
        )
