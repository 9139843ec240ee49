"""What the gateway shows: the port's value types as the part of Docker's JSON that DockerSpawner reads.

Invariants: pure, and built field by field, so that nothing is shown because Docker happened to send it. Only the
Hub's own containers get here; their environment is complete, since resuming a server reads the API token out of it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from hubwarden_agent.engine.port import Container, ContainerState, PublishedPort
from hubwarden_agent.engine.spawn_port import Image
from hubwarden_agent.gateway.routes import API_VERSION, OLDEST_API_VERSION

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Docker's "never"."""

FAILED = "Docker reports an error; an administrator finds it with docker inspect"
"""In place of what Docker says, which names the host's paths and which a Hub may show to a user."""

ALIVE = frozenset({ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING})
"""What Docker calls running; it removes none of these without force."""


def version() -> dict[str, Any]:
    """`GET /version`: the gateway's own API, from which docker-py takes the prefix of all it asks for."""
    return {"ApiVersion": f"1.{API_VERSION}", "MinAPIVersion": f"1.{OLDEST_API_VERSION}"}


def image(found: Image, reference: str) -> dict[str, Any]:
    """`GET /images/{reference}/json`. The image's other tags stay unsaid."""
    return {"Id": found.id, "RepoTags": [reference], "Config": {"Cmd": list(found.command)}}


def container(found: Container) -> dict[str, Any]:
    """`GET /containers/{reference}/json`."""
    return {
        "Id": found.id.value,
        "Name": f"/{found.name}",
        "Created": _time(found.created),
        "Image": found.image_id,
        "State": _state(found),
        "Config": {
            "Env": list(found.environment),
            "Cmd": list(found.command),
            "Image": found.image,
            "Labels": dict(found.labels),
            "ExposedPorts": {port: {} for port in found.exposed_ports},
        },
        "HostConfig": {"AutoRemove": found.auto_remove},
        "NetworkSettings": {
            "Networks": {network: {"IPAddress": address} for network, address in found.addresses.items()},
            "Ports": _ports(found.ports),
        },
    }


def _state(found: Container) -> dict[str, Any]:
    return {
        "Status": found.state.value,
        "Running": found.state in ALIVE,
        "Paused": found.state is ContainerState.PAUSED,
        "Restarting": found.state is ContainerState.RESTARTING,
        "OOMKilled": found.out_of_memory,
        "Dead": found.state is ContainerState.DEAD,
        "ExitCode": found.exit_code,
        "Error": FAILED if found.error else "",
        "StartedAt": _time(found.started),
        "FinishedAt": found.finished or ZERO_TIME,
    }


def _ports(published: tuple[PublishedPort, ...]) -> dict[str, list[dict[str, str]]]:
    ports: dict[str, list[dict[str, str]]] = {}
    for port in published:
        address = {"HostIp": port.host_ip, "HostPort": str(port.host_port)}
        ports.setdefault(f"{port.container_port}/{port.protocol}", []).append(address)
    return ports


def _time(moment: dt.datetime | None) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if moment else ZERO_TIME


def pulled(reference: str, *, new: bool) -> list[dict[str, str]]:
    """`POST /images/create`: the lines of a pull that is over, or that was not needed."""
    end = "Downloaded newer image" if new else "Image is up to date"
    return [{"status": f"Pulling {reference}"}, {"status": f"Status: {end} for {reference}"}]
