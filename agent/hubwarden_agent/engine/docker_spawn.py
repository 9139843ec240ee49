"""Docker's side of `spawn_port`: creating, starting and stopping containers, commands in them, and images.

Invariants: as in `docker_engine`. What is sent to create a container is built from a `ContainerSpec` alone, field by
field.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from hubwarden_agent.clock import Clock
from hubwarden_agent.engine import image_pull
from hubwarden_agent.engine.docker_engine import DockerEngine, or_none
from hubwarden_agent.engine.options import DEFAULTS, HOST
from hubwarden_agent.engine.port import Container, EngineError, Mount
from hubwarden_agent.engine.spawn_port import ContainerSpec, Image
from hubwarden_agent.names import ContainerId

EXEC_POLL_SECONDS = 0.05
"""Between two looks at whether a command has ended: Docker has no call that waits for one without its output."""
CPU_PERIOD = 100_000
"""Microseconds of a scheduling period (`HostConfig.CpuPeriod`, Docker's own default)."""

_WITHIN = frozenset(
    {"Memory", "MemorySwap", "MemoryReservation", "MemorySwappiness", "NanoCpus", "CpuPeriod", "CpuQuota", "CpuShares"}
    | {"PidsLimit", "LogConfig"}
)
"""What of `HostConfig` gives a container nothing of the host: limits, and where its output goes."""

UNASKED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "CgroupnsMode": ("private", "host"),  # the second where the host has cgroups v1
        "ConsoleSize": ([0, 0],),
        "IpcMode": ("private", "shareable"),
        "RestartPolicy": ({"Name": "no", "MaximumRetryCount": 0}, {"Name": "", "MaximumRetryCount": 0}),
        "Runtime": ("runc",),
        "SecurityOpt": (["no-new-privileges"],),
        "ShmSize": (64 * 1024**2,),
    }
)
"""Values of `HostConfig` that Docker 20.10 to 26.1 sets where nobody asked for anything."""

KERNEL_PATHS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "MaskedPaths": frozenset(
            {"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"}
            | {"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"}
        ),
        "ReadonlyPaths": frozenset({"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}),
    }
)
"""Paths of the kernel that Docker keeps from every container that is not privileged; newer ones keep more."""


