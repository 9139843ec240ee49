"""Docker's side of `home_port`: helper containers, each over one volume, and the sizes of volumes.

Invariants:
- A helper has one volume, no network, and no more rights than its command needs. Only volume, image, command and
  direction vary.
- It is verified to be of the intended image before it starts, and is removed however the run ends.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from docker import APIClient

from hubwarden_agent.engine.docker_client import DockerClients, map_errors
from hubwarden_agent.engine.home_port import HOME, Helper, VolumeSize
from hubwarden_agent.engine.port import HELPER_LABEL, EngineError
from hubwarden_agent.names import VolumeName

_READS = ("DAC_READ_SEARCH",)
_WRITES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
_HELPER_MEMORY = 256 * 1024**2
_HELPER_PIDS = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DockerHomes:
    """`HomeEngine` over a Docker engine."""

    clients: DockerClients

    def run_helper(
        self,
        helper: Helper,
        volume: VolumeName,
        command: tuple[str, ...],
        transfer: Callable[[socket.socket], object],
        *,
        writes: bool,
    ) -> int:
        """See `HomeEngine.run_helper`."""
        body = helper_body(helper, volume, command, writes=writes)
        with map_errors():
            client = self.clients.changing
            name = f"hubwarden-helper-{secrets.token_hex(8)}"
            created = client.create_container_from_config(body, name)["Id"]
        try:
            with map_errors():
                connection = _attach(client, created, helper.image.value)
            with connection:
                with map_errors():
                    client.start(created)
                transfer(connection)
            with map_errors():
                return int(client.wait(created)["StatusCode"])
        finally:
            _remove(client, created)

    def volume_sizes(self) -> tuple[VolumeSize, ...]:
        """See `HomeEngine.volume_sizes`. Docker's own volumes only: the size of others is -1."""
        with map_errors():
            client = self.clients.changing
            # The SDK's `df` has no parameter for one type.
            response = client.get(f"{client.base_url}/v{client.api_version}/system/df", params={"type": "volume"})
            response.raise_for_status()
            found = [(one, one["UsageData"]["Size"]) for one in response.json()["Volumes"] or ()]
            return tuple(
                VolumeSize(VolumeName(one["Name"]), one.get("CreatedAt", ""), size) for one, size in found if size >= 0
            )


def helper_body(helper: Helper, volume: VolumeName, command: tuple[str, ...], *, writes: bool) -> dict[str, Any]:
    """The body that creates a helper. Docker logs nothing of it: its output is the user's files."""
    mount = {"Type": "volume", "Target": HOME, "ReadOnly": not writes, "Source": volume.value}
    return {
        "Image": helper.image.value,
        "Entrypoint": list(command),
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


def _attach(client: APIClient, container: str, image: str) -> socket.socket:
    """Turn a connection into the container's streams, before it starts: its first bytes would be lost.

    The SDK returns a file that only reads, hence the duplicate. The file has buffered nothing: a container that has not
    started has no output.
    """
    if client.inspect_container(container)["Image"] != image:
        raise EngineError("the helper is of another image than was asked for")
    stream = client.attach_socket(container, {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1})
    connection = socket.socket(fileno=os.dup(stream.fileno()))
    connection.settimeout(client.timeout)
    stream._response.close()  # noqa: SLF001 - or the SDK's own descriptor is left to the garbage collector
    return connection


def _remove(client: APIClient, container: str) -> None:
    try:
        with map_errors():
            client.remove_container(container, v=True, force=True)
    except EngineError as error:
        # It still holds the volume, so nobody removes that; the next run on the volume removes it.
        _log.warning("a helper container is left behind: %s", error)
