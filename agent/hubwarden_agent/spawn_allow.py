"""`[[spawn.allow]]`: options of a container that the operator allows by value, in Docker's own JSON spelling.

Invariants: `Allow` is the closed table of fields. None of them opens the host by itself: privileges, capabilities,
devices by path, namespaces, security options and the like are not in it. What is sent to Docker is the entry's own
value. Values are compared as canonical JSON, with Docker's defaults filled in: `1` is neither `true` nor `1.0`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, Discriminator, Field

from hubwarden_agent import host_paths
from hubwarden_agent.config_types import ClosedModel, SomeItems, Words, matching

F = TypeVar("F")
V = TypeVar("V")
Nanoseconds = Annotated[int, Field(ge=10**9, le=10**15)]
Limit = Annotated[int, Field(ge=-1, lt=2**63)]


def working_dir(path: str) -> str:
    """The same clean path of a working directory.

    Raises:
        ValueError: it is one of the kernel's, through which a runtime may leave the host open.
    """
    if host_paths.is_below(path, host_paths.KERNEL_PATHS):
        raise ValueError("must not be below /proc, /sys or /dev")
    return path


class HealthCheck(ClosedModel):
    """`Healthcheck`: a command that the engine runs in the container again and again; times in nanoseconds."""

    Test: Words
    Interval: Nanoseconds = 0
    Timeout: Nanoseconds = 0
    Retries: Annotated[int, Field(ge=1, le=1000)] = 0
    StartPeriod: Nanoseconds = 0


class Ulimit(ClosedModel):
    """One of `HostConfig.Ulimits`; -1 is no limit."""

    Name: Annotated[str, matching("[a-z]{2,16}", "a limit's name")]
    Soft: Limit
    Hard: Limit


class RestartPolicy(ClosedModel):
    """`HostConfig.RestartPolicy`."""

    Name: Literal["on-failure", "always", "unless-stopped"]
    MaximumRetryCount: Annotated[int, Field(ge=0, le=1000)] = 0


class LogConfig(ClosedModel):
    """`HostConfig.LogConfig`: a log driver and its options."""

    Type: Annotated[str, matching(r"[a-z][a-z0-9/:._-]{0,99}", "a driver")]
    options: dict[str, str] = Field(default_factory=dict, alias="Config")


class DeviceRequest(ClosedModel):
    """One of `HostConfig.DeviceRequests`; -1 devices are all of them."""

    Driver: Annotated[str, matching(r"[^\x00-\x1f]{0,4096}", "text without control characters")] = ""
    Count: Annotated[int, Field(ge=-1, le=1024)] = 0
    DeviceIDs: tuple[Annotated[str, matching(r"[a-zA-Z0-9][a-zA-Z0-9._:/=-]{0,99}", "a device's id")], ...] = ()
    Capabilities: SomeItems[Words]
    Options: Annotated[dict[str, str], Field(max_length=0)] = Field(default_factory=dict)


class TmpfsOptions(ClosedModel):
    """`TmpfsOptions` of a mount: bytes, which count as the container's memory, and a mode or 0 for Docker's default."""

    SizeBytes: Annotated[int, Field(ge=1024**2, le=2**50)]
    Mode: Annotated[int, Field(ge=0, le=0o1777)] = 0


class TmpfsMount(ClosedModel):
    """One of `HostConfig.Mounts`: a file system in memory."""

    Type: Literal["tmpfs"]
    Target: host_paths.CleanPath
    TmpfsOptions: TmpfsOptions


class Allowed(ClosedModel, Generic[F, V]):
    """One entry: a field of Docker's create body, and a value that a Hub may ask for there."""

    field: F
    value: V

    @property
    def sent(self) -> Any:
        """The value as Docker gets it, with Docker's own defaults filled in."""
        return self.model_dump(mode="json", by_alias=True)["value"]


USER = r"[a-z0-9_][a-z0-9_.-]*(:[a-z0-9_][a-z0-9_.-]*)?"
Allow = Annotated[
    Allowed[Literal["User"], Annotated[str, matching(USER, "a user such as 1000:100")]]
    | Allowed[Literal["Hostname"], Annotated[str, matching(r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,62}", "a host name")]]
    | Allowed[Literal["WorkingDir"], Annotated[host_paths.CleanPath, AfterValidator(working_dir)]]
    | Allowed[Literal["Entrypoint"], Words]
    | Allowed[Literal["Healthcheck"], HealthCheck]
    | Allowed[Literal["HostConfig.ShmSize"], Annotated[int, Field(ge=1, lt=2**63)]]
    | Allowed[Literal["HostConfig.Ulimits"], Ulimit]
    | Allowed[Literal["HostConfig.RestartPolicy"], RestartPolicy]
    | Allowed[Literal["HostConfig.LogConfig"], LogConfig]
    | Allowed[Literal["HostConfig.DeviceRequests"], DeviceRequest]
    | Allowed[Literal["HostConfig.Mounts"], TmpfsMount],
    Discriminator("field"),
]
"""The closed table: each field with the values that an operator may allow there."""


def canonical(value: object, default: object) -> str:
    """A value as JSON text, equal for equal values only; known keys that are missing or null are filled in."""
    if isinstance(value, dict) and isinstance(default, dict):
        given = {key: item for key, item in value.items() if item is not None or key not in default}
        value = {**default, **given}
    return json.dumps(value, sort_keys=True)


def listed(entries: Iterable[Allowed[Any, Any]], field: str) -> dict[str, Any]:
    """The values that are allowed for a field, by their canonical text."""
    return {canonical(one.sent, None): one.sent for one in entries if one.field == field}