class DockerSpawnEngine(DockerEngine):
    """`DockerEngine` for an agent with a spawn gateway.

    Args:
        host: as for `DockerEngine`.
        timeout: likewise.
        change_timeout: likewise.
        clock: says how long a command was waited for.
        timed: as for `DockerEngine`.
    """

    def __init__(
        self,
        host: str,
        timeout: int,
        change_timeout: int,
        clock: Clock,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__(host, timeout, change_timeout, timed)
        self._clock = clock

    def containers_labelled(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """See `SpawnEngine.containers_labelled`."""
        return self._listed({"label": [f"{key}={value}" for key, value in labels.items()]})

    def start_container(self, container: ContainerId) -> None:
        """See `SpawnEngine.start_container`."""
        with self._asking():
            self._clients.changing.start(container.value)

    def stop_container(self, container: ContainerId, stop_timeout: int) -> None:
        """See `SpawnEngine.stop_container`."""
        with self._asking():
            self._clients.changing.stop(container.value, timeout=stop_timeout)

    def create_container(self, spec: ContainerSpec) -> ContainerId:
        """See `SpawnEngine.create_container`."""
        body = create_body(spec)
        with self._asking():
            return ContainerId(self._clients.changing.create_container_from_config(body, spec.name.value)["Id"])

    def run_in_container(self, container: ContainerId, command: tuple[str, ...], seconds: float) -> int | None:
        """See `SpawnEngine.run_in_container`. Nobody attaches, so Docker holds nothing for a command's output."""
        with self._asking():
            changing = self._clients.changing
            identifier = str(changing.exec_create(container.value, list(command), stdout=False, stderr=False)["Id"])
            changing.exec_start(identifier, detach=True)
        give_up_at = self._clock.monotonic() + seconds
        while (status := self._exit_status(identifier)) is None and self._clock.monotonic() < give_up_at:
            time.sleep(EXEC_POLL_SECONDS)
        return status

    def volume_names(self) -> tuple[str, ...]:
        """See `SpawnEngine.volume_names`."""
        with self._asking():
            return tuple(volume["Name"] for volume in self._clients.reading.volumes()["Volumes"] or ())

    def image(self, reference: str) -> Image | None:
        """See `SpawnEngine.image`."""
        with self._asking():
            return or_none(lambda: image(self._clients.reading.inspect_image(reference)))

    def pull_image(self, reference: str) -> None:
        """See `SpawnEngine.pull_image`."""
        with self._asking():
            image_pull.pull(self._clients.changing, reference)

    def _read(self, data: Mapping[str, Any]) -> Container:
        return replace(super()._read(data), host_config=asked_of_the_host(data))

    def _exit_status(self, identifier: str) -> int | None:
        with self._asking():
            shown = self._clients.reading.exec_inspect(identifier)
            return None if shown["Running"] else int(shown["ExitCode"])


def asked_of_the_host(data: Mapping[str, Any]) -> dict[str, Any]:
    """`Container.host_config`. Where an absence asks for something, there is an entry that no value of Docker's can be.

    Args:
        data: `GET /containers/{id}/json`.
    """
    host = data.get("HostConfig") or {}
    networks = (data.get("NetworkSettings") or {}).get("Networks") or {}
    asked = {
        key: value
        for key, value in host.items()
        if value and key not in _WITHIN and value not in UNASKED.get(key, ()) and key not in KERNEL_PATHS
    }
    bare = {key: "not all of Docker's" for key, paths in KERNEL_PATHS.items() if not paths <= set(host.get(key) or ())}
    others = sorted(networks.keys() - {host.get("NetworkMode")})
    return asked | bare | ({"Networks": others} if others else {})


def image(data: Mapping[str, Any]) -> Image:
    """`GET /images/{reference}/json`."""
    config = data.get("Config") or {}
    return Image(
        id=data["Id"],
        tags=tuple(data.get("RepoTags") or ()),
        command=tuple(config.get("Cmd") or ()),
        user=config.get("User") or "",
        labels=config.get("Labels") or {},
        volumes=tuple(config.get("Volumes") or ()),
        healthcheck=config.get("Healthcheck") not in (None, {}, {"Test": ["NONE"]}),
        working_dir=config.get("WorkingDir") or "",
    )


def create_body(spec: ContainerSpec) -> dict[str, Any]:
    """The body of `POST /containers/create`, from validated values only.

    Raises:
        EngineError: an option or a mount is none that a container may have.
    """
    if not spec.options.keys() <= DEFAULTS.keys():
        raise EngineError("an option that is not in the table")
    in_host = {key for key in spec.options if key.startswith(HOST)}
    host_options = {key.removeprefix(HOST): spec.options[key] for key in in_host}
    return {
        **{key: value for key, value in spec.options.items() if key not in in_host},
        "Image": spec.image,
        "Env": list(spec.environment),
        "Cmd": list(spec.command),
        "Labels": dict(spec.labels),
        "ExposedPorts": {port: {} for port in spec.exposed_ports},
        "HostConfig": {
            **host_options,
            "NetworkMode": spec.network,
            "Mounts": [mount_body(mount) for mount in spec.mounts],
            "Memory": spec.memory,
            "MemorySwap": spec.memory,  # unset, Docker would allow as much swap again
            "CpuPeriod": CPU_PERIOD,
            "CpuQuota": round(spec.cpus * CPU_PERIOD),
            "PidsLimit": spec.pids,
            "AutoRemove": spec.auto_remove,
            "PortBindings": {port: [{"HostIp": spec.publish_address, "HostPort": ""}] for port in spec.published},
            "SecurityOpt": ["no-new-privileges"],
        },
    }


def mount_body(mount: Mount) -> dict[str, Any]:
    """A mount. Of a host path, neither what is mounted below it nor what is mounted there later comes with it."""
    body = {"Type": mount.kind, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.kind == "volume" and mount.volume:
        return body | {"Source": mount.volume}
    if mount.kind == "bind" and mount.source:
        options = {"Propagation": "rprivate", "NonRecursive": True}
        return body | {"Source": mount.source, "BindOptions": options}
    if mount.kind == "tmpfs" and mount.size:
        return body | {"TmpfsOptions": {"SizeBytes": mount.size, "Mode": mount.mode}}
    raise EngineError("only named volumes, host paths and bounded file systems in memory are mounted")
