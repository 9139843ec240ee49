"""Docker's JSON to and from the port's value types. Pure: with `docker_homes`, all that knows Docker's field names.

Invariants: what is sent to Docker is built from a `ContainerSpec` alone, field by field. A field that Docker does not
send is the type's empty value; one that makes no sense is an `EngineError`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hubwarden_agent.engine.options import DEFAULTS, HOST
from hubwarden_agent.engine.port import (
    Container,
    ContainerSpec,
    ContainerState,
    EngineError,
    Image,
    Mount,
    PublishedPort,
    Volume,
)
from hubwarden_agent.names import ContainerId, VolumeName

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

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def time(text: str) -> dt.datetime | None:
    """Docker's time, cut to microseconds; None for its zero time ("never").

    Raises:
        EngineError: that is not a time.
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise EngineError(f"not a time: {text!r}")
    moment, fraction, zone = match.groups()
    if moment.startswith("0001-01-01"):
        return None
    return dt.datetime.fromisoformat(f"{moment}.{(fraction or '')[:6]:0<6}{zone.replace('Z', '+00:00')}")


def container(data: Mapping[str, Any]) -> Container:
    """`GET /containers/{id}/json`.

    Raises:
        EngineError: something in it makes no sense.
    """
    state, config, host = data["State"], data.get("Config") or {}, data.get("HostConfig") or {}
    network = data.get("NetworkSettings") or {}
    created = time(data["Created"])
    if created is None:
        raise EngineError("a container without a time of creation")
    return Container(
        id=ContainerId(data["Id"]),
        name=data["Name"].removeprefix("/"),
        state=_state(state["Status"]),
        created=created,
        started=time(state["StartedAt"]),
        finished=state.get("FinishedAt", ""),
        exit_code=state.get("ExitCode", 0),
        error=state.get("Error", ""),
        out_of_memory=state.get("OOMKilled", False),
        auto_remove=host.get("AutoRemove", False),
        image=config.get("Image", ""),
        image_id=data.get("Image", ""),
        labels=config.get("Labels") or {},
        environment=tuple(config.get("Env") or ()),
        command=tuple(config.get("Cmd") or ()),
        mounts=tuple(_mount(mount) for mount in data.get("Mounts") or ()),
        addresses=_addresses(network.get("Networks") or {}),
        exposed_ports=tuple(config.get("ExposedPorts") or ()),
        ports=tuple(_ports(network.get("Ports") or {})),
        host_config=_asked_of_the_host(host, network.get("Networks") or {}),
    )


def listed_container(data: Mapping[str, Any]) -> Container:
    """An entry of `GET /containers/json`, which has no environment, command or limits; `created` is in whole seconds.

    Raises:
        EngineError: something in it makes no sense.
    """
    # A container with legacy links has a name for each, with a second slash.
    names = [name.removeprefix("/") for name in data.get("Names") or () if name.count("/") == 1]
    return Container(
        id=ContainerId(data["Id"]),
        name=names[0] if names else "",
        state=_state(data["State"]),
        created=dt.datetime.fromtimestamp(data["Created"], dt.UTC),
        image=data.get("Image", ""),
        image_id=data.get("ImageID", ""),
        labels=data.get("Labels") or {},
        mounts=tuple(_mount(mount) for mount in data.get("Mounts") or ()),
    )


def _asked_of_the_host(host: Mapping[str, Any], networks: Mapping[str, Any]) -> dict[str, Any]:
    """Where an absence is what asks for something, there is an entry that no value of Docker's could be."""
    asked = {
        key: value
        for key, value in host.items()
        if value and key not in _WITHIN and value not in UNASKED.get(key, ()) and key not in KERNEL_PATHS
    }
    bare = {key: "not all of Docker's" for key, paths in KERNEL_PATHS.items() if not paths <= set(host.get(key) or ())}
    others = sorted(networks.keys() - {host.get("NetworkMode")})
    return asked | bare | ({"Networks": others} if others else {})


def _state(status: str) -> ContainerState:
    try:
        return ContainerState(status)
    except ValueError as error:
        raise EngineError(f"unknown state {status!r}") from error


def _mount(data: Mapping[str, Any]) -> Mount:
    return Mount(
        kind=data["Type"],
        target=data.get("Destination", ""),
        read_only=not data.get("RW", True),
        volume=data.get("Name", "") if data["Type"] == "volume" else "",
        source=data.get("Source", ""),
    )


def _addresses(networks: Mapping[str, Any]) -> dict[str, str]:
    return {name: network["IPAddress"] for name, network in networks.items() if network.get("IPAddress")}


def _ports(ports: Mapping[str, Any]) -> list[PublishedPort]:
    published: list[PublishedPort] = []
    for key, bindings in ports.items():
        number, _, protocol = key.partition("/")
        published.extend(
            PublishedPort(int(number), protocol, binding["HostIp"], int(binding["HostPort"]))
            for binding in bindings or ()
        )
    return published


def volume(data: Mapping[str, Any]) -> Volume:
    """`GET /volumes/{name}`."""
    return Volume(
        name=VolumeName(data["Name"]),
        driver=data["Driver"],
        scope=data.get("Scope", ""),
        created=data.get("CreatedAt", ""),
        labels=data.get("Labels") or {},
        options=data.get("Options") or {},
    )


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
    )


def runtime_version(data: Mapping[str, Any]) -> str | None:
    """`GET /version`. Docker lists the default runtime under its name, and no other."""
    found = (one for one in data.get("Components") or () if one.get("Name") == "runc")
    return next((str(one["Version"]) for one in found if one.get("Version")), None)


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
