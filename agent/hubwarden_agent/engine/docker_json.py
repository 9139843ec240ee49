"""Docker's JSON as the port's value types. Pure.

Invariants: a field that Docker does not send is the type's empty value; one that makes no sense is an `EngineError`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from hubwarden_agent.engine.port import (
    Container,
    ContainerState,
    EngineError,
    Mount,
    PublishedPort,
    Volume,
)
from hubwarden_agent.names import ContainerId, VolumeName

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


def runtime_version(data: Mapping[str, Any]) -> str | None:
    """`GET /version`. Docker lists the default runtime under its name, and no other."""
    found = (one for one in data.get("Components") or () if one.get("Name") == "runc")
    return next((str(one["Version"]) for one in found if one.get("Version")), None)
