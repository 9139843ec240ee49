"""The tables of `agent.toml`: every key with its type and its default, once.

Invariants: what is not in these tables is refused (`config_types.Table`). Defaults are the safe ones; `[names]` is in
`names`, `[spawn]` in `spawn_policy`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hubwarden_agent import mount_targets
from hubwarden_agent.addresses import TCP, Client, Group, Listener, OptionalListener, Socket, SocketMode, SocketOrPort
from hubwarden_agent.config_types import (
    DISTINCT,
    UNSET,
    AbsolutePath,
    Distinct,
    OptionalPath,
    RateText,
    SomeItems,
    Table,
    matching,
)
from hubwarden_agent.names import Templates
from hubwarden_agent.rates import Rate
from hubwarden_agent.spawn_policy import SpawnPolicy


@dataclass(frozen=True, slots=True)
class Listen(Table):
    """Where the agent listens. `gateway` and `metrics` are empty when they are off."""

    grpc: Annotated[SomeItems[Listener], DISTINCT] = ("unix:///run/hubwarden/agent.sock",)
    gateway: OptionalListener = ""
    metrics: SocketOrPort = ""
    socket_mode: SocketMode = 0o660
    socket_group: Group = ""
    metrics_group: Group = ""

    @property
    def unix(self) -> tuple[str, ...]:
        """The addresses in `grpc` that are unix sockets."""
        return tuple(address for address in self.grpc if not address.startswith(TCP))

    @property
    def tcp(self) -> tuple[str, ...]:
        """The others, as gRPC writes them: HOST:PORT."""
        return tuple(address.removeprefix(TCP) for address in self.grpc if address.startswith(TCP))

    @property
    def gateway_tcp(self) -> bool:
        """Whether the gateway is on TCP."""
        return self.gateway.startswith(TCP)

    @property
    def tls_keys(self) -> tuple[str, ...]:
        """The keys under `[tls]` that these addresses need; none without TCP."""
        lists = [key for key, used in (("clients", self.tcp), ("gateway_clients", self.gateway_tcp)) if used]
        return ("certificate", "key", "client_ca", *lists) if lists else ()


@dataclass(frozen=True, slots=True)
class Tls(Table):
    """What TCP listeners show and demand. Clients are `dns:NAME` or `uri:URI`; each list is set where it is used."""

    certificate: OptionalPath = UNSET
    key: OptionalPath = UNSET
    client_ca: OptionalPath = UNSET
    clients: Distinct[Client] = ()
    gateway_clients: Distinct[Client] = ()
    minimum: Literal["1.2", "1.3"] = "1.2"


@dataclass(frozen=True, slots=True)
class Docker(Table):
    """The engine's address, and the seconds it may take for anything but stop, restart and pull."""

    host: Socket = "unix:///var/run/docker.sock"
    timeout: Annotated[int, Field(ge=1, le=600)] = 30


@dataclass(frozen=True, slots=True)
class Limits(Table):
    """Budgets and bounds; `max_stop_timeout` (the agent's own end waits 90 s) and `max_deadline` in seconds."""

    restarts_per_user: RateText = Rate(6, 600)
    resets_per_user: RateText = Rate(3, 3600)
    resets_total: RateText = Rate(60, 3600)
    max_stop_timeout: Annotated[int, Field(ge=0, le=75)] = 60
    max_deadline: Annotated[int, Field(ge=1, le=86400)] = 600


@dataclass(frozen=True, slots=True)
class ResetPolicy(Table):
    """What a reset may remove, and what is kept of it.

    A container not started `start_timeout` seconds after its creation never will be. `backup_dir` is only used where
    backups are; `max_bytes` are of an uncompressed tar. `sizes_interval` in seconds; 0: sizes are not counted.
    """

    stopped_container: Literal["remove", "refuse"] = "remove"
    allow_non_local: bool = False
    start_timeout: Annotated[int, Field(ge=1, le=86400)] = 60
    backup: Literal["off", "required"] = "off"
    backup_dir: AbsolutePath = Path("/var/lib/hubwarden-backups")
    keep: Annotated[int, Field(ge=1, le=10000)] = 3
    keep_days: Annotated[int, Field(ge=0, le=36500)] = 30
    max_bytes: Annotated[int, Field(ge=1, le=2**60)] = 10**12
    protect_labels: Distinct[Annotated[str, matching(r"[!-~]{1,255}", "a label's key")]] = ()
    helper_image: Annotated[str, matching(r"sha256:[0-9a-f]{64}|", "an image's full id, sha256:...")] = ""
    sizes_interval: Annotated[int, Field(ge=0, le=86400)] = 0


@dataclass(frozen=True, slots=True)
class State(Table):
    """Where the agent keeps what outlives it."""

    directory: AbsolutePath = Path("/var/lib/hubwarden")


@dataclass(frozen=True, slots=True)
class AuditPolicy(Table):
    """The size of a segment of the audit in bytes, and how many are kept."""

    max_bytes: Annotated[int, Field(ge=65536, le=2**40)] = 67108864
    keep: Annotated[int, Field(ge=1, le=10000)] = 20


@dataclass(frozen=True, slots=True)
class Config(Table):
    """Everything that the operator decides."""

    listen: Listen = field(default_factory=Listen)
    tls: Tls = field(default_factory=Tls)
    docker: Docker = field(default_factory=Docker)
    names: Templates = field(default_factory=Templates)
    limits: Limits = field(default_factory=Limits)
    reset: ResetPolicy = field(default_factory=ResetPolicy)
    state: State = field(default_factory=State)
    audit: AuditPolicy = field(default_factory=AuditPolicy)
    spawn: SpawnPolicy = field(default_factory=SpawnPolicy)

    @property
    def state_directory(self) -> Path:
        """Lock, audit, the private health socket."""
        return self.state.directory

    @property
    def warnings(self) -> list[str]:
        """One sentence for each value that is accepted but may be unsafe, beginning with its key."""
        return mount_targets.warnings(self.spawn.targets) if self.listen.gateway else []
