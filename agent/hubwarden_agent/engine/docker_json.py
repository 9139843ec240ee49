"""Docker's JSON to and from the port's value types. Pure, and the only place that knows Docker's field names.

What holds here: what is sent to Docker is built from a `ContainerSpec` alone, field by field, or is the one body of a
helper container, in which only the volume, the image and the direction vary. A field that Docker does
not send is the type's empty value; one that makes no sense is an `EngineError`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from hubwarden_agent.engine.port import (
    HELPER_LABEL,
    Container,
    ContainerSpec,
    ContainerState,
    EngineError,
    Helper,
    Image,
    Mount,
    PublishedPort,
    Version,
    Volume,
    VolumeSize,
)
from hubwarden_agent.names import ContainerId, VolumeName

CPU_PERIOD = 100_000
"""Microseconds of a scheduling period (`HostConfig.CpuPeriod`, Docker's own default)."""

HOME = "/home-volume"
"""Where a helper sees the one volume that it is given."""
_TAR = (
    "/usr/bin/tar",
    f"--directory={HOME}",
    "--file=-",
    "--blocking-factor=128",  # 64 KiB, what a pipe holds
    "--totals",
    "--numeric-owner",
    "--acls",
    "--xattrs",
    "--xattrs-include=*",
)
_ARCHIVE = (
    *_TAR,
    "--create",
    "--format=posix",
    "--pax-option=delete=atime,delete=ctime",  # reading would make every backup another one, and neither comes back
    "--sparse",
    "--one-file-system",
    ".",
)
_EXTRACT = (*_TAR, "--extract", "--same-owner", "--same-permissions", "--delay-directory-restore")
_READS = ("DAC_READ_SEARCH",)
_WRITES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
_HELPER_MEMORY = 256 * 1024**2
_HELPER_PIDS = 8

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
    )


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
    return Image(data["Id"], tuple(data.get("RepoTags") or ()), tuple(config.get("Cmd") or ()))


def version(data: Mapping[str, Any]) -> Version:
    """`GET /version`."""
    return Version(data["Version"], data["ApiVersion"], data.get("MinAPIVersion", ""), data["Os"], data["Arch"])


def create_body(spec: ContainerSpec) -> dict[str, Any]:
    """The body of `POST /containers/create`, from validated values only."""
    return {
        "Image": spec.image,
        "Env": list(spec.environment),
        "Cmd": list(spec.command),
        "Labels": dict(spec.labels),
        "ExposedPorts": {port: {} for port in spec.exposed_ports},
        "HostConfig": {
            "NetworkMode": spec.network,
            "Mounts": [_mount_body(mount) for mount in spec.mounts],
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


def helper_body(volume: VolumeName, helper: Helper, *, writes: bool) -> dict[str, Any]:
    """The body of a helper container: one fixed command, one volume, and no more rights than the command needs.

    Nothing of it is logged by Docker: its output is the user's files.
    """
    mount = _mount_body(Mount("volume", HOME, read_only=not writes, volume=volume.value))
    return {
        "Image": helper.image.value,
        "Entrypoint": list(_EXTRACT if writes else _ARCHIVE),
        "Cmd": [],
        "Env": ["LC_ALL=C"],
        "User": "0:0",
        "WorkingDir": "/",
        "Labels": {HELPER_LABEL: helper.scheme},
        "Healthcheck": {"Test": ["NONE"]},
        "OpenStdin": writes,
        "StdinOnce": writes,
        "HostConfig": {
            "NetworkMode": "none",
            "IpcMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CapAdd": list(_WRITES if writes else _READS),
            "SecurityOpt": ["no-new-privileges"],
            "Mounts": [mount | {"VolumeOptions": {"NoCopy": True}}],
            "Memory": _HELPER_MEMORY,
            "MemorySwap": _HELPER_MEMORY,
            "PidsLimit": _HELPER_PIDS,
            "LogConfig": {"Type": "none"},
        },
    }


def volume_sizes(data: Mapping[str, Any]) -> tuple[VolumeSize, ...]:
    """`GET /system/df?type=volume`. Volumes that are not Docker's own (their size is -1) are left out."""
    found = [(one["Name"], one.get("CreatedAt", ""), one["UsageData"]["Size"]) for one in data["Volumes"] or ()]
    return tuple(VolumeSize(VolumeName(name), created, size) for name, created, size in found if size >= 0)


def _mount_body(mount: Mount) -> dict[str, Any]:
    if mount.kind != "volume" or not mount.volume:
        raise EngineError("only named volumes are mounted")
    return {"Type": "volume", "Source": mount.volume, "Target": mount.target, "ReadOnly": mount.read_only}
